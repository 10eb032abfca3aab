//! [`Request`]: what a disk is asked to do.

use alloc::sync::Arc;

use crate::buffer::Range;
use crate::{BlockError, Buffer};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read into the request's memory.
    Read,
    /// Write from the request's memory.
    Write,
    /// Make all completed writes survive a power cut; has no range.
    Flush,
    /// Forget the range: what it then reads is unknown.
    Discard,
}

/// Who is told when a request is done.
pub trait Completion: Send + Sync {
    /// The request that was submitted with `token` is done. Called exactly
    /// once, with interrupts disabled, on any CPU; must not block. It may
    /// submit further requests.
    fn complete(&self, token: u64, result: Result<(), BlockError>);
}

/// A request's memory: a buffer from `offset` on.
#[derive(Clone)]
pub struct Data {
    /// The memory; kept alive until the device is done.
    pub buffer: Arc<dyn Buffer>,
    /// Where in it the request's bytes begin.
    pub offset: u64,
}

impl Data {
    /// Whether there are `length` bytes from the offset on.
    pub(crate) fn holds(&self, length: u64) -> bool {
        let Some(mut missing) = self.offset.checked_add(length) else {
            return false;
        };
        for piece in self.buffer.pieces() {
            missing = missing.saturating_sub(piece.length.into());
            if missing == 0 {
                break;
            }
        }
        missing == 0
    }

    /// The first `length` bytes in pieces of at most `most` bytes.
    pub(crate) fn range(&self, length: u64, most: u32) -> Range<'_> {
        Range::new(self.buffer.pieces(), self.offset, length, most)
    }
}

/// One thing that a disk is asked to do.
pub struct Request {
    /// What.
    pub operation: Operation,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// The memory, for reads and writes.
    pub data: Option<Data>,
    /// Who is told.
    pub completion: Arc<dyn Completion>,
    /// What that is told.
    pub token: u64,
}

impl Request {
    /// A flush.
    pub fn flush(completion: Arc<dyn Completion>, token: u64) -> Self {
        Self {
            operation: Operation::Flush,
            start: 0,
            length: 0,
            data: None,
            completion,
            token,
        }
    }

    /// Ends the request. Its memory is let go before its owner is told.
    pub fn finish(self, result: Result<(), BlockError>) {
        let Self {
            data,
            completion,
            token,
            ..
        } = self;
        drop(data);
        completion.complete(token, result);
    }
}
