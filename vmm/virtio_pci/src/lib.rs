//! The virtio 1.2 PCI transport: [`VirtioPci`] makes a PCI function of any
//! virtio device.
//!
//! One memory BAR holds everything, see [`layout`]: common configuration
//! ([`common`]), interrupt status, device configuration, doorbells, and the
//! MSI-X table with its pending bits. The function is pure registers; what it
//! does to the board goes through [`Attachment`]. Virtio 1.2, section 4.1.
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod common;
pub mod function;
pub mod layout;

pub use function::{Attachment, VirtioPci};

#[cfg(test)]
mod tests;
