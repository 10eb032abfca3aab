//! A scheduler for host tests: threads of std, timers on a thread of their own,
//! the host's clock, and signals that a test sends by hand.
//!
//! The main type is [`HostScheduler`]; a test calls [`install`] first.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, Weak};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wait::{Deadline, Scheduler, TimerId, TimerTarget};

/// A thread as the scheduler knows it.
pub struct HostThread {
    thread: Thread,
    interrupted: AtomicBool,
    /// How often it was woken; for tests of wake-ups.
    wakes: AtomicU64,
}

impl HostThread {
    /// Sends the thread a signal: its interruptible waits end.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }

    /// The signal is handled.
    pub fn clear_interrupt(&self) {
        self.interrupted.store(false, Ordering::SeqCst);
    }

    /// How often the thread was woken.
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::SeqCst)
    }
}

impl Wake for HostThread {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<HostThread>>> = const { RefCell::new(None) };
}

/// The running thread.
pub fn current() -> Arc<HostThread> {
    CURRENT.with_borrow_mut(|slot| {
        slot.get_or_insert_with(|| {
            Arc::new(HostThread {
                thread: thread::current(),
                interrupted: AtomicBool::new(false),
                wakes: AtomicU64::new(0),
            })
        })
        .clone()
    })
}

type Timers = BTreeMap<(u64, u64), Weak<dyn TimerTarget>>;

/// The host's threads and clocks behind [`Scheduler`].
pub struct HostScheduler {
    start: Instant,
    timers: Mutex<Timers>,
    changed: Condvar,
    next_timer: AtomicU64,
}

impl HostScheduler {
    fn run_timers(&self) {
        let mut timers = self.timers.lock().expect("no test panics under this lock");
        loop {
            let now = self.now_ns();
            let Some(entry) = timers.first_entry() else {
                timers = self
                    .changed
                    .wait(timers)
                    .expect("no test panics under this lock");
                continue;
            };
            let deadline = entry.key().0;
            if deadline > now {
                let span = Duration::from_nanos(deadline - now);
                timers = self
                    .changed
                    .wait_timeout(timers, span)
                    .expect("no test panics under this lock")
                    .0;
                continue;
            }
            let target = entry.remove();
            drop(timers);
            if let Some(target) = target.upgrade() {
                target.expired(now);
            }
            timers = self.timers.lock().expect("no test panics under this lock");
        }
    }
}

impl Scheduler for HostScheduler {
    fn current(&self) -> Waker {
        Waker::from(current())
    }
    fn park(&self, deadline: Deadline) {
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                thread::park_timeout(Duration::from_nanos(deadline.saturating_sub(self.now_ns())));
            }
        }
    }
    fn interrupted(&self) -> bool {
        current().interrupted.load(Ordering::SeqCst)
    }
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1_000_000_000
    }
    fn realtime_ns(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |span| span.as_nanos() as u64)
    }
    fn arm(&self, deadline_ns: u64, target: Weak<dyn TimerTarget>) -> TimerId {
        let id = self.next_timer.fetch_add(1, Ordering::SeqCst);
        let mut timers = self.timers.lock().expect("no test panics under this lock");
        timers.insert((deadline_ns, id), target);
        self.changed.notify_one();
        TimerId(id)
    }
    fn cancel(&self, timer: TimerId) {
        let mut timers = self.timers.lock().expect("no test panics under this lock");
        timers.retain(|key, _| key.1 != timer.0);
    }
}

/// Registers the host's scheduler, once for all tests of a process.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let scheduler: &'static HostScheduler = Box::leak(Box::new(HostScheduler {
            start: Instant::now(),
            timers: Mutex::new(BTreeMap::new()),
            changed: Condvar::new(),
            next_timer: AtomicU64::new(1),
        }));
        wait::set_scheduler(scheduler);
        thread::spawn(|| scheduler.run_timers());
    });
}

/// Waits until `condition` holds, giving the CPU away meanwhile; panics after
/// ten seconds. For tests that must know that another thread has come somewhere.
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the condition never came true"
        );
        thread::yield_now();
    }
}
