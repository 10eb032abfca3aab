//! What a program loader needs of an ELF64 file: where execution begins, which
//! parts of the file go where in memory, and what else the file asks for.
//!
//! The main type is [`Image`]. It is made from the file's first bytes, and
//! making it checks everything, so that a loader that holds an `Image` adds
//! and compares its numbers without a further thought. Field decoding is the
//! crate `elf`'s; the judgement is here.
//!
//! Follows the System V gABI, chapters "Object Files" and "Program Loading",
//! and execve(2) for the error numbers.
#![no_std]
#![forbid(unsafe_code)]

mod error;
mod header;
mod image;
mod segment;
#[cfg(test)]
mod tests;

pub use error::ElfError;
pub use header::{Header, ImageType};
pub use image::{Image, Limits};
pub use segment::{FileRange, Segment, Segments, Tls};

/// The unit of mapping: segments must agree with their file offsets modulo
/// this, and no two segments may share one.
pub const PAGE_SIZE: u64 = 4096;
