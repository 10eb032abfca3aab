//! [`Thread`]: one flow of control, as the scheduler sees it.

use crate::cpu;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hal::mem::OutOfMemory;
use hal::task::Task;
use sync::{Once, SpinLock};
use wait::TimerTarget;

/// On a CPU, or in a queue for one.
const READY: u8 = 0;
/// Waits for a token.
const PARKED: u8 = 1;
/// Has a token that nobody has waited for yet.
const NOTIFIED: u8 = 2;

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// Runs or could run.
    Ready,
    /// Waits.
    Parked,
}

/// The weight of a thread that asks for nothing special.
pub const NORMAL_WEIGHT: u32 = 1024;

/// One flow of control.
pub struct Thread {
    id: u64,
    name: SpinLock<String>,
    task: Once<Arc<Task>>,
    state: AtomicU8,
    /// A signal or the end is waiting to be looked at.
    is_interrupted: AtomicBool,
    pub(crate) cpu: AtomicUsize,
    /// CPUs it may run on, as a mask.
    affinity: AtomicU64,
    pub(crate) weight: AtomicU32,
    /// Time spent running.
    pub(crate) run_ns: AtomicU64,
    /// What its owner knows it by; 0 for the kernel's own threads.
    owner: AtomicU32,
    /// Weighted time, by which queues are ordered.
    pub(crate) virtual_ns: AtomicU64,
}

impl core::fmt::Debug for Thread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a thread shall be made.
#[derive(Debug)]
pub struct Builder {
    name: String,
    weight: u32,
    affinity: u64,
}

impl Builder {
    /// A thread of normal weight that may run everywhere.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            weight: NORMAL_WEIGHT,
            affinity: u64::MAX,
        }
    }

    /// Sets its share relative to others.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }

    /// Sets the CPUs that it may run on, as a mask.
    #[must_use]
    pub fn affinity(mut self, cpus: u64) -> Self {
        self.affinity = cpus;
        self
    }

    /// Makes the thread; it runs `main` once it is started.
    pub fn build(self, main: impl FnOnce() + Send + 'static) -> Result<Arc<Thread>, OutOfMemory> {
        let thread = self.without_task();
        let task = Task::new(Box::new(main))?;
        let _ = thread.task.set(task);
        Ok(thread)
    }

    pub(crate) fn without_task(self) -> Arc<Thread> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Thread {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: SpinLock::new(self.name),
            task: Once::new(),
            state: AtomicU8::new(READY),
            is_interrupted: AtomicBool::new(false),
            cpu: AtomicUsize::new(hal::cpu::id()),
            affinity: AtomicU64::new(self.affinity),
            weight: AtomicU32::new(self.weight),
            run_ns: AtomicU64::new(0),
            owner: AtomicU32::new(0),
            virtual_ns: AtomicU64::new(0),
        })
    }
}

impl Thread {
    /// Lets a built thread run. Once.
    pub fn start(self: &Arc<Self>) {
        cpu::enqueue_new(self);
    }

    /// Its number, unique since boot.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What its owner knows it by; 0 for the kernel's own threads.
    pub fn owner(&self) -> u32 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Sets what its owner knows it by.
    pub fn set_owner(&self, owner: u32) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.name.lock().clone()
    }

    /// Changes its name.
    pub fn set_name(&self, name: String) {
        *self.name.lock() = name;
    }

    /// Time it has spent running, in nanoseconds, up to its last switch.
    pub fn run_ns(&self) -> u64 {
        self.run_ns.load(Ordering::Relaxed)
    }

    /// The CPU it runs on or ran on last.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// The CPUs it may run on, as a mask.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Changes the CPUs it may run on, from its next wake-up on.
    pub fn set_affinity(&self, cpus: u64) {
        self.affinity.store(cpus, Ordering::Relaxed);
    }

    /// Changes its share relative to others.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Where it is.
    pub fn state(&self) -> ThreadState {
        if self.state.load(Ordering::Relaxed) == PARKED {
            ThreadState::Parked
        } else {
            ThreadState::Ready
        }
    }

    /// Gives it a token, and with it the CPU if it waits for one.
    pub fn unpark(self: &Arc<Self>) {
        loop {
            match self.state.load(Ordering::Acquire) {
                READY if self.change(READY, NOTIFIED) => return,
                PARKED if self.change(PARKED, READY) => return cpu::enqueue_woken(self),
                NOTIFIED => return,
                _ => {}
            }
        }
    }

    /// Ends its interruptible waits until [`Thread::clear_interrupt`], and makes
    /// it look at its signals soon, wherever it is.
    pub fn interrupt(self: &Arc<Self>) {
        self.is_interrupted.store(true, Ordering::Release);
        self.unpark();
        hal::cpu::kick(self.cpu());
    }

    /// Whether [`Thread::interrupt`] was called since it was last cleared.
    #[inline]
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Acquire)
    }

    /// Lets it wait again.
    pub fn clear_interrupt(&self) {
        self.is_interrupted.store(false, Ordering::Release);
    }

    /// Takes the token if there is one. If not, the thread counts as waiting,
    /// and must give up its CPU now.
    #[inline]
    pub(crate) fn begin_park(&self) -> bool {
        if self.change(READY, PARKED) {
            return true;
        }
        self.state.store(READY, Ordering::Release);
        false
    }

    #[inline]
    fn change(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    pub(crate) fn task(&self) -> &Arc<Task> {
        self.task
            .get()
            .expect("invariant: a thread has its task before it is queued")
    }

    pub(crate) fn set_task(&self, task: Arc<Task>) {
        let _ = self.task.set(task);
    }
}

impl Wake for Thread {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}

/// A thread that waits with a deadline is its own timer.
pub(crate) struct ParkTimer(pub(crate) Arc<Thread>);

impl TimerTarget for ParkTimer {
    fn expired(&self, _now_ns: u64) {
        self.0.unpark();
    }
}
