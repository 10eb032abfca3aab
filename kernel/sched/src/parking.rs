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
pub struct Parking(AtomicU8);

impl Parking {
    /// Of a thread that does not wait and has no token.
    pub fn new() -> Self {
        Self(AtomicU8::new(READY))
    }

    /// By the thread itself: it waits from now on, unless there is a token,
    /// which is taken.
    #[inline]
    pub fn begin(&self) -> bool {
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
    pub fn end(&self) {
        self.0.swap(READY, Ordering::AcqRel);
    }

    /// Leaves a token. True if the thread waited: the caller must queue it.
    #[inline]
    pub fn notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }

    /// Whether it waits.
    #[inline]
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PARKED
    }
}
