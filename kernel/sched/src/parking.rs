//! [`Parking`]: whether a thread waits, and the token that ends its wait.
//!
//! | from     | by                 | to       |                                  |
//! |----------|--------------------|----------|----------------------------------|
//! | READY    | `begin`            | PARKED   | it leaves its CPU                |
//! | READY    | `notify`           | NOTIFIED | its next `begin` fails           |
//! | NOTIFIED | `begin` that fails | READY    | it goes on at once               |
//! | PARKED   | `notify`           | NOTIFIED | the notifier puts it in a queue  |
//! | NOTIFIED | `end`              | READY    | it runs again                    |
//!
//! `begin` is called with the thread's account locked, which stays so until the
//! thread is out of its queue; a notifier that finds it PARKED locks the account
//! to queue it. So a thread is never in two queues. It may still be on its old
//! CPU's stack then: see `wake`.
//!
//! Every change is an exchange, also one that changes nothing: what a notifier
//! did before is seen by the thread when it goes on.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};

/// Runs, or could.
const READY: u8 = 0;
/// Waits for a token.
const PARKED: u8 = 1;
/// Has a token that it has not seen yet.
const NOTIFIED: u8 = 2;

/// Whether a thread waits.
#[derive(Debug)]
pub(crate) struct Parking(AtomicU8);

impl Parking {
    /// Of a thread that does not wait and has no token.
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(READY))
    }

    /// By the thread itself: it waits from now on, unless there is a token,
    /// which is taken.
    #[inline]
    pub(crate) fn begin(&self) -> bool {
        let begun = self
            .0
            .compare_exchange(READY, PARKED, Ordering::AcqRel, Ordering::Relaxed);
        if begun.is_err() {
            self.end();
        }
        begun.is_ok()
    }

    /// By the thread itself: it runs again and has seen all tokens until now.
    #[inline]
    pub(crate) fn end(&self) {
        self.0.swap(READY, Ordering::AcqRel);
    }

    /// Leaves a token. True if the thread waited: the caller must queue it.
    #[inline]
    pub(crate) fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }

    /// Whether it waits.
    #[inline]
    pub(crate) fn is_parked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PARKED
    }
}

/// All orders of events, by `RUSTFLAGS="--cfg loom" cargo test -p sched --lib`.
#[cfg(all(loom, test))]
mod tests {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// Where the scheduler has the thread, under the account's lock.
    #[derive(Debug, PartialEq, Eq)]
    enum Place {
        Cpu,
        Nowhere,
        Queue,
    }

    struct Model {
        parking: Parking,
        place: Mutex<Place>,
        queued: Condvar,
        news: AtomicUsize,
    }

    impl Model {
        fn wake(&self) {
            // Relaxed: the token alone must carry it over.
            self.news.fetch_add(1, Ordering::Relaxed);
            if self.parking.notify() {
                let mut place = self.place.lock().unwrap();
                assert_eq!(*place, Place::Nowhere, "queued where it was already");
                *place = Place::Queue;
                self.queued.notify_one();
            }
        }

        fn park(&self) {
            let mut place = self.place.lock().unwrap();
            if !self.parking.begin() {
                return;
            }
            *place = Place::Nowhere;
            // A CPU that takes it from the queue.
            while *place != Place::Queue {
                place = self.queued.wait(place).unwrap();
            }
            *place = Place::Cpu;
            drop(place);
            self.parking.end();
        }
    }

    #[test]
    fn no_wake_up_is_lost_and_none_queues_twice() {
        let mut orders = loom::model::Builder::new();
        orders.preemption_bound = Some(3);
        orders.check(|| {
            let model = Arc::new(Model {
                parking: Parking::new(),
                place: Mutex::new(Place::Cpu),
                queued: Condvar::new(),
                news: AtomicUsize::new(0),
            });
            let wakers: [_; 2] = core::array::from_fn(|_| {
                let model = model.clone();
                thread::spawn(move || model.wake())
            });
            while model.news.load(Ordering::Relaxed) < 2 {
                model.park();
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }
}
