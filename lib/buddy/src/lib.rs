//! A physical frame allocator: binary buddies over frame numbers.
//!
//! The main type is [`Buddy`]. It never touches the frames: what it must
//! remember of each, two frame numbers and a [`Mark`], it keeps where the
//! trait [`Links`] says, so that the owner decides on the layout (and may use
//! the two numbers for something else while a frame is allocated). It
//! allocates no memory and takes no lock; per-CPU caches and accounting
//! belong to the layer above.
//!
//! A frame number is a physical address divided by the frame size; 32 bits
//! reach 16 TiB with frames of 4 KiB. A block of order n is 2^n frames and
//! aligned to its size. Blocks merge when freed, up to [`MAX_ORDER`], but
//! never across the boundaries of [`ZONE_ENDS`].
#![no_std]
#![forbid(unsafe_code)]

mod allocator;
mod contiguous;
mod error;
mod links;
mod ranges;
#[cfg(test)]
mod tests;
mod zone;

pub use allocator::{Block, Buddy, Statistics};
pub use error::{AddError, FreeError};
pub use links::{Links, Mark};
pub use ranges::MAX_RANGES;
pub use zone::ZONE_ENDS;

/// The largest block: 2^18 frames, 1 GiB of 4 KiB frames.
pub const MAX_ORDER: u8 = 18;
/// The number of orders.
pub const ORDERS: usize = MAX_ORDER as usize + 1;
/// No frame. Not a valid frame number.
pub const NONE: u32 = u32::MAX;
