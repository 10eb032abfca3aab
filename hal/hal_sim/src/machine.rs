//! [`Machine`]: the CPUs, clock and interrupts that one test sees.
//!
//! A thread that never asked for one gets a machine of its own; the threads of
//! its tasks inherit it. More CPUs are threads that [`Machine::enter`].

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sync::MAX_CPUS;

use crate::irq::Handlers;

pub(crate) struct Cpu {
    pub(crate) resched: AtomicBool,
    /// Nanoseconds; `u64::MAX` when the timer is off.
    pub(crate) deadline: AtomicU64,
    pub(crate) pending: Mutex<Vec<u8>>,
    pub(crate) kicks: AtomicU64,
}

/// A simulated machine.
pub struct Machine {
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) count: AtomicUsize,
    pub(crate) now: AtomicU64,
    pub(crate) auto_advance: AtomicBool,
    pub(crate) handlers: Mutex<Option<&'static dyn Handlers>>,
    pub(crate) next_vector: AtomicUsize,
    changed: Condvar,
    gate: Mutex<()>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Machine>>> = const { RefCell::new(None) };
    pub(crate) static CPU: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread's machine.
#[must_use]
pub fn current() -> Arc<Machine> {
    CURRENT.with_borrow_mut(|machine| machine.get_or_insert_with(|| Machine::new(1)).clone())
}

impl Machine {
    /// A machine of `count` CPUs, its clock at one second.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        assert!(
            (1..=MAX_CPUS).contains(&count),
            "a machine has 1 to {MAX_CPUS} CPUs"
        );
        let cpu = |_| Cpu {
            resched: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            pending: Mutex::new(Vec::new()),
            kicks: AtomicU64::new(0),
        };
        Arc::new(Self {
            cpus: (0..MAX_CPUS).map(cpu).collect(),
            count: AtomicUsize::new(count),
            now: AtomicU64::new(1_000_000_000),
            auto_advance: AtomicBool::new(true),
            handlers: Mutex::new(None),
            next_vector: AtomicUsize::new(0x30),
            changed: Condvar::new(),
            gate: Mutex::new(()),
        })
    }

    /// Makes the calling thread run on CPU `cpu` of this machine.
    pub fn enter(self: &Arc<Self>, cpu: usize) {
        assert!(
            cpu < self.count.load(Ordering::Relaxed),
            "the machine has no CPU {cpu}"
        );
        CURRENT.set(Some(self.clone()));
        CPU.set(cpu);
    }

    pub(crate) fn cpu(&self) -> &Cpu {
        &self.cpus[CPU.get()]
    }

    /// Wakes the CPUs that wait, for them to look around.
    pub(crate) fn notify(&self) {
        drop(lock(&self.gate));
        self.changed.notify_all();
    }

    /// Blocks the thread until `ready`.
    pub(crate) fn wait_until(&self, mut ready: impl FnMut() -> bool) {
        let mut gate = lock(&self.gate);
        while !ready() {
            gate = self
                .changed
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
