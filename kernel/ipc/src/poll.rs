//! [`poll`]: waiting for several files at once (poll(2), select(2)).

use abi::event::Events;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use vfs::{Errno, OpenFile, PollHandle, PollObserver, Result};
use wait::Deadline;

/// One file to wait for.
pub struct PollEntry {
    /// The file; `None` is skipped (its descriptor was negative).
    pub file: Option<Arc<OpenFile>>,
    /// Events asked for.
    pub wanted: Events,
    /// Events found.
    pub found: Events,
}

/// Errors and hang-ups are reported without being asked for.
const ALWAYS: Events = Events::ERR.union(Events::HUP).union(Events::NVAL);

fn look(entries: &mut [PollEntry]) -> usize {
    let mut ready = 0;
    for entry in entries {
        if let Some(file) = &entry.file {
            entry.found = file.poll() & (entry.wanted | ALWAYS);
        }
        ready += usize::from(!entry.found.is_empty());
    }
    ready
}

struct Sleeper {
    waker: Waker,
    woken: AtomicBool,
}

impl PollObserver for Sleeper {
    fn notify(&self, _events: Events) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.waker.wake_by_ref();
        }
    }
}

/// Waits until a file has one of its events, and returns how many have.
/// An entry whose descriptor is not open is given with `found` = `NVAL` and no file.
///
/// # Errors
/// `EINTR`: it is never restarted.
pub fn poll(entries: &mut [PollEntry], deadline: Deadline) -> Result<usize> {
    let ready = look(entries);
    let scheduler = wait::scheduler();
    let is_past = || deadline.is_some_and(|deadline| scheduler.now_ns() >= deadline);
    if ready > 0 || is_past() {
        return Ok(ready);
    }
    let sleeper = Arc::new(Sleeper {
        waker: scheduler.current(),
        woken: AtomicBool::new(false),
    });
    let watches = watch(entries, &sleeper);
    let result = loop {
        let ready = look(entries);
        if ready > 0 || is_past() {
            break Ok(ready);
        }
        if scheduler.interrupted() {
            break Err(Errno::EINTR);
        }
        scheduler.park(deadline);
        sleeper.woken.store(false, Ordering::Release);
    };
    for (index, handle) in watches {
        let file = entries[index].file.as_ref().map(|open| open.file());
        if let Some(head) = file.and_then(|file| file.poll_head()) {
            head.remove(handle);
        }
    }
    result
}

fn watch(entries: &[PollEntry], sleeper: &Arc<Sleeper>) -> Vec<(usize, PollHandle)> {
    let heads = entries.iter().enumerate().filter_map(|(index, entry)| {
        let head = entry.file.as_ref()?.file().poll_head()?;
        Some((index, head.add(entry.wanted, sleeper.clone())))
    });
    heads.collect()
}
