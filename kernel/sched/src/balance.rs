//! Moving waiting threads between CPUs: idle CPUs take, and are told when there
//! is something to take; busy ones take turns.

use crate::cpu::{self as cpus, CPUS, Cpu, LocalGuard};
use crate::wake;
use core::sync::atomic::Ordering;
use hal::cpu;
use sched_policy::balance::{self, Pull, Reason};
use sched_policy::{CpuLoad, CpuSet, Preempt};

/// Takes a thread from another CPU's queue, if the policy finds one.
pub(crate) fn pull(this: &'static Cpu, reason: Reason, now: u64) {
    let own = cpu::id();
    let mut others = cpus::online();
    while let Some(pull) = balance::plan(own, reason, others, |cpu| CPUS.get(cpu).load()) {
        if let Some((local, preempt)) = take(this, own, &pull, now) {
            if reason == Reason::Periodic {
                wake::act_on(this, own, local, preempt);
            }
            return;
        }
        others.remove(pull.from);
    }
}

/// Takes one thread as planned. Both queues are locked until it has arrived, so
/// that nobody finds it in neither.
fn take(this: &'static Cpu, own: usize, pull: &Pull, now: u64) -> Option<(LocalGuard, Preempt)> {
    let from = CPUS.get(pull.from);
    let (mut to_local, mut from_local);
    if own < pull.from {
        to_local = this.local.lock();
        from_local = from.local.lock();
    } else {
        from_local = from.local.lock();
        to_local = this.local.lock();
    }
    // Reserved time is granted by one CPU and stays there.
    let stolen = from_local.queue.steal(pull.max_weight, 0, now, |thread| {
        thread.may_run_on(own) && thread.task().is_parked()
    })?;
    from.publish(&from_local);
    let thread = stolen.id.clone();
    let mut entity = thread.entity.lock();
    thread.set_cpu(own);
    let preempt = to_local.queue.arrive(stolen, &mut entity, now);
    this.publish(&to_local);
    Some((to_local, preempt))
}

/// Tells an idle CPU of `allowed` that CPU `cpu` has threads waiting, if it has.
#[inline]
pub(crate) fn kick(cpu: usize, load: &CpuLoad, allowed: CpuSet) {
    if let Some(idle) = balance::kick(cpu, load, cpus::idle().and(allowed)) {
        cpus::set_idle(idle, false);
        cpu::set_need_resched(idle);
    }
}

/// Moves threads that do not divide evenly. A CPU with one thread has no alarm
/// to ask by itself, so the one with more asks it.
pub(crate) fn take_turns(this: &'static Cpu, load: &CpuLoad, now: u64) {
    pull(this, Reason::Periodic, now);
    if load.waiting == 0 {
        return;
    }
    let mut others = cpus::online();
    others.remove(cpu::id());
    let least = others
        .iter_from(cpu::id())
        .map(|cpu| (cpu, CPUS.get(cpu).load().weight))
        .min_by_key(|(_, weight)| *weight);
    if let Some((other, weight)) = least
        && weight < load.weight
    {
        CPUS.get(other).shall_balance.store(true, Ordering::Release);
        cpu::set_need_resched(other);
    }
}
