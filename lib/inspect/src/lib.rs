//! The state tree: what every part of the system says about itself, found by
//! paths such as `sched/cpu0/runnable`.
//!
//! A part implements [`Inspect`] and names its values and children when asked;
//! nothing is kept for the purpose, and children that a query does not reach
//! are not asked. [`query`] walks the tree, [`write_text`] prints what it
//! finds. The macro [`inspect!`](crate::inspect) writes the implementation for
//! plain structs, and a [`Directory`] is where parts are registered.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod directory;
mod fields;
mod node;
mod pattern;
#[cfg(test)]
mod tests;
mod value;

pub use directory::Directory;
pub use node::{Inspect, Node, query, write_text};
pub use pattern::{Pattern, PatternError};
pub use value::Value;
