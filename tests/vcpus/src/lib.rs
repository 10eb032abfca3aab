//! What the test programs about vCPUs share: pages that can be taken away
//! again ([`Pages`]), guests that write them ([`Writers`]), and fresh frames
//! that nobody else may touch ([`Watched`]).
//!
//! The programs run as process 1 here and as commands on Linux.

pub mod raw;
mod watched;
mod writers;

pub use raw::Pages;
pub use watched::Watched;
pub use writers::{PAGES_EACH, VCPUS, Writers};

/// Bytes of a page.
pub const PAGE: usize = 4096;
