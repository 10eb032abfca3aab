//! Putting threads into queues.
//!
//! A thread that is still on a CPU's stack, on its way off, goes to that CPU's
//! queue and no other: two CPUs that took each other's threads at that moment
//! would wait for each other for ever. That CPU takes it only after it has left
//! the stack.

use crate::cpu::{self as cpus, CPUS, Cpu, LocalGuard};
use crate::thread::Thread;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::{cpu, time};
use sched_policy::Preempt;
use sched_policy::placement::{self, Request};

/// Queues a thread that waited, is new or must move, and is in no queue. Nobody
/// else does so at the same time.
pub(crate) fn enqueue(thread: &Arc<Thread>) {
    let now = time::now_ns();
    let number = target(thread);
    let cpu = CPUS.get(number);
    let mut local = cpu.local.lock();
    let preempt = {
        // A parked thread's account is free only after it has left its queue.
        let mut entity = thread.entity.lock();
        thread.set_cpu(number);
        local.queue.wake(thread.clone(), &mut entity, now, false)
    };
    follow(cpu, number, local, preempt);
}

/// The CPU that `thread` shall be queued on.
#[inline]
fn target(thread: &Thread) -> usize {
    let online = cpu::count();
    if online == 1 {
        return 0;
    }
    if !thread.task().is_parked() {
        return thread.cpu();
    }
    let home = thread.home();
    let request = Request {
        previous: home.unwrap_or_else(|| thread.cpu()),
        waker: cpu::id(),
        yielding: false,
        reserved: home.is_some(),
        allowed: thread.allowed(),
    };
    placement::choose_cpu(&request, cpus::online(), cpus::idle(), |cpu| {
        CPUS.get(cpu).load()
    })
}

/// [`follow`], once for those who are in no hurry.
#[inline(never)]
pub(crate) fn act_on(cpu: &'static Cpu, number: usize, local: LocalGuard, preempt: Preempt) {
    follow(cpu, number, local, preempt);
}

/// Has CPU `number` do what its queue asks for after one was added.
#[inline(always)]
fn follow(cpu: &'static Cpu, number: usize, mut local: LocalGuard, preempt: Preempt) {
    cpu.publish(&local);
    let own = cpu::id();
    match preempt {
        Preempt::Now => {
            local.preempt = true;
            let is_idle = local.is_idle;
            drop(local);
            if is_idle {
                // The next to be woken goes elsewhere.
                cpus::set_idle(number, false);
            }
            cpu::set_need_resched(number);
        }
        Preempt::Later(at) => {
            let armed = cpu.armed_ns.load(Ordering::Relaxed);
            drop(local);
            if number == own {
                cpu.arm(at);
            } else if at.is_some_and(|at| at < armed) {
                // Its alarm is its own to set.
                cpu::set_need_resched(number);
            }
        }
    }
}
