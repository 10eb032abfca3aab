//! [`UserThread`]: one thread of a program.

use crate::Process;
use crate::signal::Pending;
use abi::signal::{AltStack, SigInfo, SignalSet};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hal::fpu::FpuArea;
use sync::{Once, SpinLock};

/// One thread of a program.
pub struct UserThread {
    /// Its process's number once it has run another program alone.
    tid: AtomicU32,
    process: Arc<Process>,
    sched: Once<Arc<sched::Thread>>,
    blocked: AtomicU64,
    /// What it takes although it is blocked (sigtimedwait).
    waited_for: AtomicU64,
    pub(crate) pending: SpinLock<Pending>,
    pub(crate) alt_stack: SpinLock<AltStack>,
    /// Where a zero is stored, and waiters woken, at its end.
    pub(crate) clear_at_exit: AtomicU64,
    /// The list of robust futexes: head and length.
    pub(crate) robust_list: SpinLock<(u64, u64)>,
    pub(crate) fpu: Arc<FpuArea>,
    /// Leaves at the next chance, alone.
    pub(crate) is_leaving: AtomicBool,
}

impl UserThread {
    pub(crate) fn new(
        tid: u32,
        process: Arc<Process>,
        blocked: SignalSet,
        fpu: Arc<FpuArea>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tid: AtomicU32::new(tid),
            process,
            sched: Once::new(),
            blocked: AtomicU64::new(blocked.0),
            pending: SpinLock::new(Pending::default()),
            alt_stack: SpinLock::new(AltStack::default()),
            clear_at_exit: AtomicU64::new(0),
            robust_list: SpinLock::new((0, 0)),
            fpu,
            is_leaving: AtomicBool::new(false),
            waited_for: AtomicU64::new(0),
        })
    }

    pub(crate) fn set_sched(&self, thread: Arc<sched::Thread>) {
        thread.set_owner(self.tid());
        let _ = self.sched.set(thread);
    }

    /// Its number.
    #[inline]
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Its process.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// What the scheduler knows it as.
    #[inline]
    pub fn sched(&self) -> &Arc<sched::Thread> {
        self.sched
            .get()
            .expect("invariant: set before the thread is known to anybody")
    }

    /// The signals it does not take now.
    pub fn blocked(&self) -> SignalSet {
        SignalSet(self.blocked.load(Ordering::Relaxed))
    }

    /// Changes the signals it does not take; SIGKILL and SIGSTOP stay out. What
    /// becomes takable is looked at before it returns to its program.
    pub fn set_blocked(&self, set: SignalSet) {
        let set = set.without(SignalSet::UNBLOCKABLE);
        let old = SignalSet(self.blocked.swap(set.0, Ordering::AcqRel));
        if old.without(set) != SignalSet::default() && self.has_takable() {
            self.sched().interrupt();
        }
    }

    pub(crate) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
        self.sched().set_owner(tid);
    }

    /// Whether `signal` shall make it look at its signals.
    pub(crate) fn wants(&self, signal: u32) -> bool {
        !self.blocked().contains(signal)
            || SignalSet(self.waited_for.load(Ordering::Acquire)).contains(signal)
    }

    pub(crate) fn set_waited_for(&self, set: SignalSet) {
        self.waited_for.store(set.0, Ordering::SeqCst);
    }

    /// Signals that wait for it, its process's too.
    pub fn waiting(&self) -> SignalSet {
        self.pending
            .lock()
            .set()
            .union(self.process.pending.lock().set())
    }

    /// Whether a signal waits that it does not block.
    pub fn has_takable(&self) -> bool {
        self.waiting().without(self.blocked()) != SignalSet::default()
    }

    /// Its alternate signal stack.
    pub fn alt_stack(&self) -> AltStack {
        *self.alt_stack.lock()
    }

    /// Sets its alternate signal stack.
    pub fn set_alt_stack(&self, stack: AltStack) {
        *self.alt_stack.lock() = stack;
    }

    /// Sets where a zero is stored at its end.
    pub fn set_clear_at_exit(&self, address: u64) {
        self.clear_at_exit.store(address, Ordering::Relaxed);
    }

    /// Sets its list of robust futexes.
    pub fn set_robust_list(&self, head: u64, len: u64) {
        *self.robust_list.lock() = (head, len);
    }

    /// Its list of robust futexes: head and length.
    pub fn robust_list(&self) -> (u64, u64) {
        *self.robust_list.lock()
    }

    /// Sends it alone a signal.
    pub fn signal(self: &Arc<Self>, info: SigInfo) {
        crate::signal::send_to_thread(self, info);
    }
}
