//! What an exit left for the monitor to answer: [`Pending`]. The next KVM_RUN
//! finishes it first.

use crate::exit::PortAccess;
use emulate::Simple;

/// An exit that is not finished.
#[derive(Clone, Copy, Debug, Default)]
pub enum Pending {
    /// Nothing.
    #[default]
    None,
    /// IN: the register gets the monitor's data.
    In(PortAccess),
    /// INS: guest memory gets the monitor's data.
    StringIn {
        /// The instruction.
        access: PortAccess,
        /// Elements that the monitor answers.
        count: u32,
    },
    /// OUTS with elements left: executed again.
    StringOut,
    /// A plain load from a device.
    Load {
        /// The instruction.
        simple: Simple,
        /// Its guest-physical address.
        gpa: u64,
    },
    /// An emulated instruction waits for this read.
    Read(MmioRead),
}

/// A device read of an emulated instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmioRead {
    /// Its guest-physical address.
    pub gpa: u64,
    /// Bytes.
    pub size: u8,
    /// The answer, once there.
    pub data: Option<u64>,
}
