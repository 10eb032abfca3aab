//! The virtio block device: [`VirtioBlock`] over any [`Storage`];
//! [`FileStorage`] is a raw file or a block node.
//!
//! Follows virtio 1.2, section 5.2: read, write, flush, get-id, discard and
//! write-zeroes. Neighbour: `virtio_device` for queues and buffers.
#![forbid(unsafe_code)]

pub mod device;
pub mod file_storage;
pub mod request;
pub mod storage;

pub use device::VirtioBlock;
pub use file_storage::{FileStorage, OpenError};
pub use storage::Storage;

#[cfg(test)]
mod tests;
