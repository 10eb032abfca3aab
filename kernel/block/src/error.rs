//! [`BlockError`]: why a request failed.

use core::fmt;

use abi::Errno;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The range is not inside the disk.
    OutOfRange {
        /// First byte.
        start: u64,
        /// Bytes.
        length: u64,
        /// Bytes of the disk.
        capacity: u64,
    },
    /// Start or length is not a multiple of the block size.
    Misaligned {
        /// First byte.
        start: u64,
        /// Bytes.
        length: u64,
        /// Bytes of a block.
        block: u32,
    },
    /// The request's memory is shorter than its range.
    ShortBuffer,
    /// The request's memory is in pieces too small for the device.
    Fragmented,
    /// The disk cannot be written.
    ReadOnly,
    /// The disk cannot do this.
    Unsupported,
    /// The disk reported an error: what a write left behind is unknown.
    Failed,
    /// The disk is gone, or was stopped because it broke the rules.
    Gone,
    /// No memory is left to keep the request waiting.
    OutOfMemory,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange {
                start,
                length,
                capacity,
            } => {
                write!(
                    f,
                    "{length} bytes from {start} are beyond the disk's {capacity} bytes"
                )
            }
            Self::Misaligned {
                start,
                length,
                block,
            } => {
                write!(
                    f,
                    "{length} bytes from {start} are not whole blocks of {block} bytes"
                )
            }
            Self::ShortBuffer => f.write_str("The request's memory is shorter than its range"),
            Self::Fragmented => {
                f.write_str("The request's memory is in pieces too small for the disk")
            }
            Self::ReadOnly => f.write_str("The disk is read-only"),
            Self::Unsupported => f.write_str("The disk does not support this operation"),
            Self::Failed => f.write_str("The disk reported an I/O error"),
            Self::Gone => f.write_str("The disk is gone"),
            Self::OutOfMemory => f.write_str("No memory is left to queue the request"),
        }
    }
}

impl core::error::Error for BlockError {}

impl From<BlockError> for Errno {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::OutOfRange { .. } | BlockError::Misaligned { .. } => Self::EINVAL,
            BlockError::ShortBuffer | BlockError::Fragmented => Self::EINVAL,
            BlockError::ReadOnly => Self::EROFS,
            BlockError::Unsupported => Self::EOPNOTSUPP,
            BlockError::Failed => Self::EIO,
            BlockError::Gone => Self::ENXIO,
            BlockError::OutOfMemory => Self::ENOMEM,
        }
    }
}
