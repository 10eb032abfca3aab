//! [`PollHead`]: who waits for one file: parked threads, and observers such as
//! epoll sets and interrupt injection.
//!
//! A file has one head and calls [`PollHead::notify`] after each change. With
//! nobody waiting that costs a fence and a load.

use crate::{Deadline, Events, WaitError, scheduler};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use core::task::Waker;
use sync::SpinLock;

/// What a file tells about its changes.
pub trait PollObserver: Send + Sync {
    /// Something of `events` may have become true. Runs under the head's lock:
    /// it must not block, nor reach the same head again.
    fn notify(&self, events: Events);
}

/// Names an observer at its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollHandle(u64);

enum Target {
    Thread(Waker),
    Observer(Arc<dyn PollObserver>),
}

struct Entry {
    ticket: u64,
    mask: Events,
    /// Of several exclusive entries one notification reaches one.
    exclusive: bool,
    target: Target,
}

struct Entries {
    list: Vec<Entry>,
    next_ticket: u64,
}

impl Entries {
    /// Takes an entry out; the others keep their order. The last one, often
    /// the only one, moves nobody.
    #[inline]
    fn take(&mut self, index: usize) -> Entry {
        if index + 1 == self.list.len()
            && let Some(last) = self.list.pop()
        {
            return last;
        }
        self.list.remove(index)
    }
}

/// The list of those who wait for one file.
pub struct PollHead {
    /// Length of the list, so that nobody takes the lock for an empty one.
    count: AtomicU32,
    entries: SpinLock<Entries>,
}

/// Errors and hang-ups are reported to everybody.
const ALWAYS: Events = Events::ERR.union(Events::HUP);

impl PollHead {
    /// A head that nobody waits at.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: AtomicU32::new(0),
            entries: SpinLock::new(Entries {
                list: Vec::new(),
                next_ticket: 0,
            }),
        }
    }

    /// Tells everybody who waits for one of `events`. Call it after the change,
    /// with no lock held that a waiter's condition or an observer takes.
    #[inline]
    pub fn notify(&self, events: Events) {
        // Pairs with the fence in `insert`: either this load sees the waiter,
        // or the waiter's next look sees the change made before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) != 0 {
            self.notify_entries(events);
        }
    }

    fn notify_entries(&self, events: Events) {
        let mut entries = self.entries.lock();
        let mut exclusive_done = false;
        let mut index = 0;
        while index < entries.list.len() {
            let entry = &entries.list[index];
            let skip = entry.exclusive && exclusive_done;
            if skip || !entry.mask.union(ALWAYS).intersects(events) {
                index += 1;
                continue;
            }
            exclusive_done |= entry.exclusive;
            match &entry.target {
                Target::Observer(observer) => {
                    observer.notify(events);
                    index += 1;
                }
                Target::Thread(waker) => {
                    waker.wake_by_ref();
                    // A woken thread leaves the list, in order of arrival.
                    drop(entries.take(index));
                    self.count
                        .store(entries.list.len() as u32, Ordering::Relaxed);
                }
            }
        }
    }

    /// Adds an observer for `mask` (errors and hang-ups are always included).
    pub fn add(&self, mask: Events, observer: Arc<dyn PollObserver>) -> PollHandle {
        PollHandle(self.insert(mask, false, Target::Observer(observer)))
    }

    /// As [`PollHead::add`]; of several such observers one notification reaches
    /// the first.
    pub fn add_exclusive(&self, mask: Events, observer: Arc<dyn PollObserver>) -> PollHandle {
        PollHandle(self.insert(mask, true, Target::Observer(observer)))
    }

    /// Takes an observer off. When this returns it is not running, and will not
    /// be called again. Returns whether it was there.
    pub fn remove(&self, handle: PollHandle) -> bool {
        self.withdraw(handle.0)
    }

    /// Is anybody waiting?
    #[must_use]
    pub fn is_watched(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) != 0
    }

    fn insert(&self, mask: Events, exclusive: bool, target: Target) -> u64 {
        let mut entries = self.entries.lock();
        let ticket = entries.next_ticket;
        entries.next_ticket += 1;
        entries.list.push(Entry {
            ticket,
            mask,
            exclusive,
            target,
        });
        self.count
            .store(entries.list.len() as u32, Ordering::Relaxed);
        drop(entries);
        fence(Ordering::SeqCst);
        ticket
    }

    /// Returns whether the entry was still there.
    fn withdraw(&self, ticket: u64) -> bool {
        let mut entries = self.entries.lock();
        let Some(index) = entries.list.iter().position(|entry| entry.ticket == ticket) else {
            return false;
        };
        let entry = entries.take(index);
        self.count
            .store(entries.list.len() as u32, Ordering::Relaxed);
        drop(entries);
        // The target may own much; it is dropped without the lock.
        drop(entry);
        true
    }

    /// Blocks until `condition` gives a value. It is tried at once, and again
    /// after each notification of `mask`.
    ///
    /// # Errors
    /// [`WaitError`], if a signal or the deadline comes first.
    pub fn wait<T>(
        &self,
        mask: Events,
        deadline: Deadline,
        condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        self.wait_in_turn(
            mask,
            deadline,
            Turn {
                exclusive: false,
                signals: true,
            },
            condition,
        )
    }

    /// As [`PollHead::wait`], but of several such waiters one notification wakes
    /// one; for conditions that only one waiter can find true.
    ///
    /// # Errors
    /// As [`PollHead::wait`].
    pub fn wait_exclusive<T>(
        &self,
        mask: Events,
        deadline: Deadline,
        condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        self.wait_in_turn(
            mask,
            deadline,
            Turn {
                exclusive: true,
                signals: true,
            },
            condition,
        )
    }

    pub(crate) fn wait_in_turn<T>(
        &self,
        mask: Events,
        deadline: Deadline,
        turn: Turn,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, WaitError> {
        if let Some(value) = condition() {
            return Ok(value);
        }
        let scheduler = scheduler();
        loop {
            let ticket = self.insert(mask, turn.exclusive, Target::Thread(scheduler.current()));
            if let Some(value) = condition() {
                self.leave(ticket, mask, turn);
                return Ok(value);
            }
            if turn.signals && scheduler.interrupted() {
                self.leave(ticket, mask, turn);
                return Err(WaitError::Interrupted);
            }
            if deadline.is_some_and(|deadline| scheduler.now_ns() >= deadline) {
                self.leave(ticket, mask, turn);
                return Err(WaitError::TimedOut);
            }
            scheduler.park(deadline);
            self.withdraw(ticket);
            if let Some(value) = condition() {
                return Ok(value);
            }
        }
    }

    /// Leaves without having used a wake-up: one that came meanwhile goes on to
    /// the next exclusive waiter.
    fn leave(&self, ticket: u64, mask: Events, turn: Turn) {
        if !self.withdraw(ticket) && turn.exclusive {
            self.notify(mask);
        }
    }
}

impl Default for PollHead {
    fn default() -> Self {
        Self::new()
    }
}

/// How a thread takes its place in the list.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub exclusive: bool,
    pub signals: bool,
}
