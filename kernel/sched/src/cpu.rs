//! [`Cpu`]: what the scheduler keeps for each CPU, and what others may know.
//!
//! A CPU's queue, its thread and its times are under one lock. Locks are taken
//! in this order: CPUs by number, then one thread's account; nothing else is
//! locked inside. `switch` changes threads, `wake` fills queues, `balance`
//! moves between them, `entitlement` changes what threads are due.

use crate::thread::Thread;
use crate::timers::Target;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hal::{cpu, time};
use sched_policy::{CpuLoad, CpuSet, RunQueue};
use sync::{MAX_CPUS, PerCpu, SpinGuard, SpinLock, per_cpu};
use timer_queue::TimerQueue;

/// Threads that can wait for a CPU before its queue grows.
const ROOM: usize = 32;

pub(crate) struct Cpu {
    pub(crate) local: SpinLock<Local>,
    pub(crate) load: Load,
    pub(crate) timers: SpinLock<TimerQueue<Target>>,
    /// When the alarm rings at the latest. Only this CPU changes it.
    pub(crate) armed_ns: AtomicU64,
    /// `Local::moving` holds threads.
    pub(crate) has_moving: AtomicBool,
    /// Another CPU asks this one to take work from it.
    pub(crate) shall_balance: AtomicBool,
}

/// A queue's load as of its last change, to be read without its lock.
pub(crate) struct Load {
    weight: AtomicU64,
    /// How many may run, and in the upper half how many of them wait.
    threads: AtomicU64,
    granted: AtomicU32,
}

/// What a CPU's lock protects.
pub(crate) struct Local {
    pub(crate) queue: RunQueue<Arc<Thread>>,
    /// The thread on the CPU, the idle one included.
    pub(crate) current: Option<Arc<Thread>>,
    pub(crate) idle: Option<Arc<Thread>>,
    /// The idle thread is on the CPU.
    pub(crate) is_idle: bool,
    /// One was queued that shall run before the current thread's slice ends.
    pub(crate) preempt: bool,
    /// Threads that may not run here any more, for others once they are off
    /// this CPU's stack.
    pub(crate) moving: Vec<Arc<Thread>>,
    pub(crate) switches: u64,
    pub(crate) balance_at: u64,
    started_ns: u64,
    idle_ns: u64,
    /// Since when the CPU is stopped, if it is.
    halted_since: Option<u64>,
}

pub(crate) static CPUS: PerCpu<Cpu> = per_cpu!(Cpu {
    local: SpinLock::new(Local {
        queue: RunQueue::without_room(0),
        current: None,
        idle: None,
        is_idle: false,
        preempt: false,
        moving: Vec::new(),
        switches: 0,
        balance_at: 0,
        started_ns: 0,
        idle_ns: 0,
        halted_since: None,
    }),
    load: Load {
        weight: AtomicU64::new(0),
        threads: AtomicU64::new(0),
        granted: AtomicU32::new(0),
    },
    timers: SpinLock::new(TimerQueue::new()),
    armed_ns: AtomicU64::new(u64::MAX),
    has_moving: AtomicBool::new(false),
    shall_balance: AtomicBool::new(false),
});

/// The CPUs that have nothing to run, as a mask.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Gives every queue its number.
pub(crate) fn init() {
    for number in 0..MAX_CPUS {
        let mut local = CPUS.get(number).local.lock();
        if local.current.is_none() && local.queue.load().runnable == 0 {
            local.queue = RunQueue::without_room(number as u32);
        }
    }
}

#[inline]
pub(crate) fn this() -> &'static Cpu {
    CPUS.get(cpu::id())
}

/// All CPUs that run.
#[inline]
pub(crate) fn online() -> CpuSet {
    CpuSet::first(cpu::count())
}

/// The CPUs that have nothing to run.
#[inline]
pub(crate) fn idle() -> CpuSet {
    CpuSet(IDLE.load(Ordering::Relaxed))
}

/// Notes whether CPU `cpu` has nothing to run.
#[inline]
pub(crate) fn set_idle(cpu: usize, is_idle: bool) {
    if is_idle {
        IDLE.fetch_or(1 << cpu, Ordering::AcqRel);
    } else {
        IDLE.fetch_and(!(1 << cpu), Ordering::AcqRel);
    }
}

impl Cpu {
    /// Its load, as of a moment ago.
    #[inline]
    pub(crate) fn load(&self) -> CpuLoad {
        let threads = self.load.threads.load(Ordering::Relaxed);
        CpuLoad {
            weight: self.load.weight.load(Ordering::Relaxed),
            runnable: threads as u32,
            waiting: (threads >> 32) as u32,
            granted: self.load.granted.load(Ordering::Relaxed),
        }
    }

    /// Lets others, if there are any, see the queue's load. Called before its
    /// lock is released.
    #[inline]
    pub(crate) fn publish(&self, local: &Local) {
        if cpu::count() > 1 {
            self.publish_always(local);
        }
    }

    /// As [`Cpu::publish`], where what is granted has changed: that is looked at
    /// on a machine with one CPU, too.
    #[inline]
    pub(crate) fn publish_always(&self, local: &Local) {
        let load = local.queue.load();
        let threads = u64::from(load.waiting) << 32 | u64::from(load.runnable);
        self.load.weight.store(load.weight, Ordering::Relaxed);
        self.load.threads.store(threads, Ordering::Relaxed);
        self.load.granted.store(load.granted, Ordering::Relaxed);
    }

    /// Sets this CPU's alarm, if it does not ring earlier anyway. One that
    /// rings too early costs less than setting it at each change.
    #[inline]
    pub(crate) fn arm(&self, at: Option<u64>) {
        if let Some(at) = at
            && at < self.armed_ns.load(Ordering::Relaxed)
        {
            self.armed_ns.store(at, Ordering::Relaxed);
            time::arm_timer(at);
        }
    }
}

impl Local {
    /// Makes `idle` the CPU's idle thread, which runs on it.
    pub(crate) fn begin(&mut self, idle: Arc<Thread>, now: u64) {
        self.queue.reserve(ROOM);
        self.idle = Some(idle.clone());
        self.current = Some(idle);
        self.is_idle = true;
        self.started_ns = now;
    }

    /// The CPU is about to stop.
    pub(crate) fn halt(&mut self, now: u64) {
        self.halted_since = Some(now);
    }

    /// The CPU works, if it did not.
    pub(crate) fn resume(&mut self, now: u64) {
        if let Some(since) = self.halted_since.take() {
            self.idle_ns += now.saturating_sub(since);
        }
    }

    fn times(&self, now: u64) -> CpuTimes {
        let halted = self
            .halted_since
            .map_or(0, |since| now.saturating_sub(since));
        let idle_ns = self.idle_ns + halted;
        let started = if self.idle.is_some() {
            self.started_ns
        } else {
            now
        };
        CpuTimes {
            idle_ns,
            busy_ns: now.saturating_sub(started + idle_ns),
            switches: self.switches,
            load: self.queue.load(),
        }
    }
}

/// What a CPU has done with its time, and has to do.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    /// Nanoseconds stopped for want of work.
    pub idle_ns: u64,
    /// Nanoseconds not stopped.
    pub busy_ns: u64,
    /// Changes of thread.
    pub switches: u64,
    /// Threads, weights and reservations in its queue.
    pub load: CpuLoad,
}

/// What CPU `cpu` has done with its time up to now.
pub fn cpu_times(cpu: usize) -> CpuTimes {
    let local = CPUS.get(cpu).local.lock();
    local.times(time::now_ns())
}

/// An interrupt is being handled: if this CPU was stopped, it works from now on.
/// For handlers, first thing; the time until then counts as idle.
pub fn begin_interrupt() {
    let mut local = this().local.lock();
    if local.is_idle {
        local.resume(time::now_ns());
    }
}

/// The running thread.
#[inline]
pub fn current() -> Arc<Thread> {
    with_current(Arc::clone)
}

/// Calls `with` on the running thread. The CPU's queue is locked meanwhile:
/// `with` looks at the thread and does no more.
#[inline]
pub fn with_current<T>(with: impl FnOnce(&Arc<Thread>) -> T) -> T {
    with(running(&this().local.lock()))
}

/// The thread on the CPU.
#[inline]
pub(crate) fn running(local: &Local) -> &Arc<Thread> {
    local
        .current
        .as_ref()
        .expect("invariant: every CPU runs a thread")
}

/// The running thread's name, for a panic's report: `None` where it cannot be
/// told without waiting.
pub fn current_name() -> Option<String> {
    let local = this().local.try_lock()?;
    local.current.as_ref().map(|thread| thread.name())
}

/// A CPU's lock, held.
pub(crate) type LocalGuard = SpinGuard<'static, Local>;
