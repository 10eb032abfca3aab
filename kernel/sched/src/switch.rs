//! Changing threads: parking, yielding, being preempted, ending, idling.
//!
//! All ways off a CPU are alike. With the CPU's lock held the thread is charged,
//! taken off ([`RunQueue::block`]) or put back, and the next one is chosen and
//! put on, in the books; then the lock is released and the stacks change. In
//! between others may already queue the thread again, but only here: `wake`
//! sees that it is still on this CPU's stack.
//!
//! [`RunQueue::block`]: sched_policy::RunQueue::block

use crate::balance;
use crate::cpu::{self as cpus, Cpu, LocalGuard, running, this};
use crate::thread::{Builder, Thread};
use crate::{timers, wake};
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::task::{self, Task};
use hal::{cpu, time};
use sched_policy::Preempt;
use sched_policy::balance::Reason;
use wait::Deadline;

/// Makes this CPU's flow its idle thread and runs others for ever.
pub fn run_cpu() -> ! {
    let own = cpu::id();
    let this = this();
    let idle = Builder::new(format!("idle/{own}")).without_task();
    idle.set_task(task::adopt());
    this.local.lock().begin(idle, time::now_ns());
    loop {
        cpu::clear_need_resched();
        cpus::set_idle(own, true);
        let now = time::now_ns();
        if !leave_now(this, this.local.lock(), now) {
            this.local.lock().halt(time::now_ns());
            cpu::idle_wait();
            this.local.lock().resume(time::now_ns());
        }
    }
}

/// Waits for a token, up to `deadline`.
pub fn park(deadline: Deadline) {
    let Some(deadline) = deadline else {
        return park_for_ever();
    };
    if deadline <= time::now_ns() {
        return;
    }
    let armed = timers::insert(deadline, timers::Target::Thread(cpus::current()));
    park_for_ever();
    timers::cancel(armed);
}

#[inline]
fn park_for_ever() {
    let this = this();
    let mut guard = this.local.lock();
    let local = &mut *guard;
    let thread = running(local).clone();
    let mut entity = thread.entity.lock();
    if !thread.parking.begin() {
        return;
    }
    let now = time::now_ns();
    local.queue.charge(&mut entity, now);
    local.queue.block(&mut entity);
    drop(entity);
    leave(this, guard, now);
    thread.parking.end();
}

/// Lets others run that have as much right to.
pub fn yield_now() {
    let this = this();
    let local = this.local.lock();
    if local.is_idle || local.current.is_none() {
        return;
    }
    if local.queue.load().waiting == 0 && !cpu::need_resched() {
        return;
    }
    cpu::clear_need_resched();
    make_way(this, local, time::now_ns(), true);
}

/// Where a long operation may be interrupted: lets others run that were found to
/// be due.
#[inline]
pub fn preempt_point() {
    if cpu::need_resched() {
        reschedule();
    }
}

/// Does what made this CPU be asked to choose anew.
#[cold]
fn reschedule() {
    let this = this();
    cpu::clear_need_resched();
    if this.shall_balance.swap(false, Ordering::AcqRel) {
        balance::pull(this, Reason::Periodic, time::now_ns());
    }
    let now = time::now_ns();
    let mut local = this.local.lock();
    if local.is_idle || local.current.is_none() {
        return;
    }
    if !local.preempt && running(&local).may_run_on(cpu::id()) {
        let preempt = local.queue.tick(now);
        if let Preempt::Later(at) = preempt {
            drop(local);
            return this.arm(at);
        }
    }
    make_way(this, local, now, false);
}

/// Puts the current thread back, behind the next if it `yields`, and lets the
/// next one run.
fn make_way(this: &'static Cpu, mut guard: LocalGuard, now: u64, yields: bool) {
    let local = &mut *guard;
    let thread = running(local).clone();
    let mut entity = thread.entity.lock();
    local.queue.charge(&mut entity, now);
    if !thread.may_run_on(cpu::id()) {
        local.queue.block(&mut entity);
        drop(entity);
        local.moving.push(thread);
        this.has_moving.store(true, Ordering::Relaxed);
    } else {
        let allowed = thread.allowed();
        if yields {
            local.queue.requeue_behind(thread.clone(), &mut entity, now);
        } else {
            local.queue.requeue(thread.clone(), &mut entity, now);
        }
        drop(entity);
        balance::kick(cpu::id(), &local.queue.load(), allowed);
    }
    leave_now(this, guard, now);
}

/// Gives up the CPU: the caller has blocked the current thread or queued it.
/// False if that thread, or for want of others the idle one, goes on at once.
#[inline(always)]
fn leave(this: &'static Cpu, local: LocalGuard, now: u64) -> bool {
    let Some(next) = choose(this, local, now) else {
        settle();
        return false;
    };
    task::switch_to(next);
    settle();
    true
}

/// [`leave`], once for all who are not in as much of a hurry as a thread that
/// parks.
#[inline(never)]
fn leave_now(this: &'static Cpu, local: LocalGuard, now: u64) -> bool {
    leave(this, local, now)
}

/// What a thread does first when it is on a CPU: the one before has left the
/// CPU's stack now, so it can go elsewhere.
#[inline]
pub(crate) fn settle() {
    let this = this();
    if this.has_moving.load(Ordering::Relaxed) {
        move_off(this);
    }
}

#[cold]
fn move_off(this: &'static Cpu) {
    this.has_moving.store(false, Ordering::Relaxed);
    let moving = core::mem::take(&mut this.local.lock().moving);
    for thread in moving {
        wake::enqueue(&thread);
    }
}

/// Ends the current thread; returns what runs next.
pub(crate) fn exit() -> Arc<Task> {
    let this = this();
    let now = time::now_ns();
    let thread = cpus::current();
    thread.give_back_reservation();
    let mut guard = this.local.lock();
    let local = &mut *guard;
    {
        let mut entity = thread.entity.lock();
        local.queue.charge(&mut entity, now);
        local.queue.block(&mut entity);
    }
    choose(this, guard, now).expect("invariant: a thread that ended is in no queue")
}

/// Chooses the next thread and makes it the current one, in the books; returns
/// its task. None if the current one goes on.
#[inline(always)]
fn choose(this: &'static Cpu, mut guard: LocalGuard, now: u64) -> Option<Arc<Task>> {
    let own = cpu::id();
    let mut next = pick(this, &mut guard, now);
    if next.is_none() && cpu::count() > 1 {
        guard = pull_idle(this, guard, now);
        next = pick(this, &mut guard, now);
    }
    let local = &mut *guard;
    local.preempt = false;
    let was_idle = core::mem::replace(&mut local.is_idle, next.is_none());
    let (next, event) = match next {
        Some(next) => {
            let event = local.queue.start(&mut next.entity.lock(), now);
            (next, event)
        }
        None => (idle_thread(local), local.queue.next_event()),
    };
    if was_idle != local.is_idle {
        cpus::set_idle(own, local.is_idle);
    }
    this.publish(local);
    if Arc::ptr_eq(&next, running(local)) {
        drop(guard);
        this.arm(event);
        return None;
    }
    next.set_cpu(own);
    local.switches += 1;
    let task = next.task().clone();
    let before = local.current.replace(next);
    drop(guard);
    this.arm(event);
    drop(before);
    Some(task)
}

/// Takes work from others for a CPU that has none. Its lock is free meanwhile.
#[inline(never)]
fn pull_idle(this: &'static Cpu, local: LocalGuard, now: u64) -> LocalGuard {
    this.publish(&local);
    drop(local);
    balance::pull(this, Reason::Idle, now);
    this.local.lock()
}

fn idle_thread(local: &cpus::Local) -> Arc<Thread> {
    let idle = local.idle.clone();
    idle.expect("invariant: the CPU runs, so it has its idle thread")
}

/// Takes the next thread out of the queue; those that may not run here any
/// more are set aside.
#[inline(always)]
fn pick(this: &Cpu, guard: &mut LocalGuard, now: u64) -> Option<Arc<Thread>> {
    let thread = guard.queue.pick(now)?;
    if thread.may_run_on(cpu::id()) {
        Some(thread)
    } else {
        pick_another(this, guard, thread, now)
    }
}

#[cold]
#[inline(never)]
fn pick_another(
    this: &Cpu,
    guard: &mut LocalGuard,
    mut forbidden: Arc<Thread>,
    now: u64,
) -> Option<Arc<Thread>> {
    loop {
        guard.queue.decline(&mut forbidden.entity.lock());
        guard.moving.push(forbidden);
        this.has_moving.store(true, Ordering::Relaxed);
        let next = guard.queue.pick(now)?;
        if next.may_run_on(cpu::id()) {
            return Some(next);
        }
        forbidden = next;
    }
}

/// At a timer interrupt: rings what is due, and looks at the slice.
pub fn handle_timer() {
    let this = this();
    // The alarm has rung. Cleared first: who queues a thread after this CPU has
    // looked at its queue finds no alarm and asks for one.
    this.armed_ns.store(u64::MAX, Ordering::Relaxed);
    cpus::begin_interrupt();
    let now = time::now_ns();
    timers::expire(this, now);
    let mut local = this.local.lock();
    let event = match local.queue.tick(now) {
        Preempt::Later(at) => at,
        Preempt::Now => {
            local.preempt = true;
            cpu::set_need_resched(cpu::id());
            None
        }
    };
    let load = local.queue.load();
    let is_time = !local.is_idle && now >= local.balance_at;
    if is_time {
        local.balance_at = now + sched_policy::balance::INTERVAL;
    }
    drop(local);
    this.arm(event);
    this.arm(timers::next(this));
    if cpu::count() > 1 {
        balance::kick(cpu::id(), &load, sched_policy::CpuSet::ALL);
        if is_time {
            balance::take_turns(this, &load, now);
        }
    }
}
