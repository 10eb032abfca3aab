//! [`MemoryObject`]: pages that can be mapped, of a file or of shared memory.

use core::fmt;

use hal::mem::Frame;

use crate::FaultError;

/// Something whose pages can be mapped. Its methods are called with the lock of
/// an address space held: they must not block, and not call into the space.
pub trait MemoryObject: Send + Sync {
    /// The page with number `index`, for writing in place or for reading only.
    /// A page given out for reading is never written by the one who asked.
    ///
    /// # Errors
    /// [`FaultError::BusError`] beyond the object's end.
    fn page(&self, index: u64, write: bool) -> Result<Frame, FaultError>;

    /// The page with number `index` if it is there and costs nothing to give
    /// out for reading, for mapping it ahead of its first use.
    fn present(&self, index: u64) -> Option<Frame> {
        let _ = index;
        None
    }

    /// Whether a page given out for reading may be written in place as well, so
    /// that a shared mapping needs to ask once only.
    fn writes_in_place(&self) -> bool {
        false
    }

    /// A number that no other object has, for futexes and listings.
    fn id(&self) -> u64;

    /// Length in pages, the last one rounded up.
    fn len_pages(&self) -> u64;

    /// Writes the name that listings of mappings show.
    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let _ = out;
        Ok(())
    }
}
