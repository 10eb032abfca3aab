//! Page frames as files and mappings share them.
//!
//! [`Frame`] and [`Account`] have the interface of the hardware layer's frames;
//! [`MemoryObject`] is what a file hands out to be mapped. File systems above
//! use these names only.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod frame;
mod object;

pub use frame::{Account, Charge, Frame, OutOfMemory, PAGE_SIZE};
pub use object::{FaultError, MemoryObject, next_object_id};
