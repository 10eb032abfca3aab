//! The `wait` crate on real threads.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use wait::{Events, Mutex, PollHead, PollObserver, TimerTarget, WaitError, WaitQueue};
use wait_host::{eventually, install};

#[test]
fn a_mutex_excludes() {
    install();
    let mutex = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mutex = mutex.clone();
            thread::spawn(move || {
                for _ in 0..5_000 {
                    let mut guard = mutex.lock();
                    let seen = *guard;
                    if seen.is_multiple_of(64) {
                        thread::yield_now();
                    }
                    *guard = seen + 1;
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(*mutex.lock(), 20_000);
}

#[test]
fn each_exclusive_wake_reaches_somebody() {
    install();
    let queue = Arc::new(WaitQueue::new());
    let items = Arc::new(AtomicU32::new(0));
    let take = |items: &AtomicU32| {
        items
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .ok()
    };
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (queue, items) = (queue.clone(), items.clone());
            thread::spawn(move || {
                for _ in 0..2_000 {
                    queue.wait_exclusive(None, || take(&items)).unwrap();
                }
            })
        })
        .collect();
    for _ in 0..6_000 {
        items.fetch_add(1, Ordering::SeqCst);
        queue.wake();
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(items.load(Ordering::SeqCst), 0);
}

#[test]
fn signals_and_deadlines_end_waits() {
    install();
    let head = Arc::new(PollHead::new());
    let past = Some(wait::now_ns());
    assert_eq!(
        head.wait(Events::IN, past, || None::<()>),
        Err(WaitError::TimedOut)
    );
    let (send, receive) = std::sync::mpsc::channel();
    let thread = {
        let head = head.clone();
        thread::spawn(move || {
            send.send(wait_host::current()).unwrap();
            head.wait(Events::IN, None, || None::<()>)
        })
    };
    receive.recv().unwrap().interrupt();
    assert_eq!(thread.join().unwrap(), Err(WaitError::Interrupted));
    assert!(!head.is_watched());
}

struct Count(AtomicU64);
impl PollObserver for Count {
    fn notify(&self, _events: Events) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
impl TimerTarget for Count {
    fn expired(&self, _now_ns: u64) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn observers_hear_their_events_until_removed() {
    let head = PollHead::new();
    let count = Arc::new(Count(AtomicU64::new(0)));
    let handle = head.add(Events::IN, count.clone());
    head.notify(Events::OUT);
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    head.notify(Events::IN);
    head.notify(Events::HUP);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert!(head.remove(handle));
    assert!(!head.remove(handle));
    head.notify(Events::IN);
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn one_of_two_exclusive_observers_hears() {
    let head = PollHead::new();
    let counts = [0, 1].map(|_| Arc::new(Count(AtomicU64::new(0))));
    for count in &counts {
        head.add_exclusive(Events::IN, count.clone());
    }
    head.notify(Events::IN);
    assert_eq!(
        counts
            .iter()
            .map(|c| c.0.load(Ordering::SeqCst))
            .sum::<u64>(),
        1
    );
}

#[test]
fn timers_expire_and_can_be_cancelled() {
    install();
    let (kept, cancelled) = (
        Arc::new(Count(AtomicU64::new(0))),
        Arc::new(Count(AtomicU64::new(0))),
    );
    let weak = |count: &Arc<Count>| {
        let weak: std::sync::Weak<Count> = Arc::downgrade(count);
        weak as std::sync::Weak<dyn TimerTarget>
    };
    let scheduler = wait::scheduler();
    let id = scheduler.arm(scheduler.now_ns() + 3_600_000_000_000, weak(&cancelled));
    scheduler.arm(scheduler.now_ns() + 1_000_000, weak(&kept));
    scheduler.cancel(id);
    eventually(|| kept.0.load(Ordering::SeqCst) == 1);
    assert_eq!(Arc::weak_count(&cancelled), 0);
}
