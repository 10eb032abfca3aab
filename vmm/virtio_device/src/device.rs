//! The contract between a device and its transport: [`VirtioDevice`].

use crate::{GuestMemory, VirtQueue};
use std::fmt;

/// The guest broke the rules of a queue; the device needs a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFault {
    /// The ring's index moved further than the ring is long.
    Ring,
    /// A buffer is not in guest memory.
    Address,
    /// A buffer for the device to read follows one for it to write.
    Order,
}

impl fmt::Display for QueueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "the ring's index is out of range",
            Self::Address => "a buffer is outside of guest memory",
            Self::Order => "a readable buffer follows a writable one",
        })
    }
}

impl std::error::Error for QueueFault {}

/// What came of working on a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Buffers were used, and the driver wants an interrupt for it.
    pub wants_interrupt: bool,
    /// There may be more requests: the device stopped so that a driver that
    /// is never done does not keep its monitor from everything else.
    pub has_more: bool,
}

/// A virtio device, apart from any transport.
///
/// Order of calls: `features`, `queue_sizes` and the configuration may be
/// asked for at any time. [`activate`](Self::activate) comes when the driver
/// is ready; [`process`](Self::process) only after it, until
/// [`reset`](Self::reset), after which the device is as new.
pub trait VirtioDevice: Send {
    /// The device type (virtio 1.2, chapter 5).
    fn device_type(&self) -> u16;
    /// Feature bits of the device itself; the transport adds its own.
    fn features(&self) -> u64;
    /// Largest size of each queue.
    fn queue_sizes(&self) -> &[u16];
    /// Reads the device's configuration; zeroes beyond its end.
    fn read_config(&self, offset: u64, data: &mut [u8]);
    /// Writes the device's configuration.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}
    /// The driver is ready and chose these features.
    fn activate(&mut self, _features: u64) {}
    /// Works on queue `index`, which the driver notified, or which the device
    /// has something for. It serves at most about one ring full at a time.
    ///
    /// # Errors
    /// The guest broke the rules; the transport then asks for a reset.
    fn process(
        &mut self,
        index: usize,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault>;
    /// Forgets everything that a driver set.
    fn reset(&mut self) {}
}

/// Reads from a configuration structure given as bytes; zeroes beyond it.
pub fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|start| config.get(start..));
    let rest = rest.unwrap_or_default();
    let len = rest.len().min(data.len());
    data[..len].copy_from_slice(&rest[..len]);
    data[len..].fill(0);
}
