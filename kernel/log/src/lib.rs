//! The kernel's log.
//!
//! Kernel crates write with the macros of the crate `log`; [`init`] connects
//! those to a [`Ring`] of messages that readers follow by sequence number
//! (`dmesg`, `/dev/kmsg`) and to [`Sink`]s such as the serial console.
//!
//! Neighbours: whoever owns a console implements [`Sink`]; the device node
//! reads with [`read`] and [`Cursor`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod entry;
mod line;
mod logger;
mod ring;
mod sinks;

pub use entry::{Entry, KmsgFormat};
pub use line::{Line, MAX_LINE};
pub use logger::{Hooks, bounds, flush_to, init, read, set_arrival_hook, write};
pub use ring::{Cursor, Ring};
pub use sinks::{MAX_SINKS, Sink, SinkError, register_sink};
