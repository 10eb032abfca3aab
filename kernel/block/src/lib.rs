//! Block devices.
//!
//! [`BlockDevice`] is the main type: a disk that takes a [`Request`] and
//! completes it later. Data stays where it is: a request names physical
//! memory by a [`Buffer`] that it keeps alive. [`VirtioBlk`] drives virtio
//! disks; [`Disks`] is the list of all disks by name; [`BlockFile`] shows a
//! disk to programs.
//!
//! Neighbours: `device` finds functions; files and volumes stand on this
//! crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod block_file;
mod bounce;
mod buffer;
mod disks;
mod error;
mod geometry;
mod request;
mod split;
mod virtio_blk;

pub use block_file::{BlockFile, BlockNode};
pub use buffer::{Buffer, Piece};
pub use disks::{Disk, Disks};
pub use error::BlockError;
pub use geometry::{Geometry, Limits};
pub use request::{Completion, Data, Operation, Request};
pub use split::split;
pub use virtio_blk::VirtioBlk;

/// A disk.
pub trait BlockDevice: Send + Sync {
    /// Its size and what it can do.
    fn geometry(&self) -> Geometry;

    /// Starts a request of any size. It is completed exactly once, perhaps
    /// before this returns; all errors arrive that way. Requests in flight at
    /// the same time may be done in any order: who needs an order waits, and
    /// a flush covers the writes that were completed before it was submitted.
    fn submit(&self, request: Request);
}
