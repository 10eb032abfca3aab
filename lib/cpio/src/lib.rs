//! A reader of cpio archives in the "newc" format, the form in which boot
//! archives come. Nothing is copied: entries refer to the archive's bytes.
//!
//! The main type is [`Archive`], an iterator of [`Entry`]. Archives that were
//! concatenated, with zeroes between them, are read as one.
//!
//! The format as cpio(5) describes it: a header of ASCII hexadecimal fields,
//! the name, the data, the last two padded to 4 bytes from the archive's start.
#![no_std]
#![forbid(unsafe_code)]

mod archive;
mod entry;
mod error;
#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use entry::{Entry, FileType, LinkKey};
pub use error::{CpioError, Fault};
