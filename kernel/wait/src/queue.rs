//! [`WaitQueue`]: threads that wait for one condition.

use crate::poll_head::{PollHead, Turn};
use crate::{Deadline, Events, WaitError};

/// Threads that wait for a condition which others make true.
#[derive(Default)]
pub struct WaitQueue(PollHead);

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self(PollHead::new())
    }

    /// Blocks until `condition` gives a value; all waiters look at each wake-up.
    ///
    /// # Errors
    /// [`WaitError`], if a signal or the deadline comes first.
    pub fn wait<T>(
        &self,
        deadline: Deadline,
        condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        self.0.wait(Events::IN, deadline, condition)
    }

    /// Blocks until `condition` gives a value; [`WaitQueue::wake`] wakes one of
    /// those who wait this way.
    ///
    /// # Errors
    /// [`WaitError`], if a signal or the deadline comes first.
    pub fn wait_exclusive<T>(
        &self,
        deadline: Deadline,
        condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        self.0.wait_exclusive(Events::IN, deadline, condition)
    }

    /// As [`WaitQueue::wait_exclusive`], without regard to signals: only for
    /// waits that are short by construction.
    pub fn wait_uninterrupted<T>(&self, condition: impl FnMut() -> Option<T>) -> T {
        let turn = Turn {
            exclusive: true,
            signals: false,
        };
        self.0
            .wait_in_turn(Events::IN, None, turn, condition)
            .expect("invariant: a wait without deadline and signals only ends with its value")
    }

    /// Wakes everybody in `wait`, and one of those in an exclusive wait.
    #[inline]
    pub fn wake(&self) {
        self.0.notify(Events::IN);
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        while self.0.is_watched() {
            self.0.notify(Events::IN);
        }
    }
}
