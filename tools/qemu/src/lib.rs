//! The emulated machine: start it, talk to it, learn how it ended.
//!
//! [`Machine`] says what to emulate; starting it gives a [`Running`] machine with a [`Serial`] line (expect and
//! send), a [`Qmp`] connection, a [`Verdict`] when it ends and a hang report when it does not. QEMU's ends of
//! the two lines are sockets it inherits, so that there is nothing to wait for and nothing left on disk.
//! Neighbour: `xtask` decides which machines to start.

#![forbid(unsafe_code)]

mod hang;
mod kvm;
mod machine;
mod qmp;
mod running;
mod serial;
mod symbols;
mod verdict;

pub use kvm::kvm_offers_svm;
pub use machine::{Accelerator, Machine};
pub use qmp::Qmp;
pub use running::{Ending, Running};
pub use serial::{NoMatch, Serial};
pub use symbols::Symbols;
pub use verdict::Verdict;
