//! Each CPU's queue, and the choice of what it runs next.
//!
//! Every CPU has its own queue, ordered by weighted running time. A CPU without
//! work takes some from the longest queue; one without any work at all stops
//! its tick and waits for an interrupt.

use crate::queue::Queue;
use crate::thread::{Builder, ParkTimer, Thread};
use crate::timers;
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use hal::task::{self, Task};
use hal::{cpu, time};
use sync::{PerCpu, SpinLock, per_cpu};
use wait::{Deadline, TimerTarget};

/// The longest time a thread runs while others wait, in nanoseconds.
const SLICE_NS: u64 = 3_000_000;
/// How much less a woken thread must have run to take the CPU at once.
const WAKE_LEAD_NS: u64 = 1_000_000;

struct Cpu {
    queue: SpinLock<Queue>,
    /// Threads in the queue, to be read without the lock.
    len: AtomicUsize,
    current: SpinLock<Option<Arc<Thread>>>,
    idle: SpinLock<Option<Arc<Thread>>>,
    is_idle: AtomicBool,
    /// When the current thread was put on.
    since_ns: AtomicU64,
    idle_ns: AtomicU64,
    busy_ns: AtomicU64,
    switches: AtomicU64,
}

static CPUS: PerCpu<Cpu> = per_cpu!(Cpu {
    queue: SpinLock::new(Queue::new()),
    len: AtomicUsize::new(0),
    current: SpinLock::new(None),
    idle: SpinLock::new(None),
    is_idle: AtomicBool::new(false),
    since_ns: AtomicU64::new(0),
    idle_ns: AtomicU64::new(0),
    busy_ns: AtomicU64::new(0),
    switches: AtomicU64::new(0),
});

/// The CPUs that have nothing to run, as a mask.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// What a CPU has done with its time.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    /// Nanoseconds without work.
    pub idle_ns: u64,
    /// Nanoseconds with work.
    pub busy_ns: u64,
    /// Changes of thread.
    pub switches: u64,
}

/// What CPU `cpu` has done with its time, up to its last switch.
pub fn cpu_times(cpu: usize) -> CpuTimes {
    let cpu = CPUS.get(cpu);
    CpuTimes {
        idle_ns: cpu.idle_ns.load(Ordering::Relaxed),
        busy_ns: cpu.busy_ns.load(Ordering::Relaxed),
        switches: cpu.switches.load(Ordering::Relaxed),
    }
}

#[inline]
fn this() -> &'static Cpu {
    CPUS.get(cpu::id())
}

/// The running thread.
pub fn current() -> Arc<Thread> {
    with_current(Arc::clone)
}

/// Calls `with` on the running thread.
#[inline]
pub fn with_current<T>(with: impl FnOnce(&Arc<Thread>) -> T) -> T {
    let current = this().current.lock();
    with(
        current
            .as_ref()
            .expect("invariant: every CPU runs a thread"),
    )
}

/// The running thread's name, for a panic's report: `None` where it cannot be
/// told without waiting.
pub fn current_name() -> Option<alloc::string::String> {
    this().current.try_lock()?.as_ref().map(|thread| thread.name())
}

/// Makes this CPU's flow its idle thread and runs others for ever.
pub fn run_cpu() -> ! {
    let idle = Builder::new(format!("idle/{}", cpu::id())).without_task();
    idle.set_task(task::adopt());
    let this = this();
    *this.idle.lock() = Some(idle.clone());
    *this.current.lock() = Some(idle);
    this.is_idle.store(true, Ordering::Relaxed);
    this.since_ns.store(time::now_ns(), Ordering::Relaxed);
    loop {
        cpu::clear_need_resched();
        IDLE.fetch_or(1 << cpu::id(), Ordering::AcqRel);
        if let Some(next) = pick(this) {
            IDLE.fetch_and(!(1 << cpu::id()), Ordering::AcqRel);
            switch(this, next);
            continue;
        }
        timers::arm(u64::MAX);
        cpu::idle_wait();
    }
}

/// Waits for a token, up to `deadline`.
pub fn park(deadline: Deadline) {
    let thread = current();
    let Some(deadline) = deadline else {
        return park_for_ever(&thread);
    };
    if deadline <= time::now_ns() {
        return;
    }
    let timer: Arc<dyn TimerTarget> = Arc::new(ParkTimer(thread.clone()));
    let armed = timers::insert(deadline, Arc::downgrade(&timer));
    park_for_ever(&thread);
    timers::cancel(armed);
}

#[inline]
fn park_for_ever(thread: &Arc<Thread>) {
    if thread.begin_park() {
        leave(this());
    }
}

/// Lets others run that have as much right to.
pub fn yield_now() {
    let this = this();
    cpu::clear_need_resched();
    if this.len.load(Ordering::Relaxed) == 0 {
        // The slice goes on, or a new one begins where it ended.
        timers::arm(slice_end(this));
        return;
    }
    let thread = current();
    account(this, &thread, time::now_ns());
    push(cpu::id(), thread);
    leave(this);
}

/// Where a long operation may be interrupted: lets others run that were found to
/// be due.
#[inline]
pub fn preempt_point() {
    if cpu::need_resched() {
        yield_now();
    }
}

/// Gives up the CPU: the caller has parked the current thread or queued it.
fn leave(this: &'static Cpu) {
    let next = pick(this).unwrap_or_else(|| {
        let idle = this.idle.lock();
        idle.clone()
            .expect("invariant: the CPU runs, so it has its idle thread")
    });
    switch(this, next);
}

/// Runs `next`. The thread before is parked or queued already.
fn switch(this: &'static Cpu, next: Arc<Thread>) {
    task::switch_to(put_on(this, next));
}

/// Chooses what runs after the current thread, which has ended.
pub(crate) fn exit() -> Arc<Task> {
    let this = this();
    let next = pick(this).or_else(|| this.idle.lock().clone());
    put_on(
        this,
        next.expect("invariant: the CPU runs, so it has its idle thread"),
    )
}

/// Makes `next` the current thread, in the books; returns its task.
fn put_on(this: &'static Cpu, next: Arc<Thread>) -> Arc<Task> {
    let now = time::now_ns();
    let task = next.task().clone();
    let is_idle = this
        .idle
        .lock()
        .as_ref()
        .is_some_and(|idle| Arc::ptr_eq(idle, &next));
    next.cpu.store(cpu::id(), Ordering::Relaxed);
    let before = this.current.lock().replace(next);
    if let Some(before) = &before {
        account(this, before, now);
    }
    this.is_idle.store(is_idle, Ordering::Relaxed);
    this.switches.fetch_add(1, Ordering::Relaxed);
    timers::arm(if is_idle { u64::MAX } else { slice_end(this) });
    task
}

/// Adds what `thread` ran since it was put on.
fn account(this: &Cpu, thread: &Thread, now: u64) {
    let ran = now.saturating_sub(this.since_ns.swap(now, Ordering::Relaxed));
    thread.run_ns.fetch_add(ran, Ordering::Relaxed);
    if this.is_idle.load(Ordering::Relaxed) {
        this.idle_ns.fetch_add(ran, Ordering::Relaxed);
        return;
    }
    this.busy_ns.fetch_add(ran, Ordering::Relaxed);
    let weight = u64::from(thread.weight.load(Ordering::Relaxed));
    let virtual_ns = ran.saturating_mul(u64::from(crate::thread::NORMAL_WEIGHT)) / weight;
    thread.virtual_ns.fetch_add(virtual_ns, Ordering::Relaxed);
}

/// When the current thread's slice ends: never, if nobody else waits.
fn slice_end(this: &Cpu) -> u64 {
    if this.len.load(Ordering::Relaxed) == 0 {
        u64::MAX
    } else {
        time::now_ns() + SLICE_NS
    }
}

/// Takes the next thread: of this CPU's queue, else of the longest.
fn pick(this: &Cpu) -> Option<Arc<Thread>> {
    if this.len.load(Ordering::Relaxed) != 0
        && let Some(thread) = take(this, u64::MAX)
    {
        return Some(thread);
    }
    let own = cpu::id();
    let busiest = (0..cpu::count())
        .filter(|&cpu| cpu != own)
        .max_by_key(|&cpu| CPUS.get(cpu).len.load(Ordering::Relaxed))?;
    let from = CPUS.get(busiest);
    if from.len.load(Ordering::Relaxed) == 0 {
        return None;
    }
    take(from, 1 << own)
}

fn take(from: &Cpu, cpus: u64) -> Option<Arc<Thread>> {
    let mut queue = from.queue.lock();
    let thread = queue.pop(cpus);
    from.len.store(queue.len(), Ordering::Relaxed);
    thread
}

fn push(cpu: usize, thread: Arc<Thread>) {
    let cpu = CPUS.get(cpu);
    let mut queue = cpu.queue.lock();
    queue.push(thread);
    cpu.len.store(queue.len(), Ordering::Relaxed);
}

/// Queues a thread that never ran.
pub(crate) fn enqueue_new(thread: &Arc<Thread>) {
    let cpu = choose_cpu(thread);
    let start = CPUS.get(cpu).queue.lock().floor();
    thread.virtual_ns.fetch_max(start, Ordering::Relaxed);
    place(cpu, thread);
}

/// Queues a thread that got what it waited for.
pub(crate) fn enqueue_woken(thread: &Arc<Thread>) {
    let cpu = choose_cpu(thread);
    // Sleeping earns no more than a lead of one slice.
    let floor = CPUS.get(cpu).queue.lock().floor().saturating_sub(SLICE_NS);
    thread.virtual_ns.fetch_max(floor, Ordering::Relaxed);
    place(cpu, thread);
}

fn place(cpu: usize, thread: &Arc<Thread>) {
    let lead = thread.virtual_ns.load(Ordering::Relaxed) + WAKE_LEAD_NS;
    push(cpu, thread.clone());
    let target = CPUS.get(cpu);
    if target.is_idle.load(Ordering::Relaxed) {
        return cpu::set_need_resched(cpu);
    }
    let running = {
        let current = target.current.lock();
        current.as_ref().map_or(u64::MAX, |current| {
            current.virtual_ns.load(Ordering::Relaxed)
        })
    };
    if lead < running {
        cpu::set_need_resched(cpu);
    } else if cpu == cpu::id() && target.len.load(Ordering::Relaxed) == 1 {
        // Nobody waited until now, so no slice was set.
        timers::arm(slice_end(target));
    } else if cpu != cpu::id() {
        // The other CPU sets its slice when it looks.
        cpu::set_need_resched(cpu);
    }
}

/// The CPU that `thread` shall be queued on: its last if that is idle, else any
/// idle one, else its last.
fn choose_cpu(thread: &Thread) -> usize {
    let allowed = thread.affinity() & mask(cpu::count());
    let last = thread.cpu();
    let idle = IDLE.load(Ordering::Relaxed) & allowed;
    let candidates = if idle != 0 { idle } else { allowed };
    if candidates & 1 << last != 0 || candidates == 0 {
        return last;
    }
    candidates.trailing_zeros() as usize
}

fn mask(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// At a timer interrupt: rings what is due, and ends the slice if others wait.
pub fn handle_timer() {
    let now = time::now_ns();
    timers::expire(now);
    let this = this();
    if this.len.load(Ordering::Relaxed) == 0 || this.is_idle.load(Ordering::Relaxed) {
        timers::arm(u64::MAX);
    } else if now >= this.since_ns.load(Ordering::Relaxed) + SLICE_NS {
        cpu::set_need_resched(cpu::id());
    } else {
        timers::arm(this.since_ns.load(Ordering::Relaxed) + SLICE_NS);
    }
}
