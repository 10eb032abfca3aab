//! How any part of the machine stops it: [`StopSignal`], shared by vCPUs,
//! devices and the event loop. The first reason wins.

use crate::outcome::Outcome;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A request to stop, with its reason.
pub struct StopSignal {
    requested: AtomicBool,
    outcome: Mutex<Option<Outcome>>,
    event: EventFd,
}

impl StopSignal {
    /// Nothing requested yet.
    ///
    /// # Errors
    /// No eventfd can be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            requested: AtomicBool::new(false),
            outcome: Mutex::new(None),
            event: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// Asks for a stop; later requests do not change the reason.
    pub fn request(&self, outcome: Outcome) {
        let mut slot = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(outcome);
        drop(slot);
        self.requested.store(true, Ordering::Release);
        // A full counter has woken the event loop already.
        let _ = self.event.write(1);
    }

    /// Whether a stop was asked for: no more guest instructions then.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Becomes readable with the first request.
    pub fn event(&self) -> &EventFd {
        &self.event
    }

    /// The reason, if a stop was asked for.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
