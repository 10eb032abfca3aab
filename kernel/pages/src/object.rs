//! [`MemoryObject`]: pages that can be mapped into several address spaces.

use crate::{Frame, OutOfMemory};
use abi::Errno;
use core::sync::atomic::{AtomicU64, Ordering};

/// Why a page could not be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// No mapping there (SIGSEGV).
    NoArea,
    /// The mapping forbids this access (SIGSEGV).
    Denied,
    /// No memory left (the process is killed).
    OutOfMemory,
    /// Beyond the object's end, or unreadable (SIGBUS).
    BusError,
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<FaultError> for Errno {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::OutOfMemory => Errno::ENOMEM,
            FaultError::BusError => Errno::EIO,
            FaultError::NoArea | FaultError::Denied => Errno::EFAULT,
        }
    }
}

/// Pages by index, shared by all who map the object.
pub trait MemoryObject: Send + Sync {
    /// The frame of page `index`. With `write` the frame is one that may be
    /// written to, now and as long as the object keeps it; without, it may be
    /// shared with others, and a later write needs another call.
    ///
    /// # Errors
    /// [`FaultError::BusError`] beyond the end, `OutOfMemory`.
    fn page(&self, index: u64, write: bool) -> Result<Frame, FaultError>;
    /// A number that no other object ever has.
    fn id(&self) -> u64;
    /// Length in pages, the last one perhaps partial.
    fn len_pages(&self) -> u64;
}

/// A fresh number for [`MemoryObject::id`].
pub fn next_object_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
