//! Requests that a correct owner never makes.

/// Why frames were not taken under management.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// The range is empty, or not described by the owner's [`crate::Links`].
    OutOfBounds,
    /// Part of the range is managed already.
    Overlaps,
    /// More than [`crate::MAX_RANGES`] separate ranges.
    TooManyRanges,
}

/// Why a block was not freed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreeError {
    /// The frame is free already.
    DoubleFree,
    /// A block of another order begins here.
    WrongOrder {
        /// The order it was allocated with.
        allocated: u8,
    },
    /// The frame is inside an allocated block.
    InsideBlock {
        /// The first frame of that block.
        head: u32,
        /// The order of that block.
        order: u8,
    },
    /// Not a frame of this allocator.
    NotManaged,
}
