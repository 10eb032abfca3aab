//! [`Thread`]: one flow of control, as the scheduler sees it.
//!
//! A thread is in one of these places:
//! - *on a CPU*: it is the `current` of one, and that CPU's queue counts its time;
//! - *in a queue*: its account has a place there;
//! - *asleep*: its [`Parking`] says so, and nobody but wakers knows it;
//! - *moving*: it was found on a CPU that it may not use, and is about to be
//!   queued by that CPU for another.
//!
//! From the first to the others it goes under that CPU's lock, and from asleep
//! to a queue by whoever changed its [`Parking`]; `cpu` names the CPU of the
//! queue that it is in or was in last, and changes under the lock of the new
//! one and of the account.

use crate::parking::Parking;
use crate::{switch, wake};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hal::mem::OutOfMemory;
use hal::task::Task;
use sched_policy::{CpuSet, Entity, Params, WEIGHT_DEFAULT, WEIGHT_MAX};
use sync::{Once, SpinLock};

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// Runs or could run.
    Ready,
    /// Waits.
    Parked,
}

/// No CPU has granted it a reservation.
const NO_HOME: u32 = u32::MAX;

/// One flow of control.
pub struct Thread {
    id: u64,
    name: SpinLock<String>,
    task: Once<Arc<Task>>,
    pub(crate) parking: Parking,
    /// A signal or the end is waiting to be looked at.
    is_interrupted: AtomicBool,
    /// The CPU of its queue.
    cpu: AtomicU32,
    /// The CPU that granted its reservation.
    home: AtomicU32,
    /// CPUs it may run on, as a mask.
    affinity: AtomicU64,
    /// Its account. Locked inside its CPU's lock.
    pub(crate) entity: SpinLock<Entity>,
    /// What its owner knows it by; 0 for the kernel's own threads.
    owner: AtomicU32,
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
            weight: WEIGHT_DEFAULT,
            affinity: u64::MAX,
        }
    }

    /// Sets its share relative to others; the nearest allowed weight is used.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.clamp(1, WEIGHT_MAX);
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
        let task = Task::new(Box::new(move || {
            switch::settle();
            main();
        }))?;
        let _ = thread.task.set(task);
        Ok(thread)
    }

    pub(crate) fn without_task(self) -> Arc<Thread> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let params = Params {
            weight: self.weight,
            ..Params::DEFAULT
        };
        let entity = Entity::new(params).expect("invariant: the weight is in its range");
        Arc::new(Thread {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: SpinLock::new(self.name),
            task: Once::new(),
            parking: Parking::new(),
            is_interrupted: AtomicBool::new(false),
            cpu: AtomicU32::new(hal::cpu::id() as u32),
            home: AtomicU32::new(NO_HOME),
            affinity: AtomicU64::new(self.affinity),
            entity: SpinLock::new(entity),
            owner: AtomicU32::new(0),
        })
    }
}

impl Thread {
    /// Lets a built thread run. Once.
    pub fn start(self: &Arc<Self>) {
        wake::enqueue(self);
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

    /// The CPU it runs on or ran on last.
    #[inline]
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed) as usize
    }

    /// Under the locks of the CPU and the account.
    #[inline]
    pub(crate) fn set_cpu(&self, cpu: usize) {
        self.cpu.store(cpu as u32, Ordering::Relaxed);
    }

    /// The CPUs it may run on, as a mask.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn allowed(&self) -> CpuSet {
        CpuSet(self.affinity.load(Ordering::Relaxed))
    }

    pub(crate) fn set_allowed(&self, cpus: CpuSet) {
        self.affinity.store(cpus.0, Ordering::Relaxed);
    }

    /// The CPU that granted its reservation, if it has one.
    #[inline]
    pub(crate) fn home(&self) -> Option<usize> {
        match self.home.load(Ordering::Relaxed) {
            NO_HOME => None,
            home => Some(home as usize),
        }
    }

    pub(crate) fn set_home(&self, home: Option<usize>) {
        let home = home.map_or(NO_HOME, |home| home as u32);
        self.home.store(home, Ordering::Relaxed);
    }

    /// Whether it may run on CPU `cpu`.
    #[inline]
    pub(crate) fn may_run_on(&self, cpu: usize) -> bool {
        self.allowed().contains(cpu) && self.home().is_none_or(|home| home == cpu)
    }

    /// Where it is.
    pub fn state(&self) -> ThreadState {
        if self.parking.is_parked() {
            ThreadState::Parked
        } else {
            ThreadState::Ready
        }
    }

    /// Gives it a token, and with it the CPU if it waits for one.
    #[inline]
    pub fn unpark(self: &Arc<Self>) {
        if self.parking.notify() {
            wake::enqueue(self);
        }
    }

    /// Ends its interruptible waits until [`Thread::clear_interrupt`], and makes
    /// it look at its signals soon, wherever it is.
    pub fn interrupt(self: &Arc<Self>) {
        self.is_interrupted.store(true, Ordering::Release);
        if self.parking.notify() {
            wake::enqueue(self);
        } else {
            // It runs, or will; in ring 3 or a guest it looks at nothing.
            hal::cpu::kick(self.cpu());
        }
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
