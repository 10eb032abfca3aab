//! [`Capability`]: optional parts of a function (PCI 3.0, section 6.7).

use alloc::vec::Vec;

use super::config_space::STATUS;
use super::{ConfigSpace, FunctionAddress};

const HAS_CAPABILITIES: u16 = 1 << 4;
const POINTER: u16 = 0x34;
/// As many as fit between the header and byte 256: a longer list is a loop.
const MOST: usize = 48;

/// One entry of a function's capability list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is.
    pub id: u8,
    /// Where it begins, in configuration space.
    pub offset: u16,
}

impl Capability {
    /// Vendor-specific.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI.
    pub const MSI: u8 = 0x05;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// The capability list, in its order. Broken links end it.
pub fn capabilities(config: &impl ConfigSpace, at: FunctionAddress) -> Vec<Capability> {
    let mut found = Vec::new();
    if config.read_u16(at, STATUS) & HAS_CAPABILITIES == 0 {
        return found;
    }
    let mut offset = u16::from(config.read_u8(at, POINTER) & !3);
    while offset >= 0x40 && found.len() < MOST {
        let head = config.read_u16(at, offset);
        let id = head as u8;
        if id == 0xff {
            break;
        }
        found.push(Capability { id, offset });
        offset = head >> 8 & 0xfc;
    }
    found
}
