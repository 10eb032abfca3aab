//! virtio devices over PCI (virtio 1.2, section 4.1, without the legacy parts).
//!
//! [`Transport`] is the main type: it finds a function's register windows,
//! negotiates features and sets up queues. A driver goes through its methods
//! in the order of section 3.1.1: [`Transport::open`], [`Transport::negotiate`],
//! [`Transport::set_queue`] for each queue, [`Transport::start`]. The smallest
//! driver is [`Entropy`].

mod console;
mod entropy;
mod error;
mod layout;
mod transport;

pub use console::{BUFFER_BYTES, Console, ConsoleHandler};
pub use entropy::{Entropy, REQUEST_BYTES};
pub use error::TransportError;
pub use transport::{DeviceConfig, Notifier, Transport};

use virtqueue::QueueFeatures;

/// The vendor of all virtio functions.
pub const VENDOR: u16 = 0x1af4;
/// The function number of device type 0; the others follow.
pub const FIRST_DEVICE: u16 = 0x1040;

/// Device types (virtio 1.2, section 5).
pub mod device_type {
    /// Block device.
    pub const BLOCK: u16 = 2;
    /// Console.
    pub const CONSOLE: u16 = 3;
    /// Entropy source.
    pub const ENTROPY: u16 = 4;
}

/// Feature bits that concern every device (virtio 1.2, section 6).
pub mod feature {
    /// Requests may use indirect descriptors.
    pub const RING_INDIRECT: u64 = 1 << 28;
    /// Both sides say which index they want to be told of.
    pub const RING_EVENT_INDEX: u64 = 1 << 29;
    /// The device follows virtio 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device's addresses pass the IOMMU, where there is one.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// What every driver here understands.
    pub const COMMON: u64 = RING_INDIRECT | RING_EVENT_INDEX | VERSION_1 | ACCESS_PLATFORM;
}

/// The negotiated `features` as far as queues need them.
#[must_use]
pub const fn queue_features(features: u64) -> QueueFeatures {
    QueueFeatures {
        indirect: features & feature::RING_INDIRECT != 0,
        event_index: features & feature::RING_EVENT_INDEX != 0,
    }
}

/// The virtio device type of a function; `None` if it is no virtio function,
/// or only a legacy one.
#[must_use]
pub fn type_of(function: &crate::pci::Function) -> Option<u16> {
    // Transitional functions have numbers from 0x1000 on and tell their type
    // as the subsystem.
    match (function.vendor, function.device) {
        (VENDOR, 0x1000..0x1040) => Some(function.subsystem),
        (VENDOR, 0x1040..0x1080) => Some(function.device - FIRST_DEVICE),
        _ => None,
    }
}
