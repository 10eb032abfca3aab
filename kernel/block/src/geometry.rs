//! [`Geometry`]: a disk's size and abilities.

use crate::{BlockError, Operation, Request};

/// What one request to the hardware may have; longer ones are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pieces of memory.
    pub segments: u16,
    /// Bytes of one piece; at least a block.
    pub segment_bytes: u32,
    /// Bytes read or written; at least a block.
    pub bytes: u64,
    /// Bytes discarded; at least a block.
    pub discard_bytes: u64,
}

/// A disk's size and abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size in bytes, a multiple of the block size.
    pub capacity: u64,
    /// Bytes of a block, the unit of access; a power of two from 512 on.
    pub block: u32,
    /// Whether writes fail.
    pub is_read_only: bool,
    /// Whether written data may be lost in a power cut until it is flushed.
    pub has_cache: bool,
    /// Whether blocks can be discarded.
    pub can_discard: bool,
    /// What one request to the hardware may have.
    pub limits: Limits,
}

impl Geometry {
    /// Whether the disk can do this request.
    ///
    /// # Errors
    /// [`BlockError`] that says why not.
    pub fn check(&self, request: &Request) -> Result<(), BlockError> {
        let Request {
            operation,
            start,
            length,
            ..
        } = *request;
        match operation {
            Operation::Flush => return Ok(()),
            Operation::Write | Operation::Discard if self.is_read_only => {
                return Err(BlockError::ReadOnly);
            }
            Operation::Discard if !self.can_discard => return Err(BlockError::Unsupported),
            _ => {}
        }
        if (start | length) & u64::from(self.block - 1) != 0 {
            return Err(BlockError::Misaligned {
                start,
                length,
                block: self.block,
            });
        }
        if start
            .checked_add(length)
            .is_none_or(|end| end > self.capacity)
        {
            return Err(BlockError::OutOfRange {
                start,
                length,
                capacity: self.capacity,
            });
        }
        let needs_memory = operation != Operation::Discard && length > 0;
        if needs_memory && request.data.as_ref().is_none_or(|data| !data.holds(length)) {
            return Err(BlockError::ShortBuffer);
        }
        Ok(())
    }
}
