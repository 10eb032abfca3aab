//! The function's configuration space: identity and the vendor capabilities
//! that say where in the BAR things are. Virtio 1.2, sections 4.1.2 and 4.1.4.

use crate::layout;
use pci::{ConfigSpace, Identity, Msix};

/// Virtio's PCI vendor.
pub const VENDOR: u16 = 0x1AF4;
/// Device ids of modern devices start here.
pub const DEVICE_BASE: u16 = 0x1040;

const CAP_VENDOR: u8 = 0x09;
const CAP_MSIX: u8 = 0x11;
const CFG_COMMON: u8 = 1;
const CFG_NOTIFY: u8 = 2;
const CFG_ISR: u8 = 3;
const CFG_DEVICE: u8 = 4;
const CFG_PCI: u8 = 5;
const CAP_LEN: u8 = 16;

/// Offsets of the capabilities that are more than constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The MSI-X message control register.
    pub msix_control: usize,
    /// The window into the BAR that configuration space has.
    pub window: usize,
}

/// Builds the configuration space of a device of virtio type `device_type`.
/// Firmware would have put its BAR at `bar_start` and its pin on `line`.
pub fn build(device_type: u16, msix: &Msix, bar_start: u32, line: u8) -> (ConfigSpace, Offsets) {
    let device = DEVICE_BASE + device_type;
    let mut space = ConfigSpace::new(Identity {
        vendor: VENDOR,
        device,
        revision: 1,
        class: class(device_type),
        subsystem_vendor: VENDOR,
        subsystem: device,
    });
    space.add_memory_bar(layout::BAR, layout::BAR_LEN, bar_start);
    space.add_interrupt_pin(line);
    add(
        &mut space,
        CFG_COMMON,
        layout::COMMON,
        layout::COMMON_LEN,
        &[],
    );
    add(&mut space, CFG_ISR, layout::ISR, 4, &[]);
    add(
        &mut space,
        CFG_DEVICE,
        layout::DEVICE,
        layout::DEVICE_LEN,
        &[],
    );
    let multiplier = (layout::DOORBELL_LEN as u32).to_le_bytes();
    add(
        &mut space,
        CFG_NOTIFY,
        layout::DOORBELLS,
        layout::DOORBELLS_LEN,
        &multiplier,
    );
    let body = msix.capability(
        layout::BAR as u8,
        layout::MSIX_TABLE as u32,
        layout::MSIX_PENDING as u32,
    );
    let msix_start = space.add_capability(CAP_MSIX, &body, &Msix::CAPABILITY_WRITABLE);
    let window = add_window(&mut space);
    (
        space,
        Offsets {
            msix_control: msix_start + 2,
            window,
        },
    )
}

fn body(kind: u8, offset: u64, len: u64, extra: &[u8]) -> Vec<u8> {
    let mut body = vec![
        CAP_LEN + extra.len() as u8,
        kind,
        layout::BAR as u8,
        0,
        0,
        0,
    ];
    body.extend_from_slice(&(offset as u32).to_le_bytes());
    body.extend_from_slice(&(len as u32).to_le_bytes());
    body.extend_from_slice(extra);
    body
}

fn add(space: &mut ConfigSpace, kind: u8, offset: u64, len: u64, extra: &[u8]) -> usize {
    space.add_capability(CAP_VENDOR, &body(kind, offset, len, extra), &[])
}

/// The window: a guest writes BAR, offset and length, then accesses the data.
fn add_window(space: &mut ConfigSpace) -> usize {
    let body = body(CFG_PCI, 0, 0, &[0; 4]);
    let mut writable = vec![0xFF; body.len()];
    writable[..2].fill(0);
    writable[3..6].fill(0);
    space.add_capability(CAP_VENDOR, &body, &writable)
}

/// Class, subclass and interface that fit the type best.
fn class(device_type: u16) -> [u8; 3] {
    match device_type {
        1 => [0x02, 0x00, 0x00],
        2 => [0x01, 0x80, 0x00],
        3 => [0x07, 0x80, 0x00],
        _ => [0xFF, 0x00, 0x00],
    }
}
