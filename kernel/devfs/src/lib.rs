//! Device nodes.
//!
//! [`register`] registers the devices that need no driver (null(4), random(4),
//! zero, full, tty(4), kmsg); [`populate`] makes the nodes. Drivers register
//! theirs with `vfs::device` and make nodes with [`Nodes::add`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod kmsg;
mod memory;
mod nodes;
mod random;

pub use kmsg::{KernelLog, Kmsg, Record};
pub use memory::{FullDevice, NullDevice, ZeroDevice};
pub use nodes::{Nodes, populate};
pub use random::{Entropy, RandomDevice};

use abi::Errno;
use abi::fs::makedev;
use alloc::sync::Arc;
use vfs::{Caller, Device, File, OpenFlags, Result};

/// `/dev/null`.
pub const NULL: u64 = makedev(1, 3);
/// `/dev/zero`.
pub const ZERO: u64 = makedev(1, 5);
/// `/dev/full`.
pub const FULL: u64 = makedev(1, 7);
/// `/dev/random`.
pub const RANDOM: u64 = makedev(1, 8);
/// `/dev/urandom`.
pub const URANDOM: u64 = makedev(1, 9);
/// `/dev/kmsg`.
pub const KMSG: u64 = makedev(1, 11);
/// `/dev/tty`: the caller's controlling terminal.
pub const TTY: u64 = makedev(5, 0);
/// `/dev/console`.
pub const CONSOLE: u64 = makedev(5, 1);

/// A device whose opens all share one file.
pub struct SharedFile(pub Arc<dyn File>);

impl Device for SharedFile {
    fn open(&self, _flags: OpenFlags, _caller: Option<&dyn Caller>) -> Result<Arc<dyn File>> {
        Ok(self.0.clone())
    }
}

/// The controlling terminal of whoever opens it.
struct ControllingTerminal;

impl Device for ControllingTerminal {
    fn open(&self, _flags: OpenFlags, caller: Option<&dyn Caller>) -> Result<Arc<dyn File>> {
        let terminal = caller.and_then(|caller| caller.controlling_terminal());
        Ok(terminal.ok_or(Errno::ENXIO)?.file().clone())
    }
}

/// Registers the devices that need no driver.
pub fn register(entropy: &Arc<dyn Entropy>, log: &Arc<dyn KernelLog>) {
    let devices: [(u64, Arc<dyn Device>); 7] = [
        (NULL, Arc::new(SharedFile(Arc::new(NullDevice)))),
        (ZERO, Arc::new(SharedFile(Arc::new(ZeroDevice)))),
        (FULL, Arc::new(SharedFile(Arc::new(FullDevice)))),
        (
            RANDOM,
            Arc::new(SharedFile(RandomDevice::new(entropy.clone(), true))),
        ),
        (
            URANDOM,
            Arc::new(SharedFile(RandomDevice::new(entropy.clone(), false))),
        ),
        (KMSG, Arc::new(Kmsg::new(log.clone()))),
        (TTY, Arc::new(ControllingTerminal)),
    ];
    for (rdev, device) in devices {
        vfs::device::register(false, rdev, device);
    }
}
