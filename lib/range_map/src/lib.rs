//! Non-overlapping intervals of 64-bit numbers, each with a value: the
//! mappings of an address space, the resources of a bus.
//!
//! The main type is [`RangeMap`]. Intervals are half-open and not empty, so
//! the number 2^64 - 1 itself is in none. They are kept sorted in one vector:
//! finding is a binary search without pointers, and an address space has tens
//! of mappings, so that moving the tail on insertion is cheaper than a tree.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod gaps;
mod map;
#[cfg(test)]
mod tests;

pub use map::{Entry, InsertError, RangeMap};
