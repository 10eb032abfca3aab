//! Errors, by whose fault they are: [`AddError`] the caller's,
//! [`DeviceError`] the other side's, [`LayoutError`] the set-up's.

use core::fmt;

/// A request that was not queued; nothing of it reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// Too few descriptors are free now: try again after a completion.
    Full,
    /// The request has no segment.
    Empty,
    /// More segments than one request may have.
    TooManySegments {
        /// The most allowed.
        allowed: u16,
    },
    /// A segment of length 0.
    EmptySegment,
    /// A segment to be read stands after one to be written.
    ReadAfterWrite,
    /// The segments to be written exceed 4 GiB in all.
    TooLong,
    /// The device broke the rules earlier; the queue waits for its reset.
    Broken,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("The queue is full"),
            Self::Empty => f.write_str("A request needs at least one segment"),
            Self::TooManySegments { allowed } => {
                write!(
                    f,
                    "A request has too many segments, at most {allowed} are allowed"
                )
            }
            Self::EmptySegment => f.write_str("A segment has length 0, at least 1 is needed"),
            Self::ReadAfterWrite => {
                f.write_str("Segments the device reads must come before those it writes")
            }
            Self::TooLong => f.write_str("A request lets the device write more than 4 GiB"),
            Self::Broken => f.write_str("The queue is stopped since its device broke the rules"),
        }
    }
}

impl core::error::Error for AddError {}

/// What a device wrote that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The used index claims more completions than requests are in flight.
    UsedIndex {
        /// What the device wrote.
        found: u16,
        /// The index up to which completions were taken.
        taken: u16,
        /// Requests in flight.
        in_flight: u16,
    },
    /// The id of a completion is not that of a request in flight.
    Id {
        /// What the device wrote.
        found: u32,
    },
    /// The device claims to have written more than the request let it.
    Length {
        /// The request.
        id: u16,
        /// What the device wrote.
        found: u32,
        /// Bytes that it may write.
        allowed: u32,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedIndex {
                found,
                taken,
                in_flight,
            } => write!(
                f,
                "Device set the used index to {found}, \
                 allowed are {taken} and up to {in_flight} more"
            ),
            Self::Id { found } => {
                write!(
                    f,
                    "Device completed request {found}, which is not in flight"
                )
            }
            Self::Length { id, found, allowed } => write!(
                f,
                "Device wrote {found} bytes for request {id}, at most {allowed} are allowed"
            ),
        }
    }
}

impl core::error::Error for DeviceError {}

/// A queue that cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The size is not a power of two from 2 to [`crate::MAX_SIZE`].
    Size(u16),
    /// The memory is shorter than the layout needs.
    Memory {
        /// Its length in bytes.
        found: usize,
        /// What is needed, in bytes.
        needed: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(
                f,
                "Queue size {size} is not allowed, it must be a power of two from 2 to {}",
                crate::MAX_SIZE
            ),
            Self::Memory { found, needed } => {
                write!(f, "Queue memory has {found} bytes, {needed} are needed")
            }
        }
    }
}

impl core::error::Error for LayoutError {}
