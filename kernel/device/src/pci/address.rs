//! [`FunctionAddress`]: segment, bus, device, function.

use core::fmt;

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionAddress {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl FunctionAddress {
    /// Bus, device and function as one number, as requester ids have it.
    #[must_use]
    pub const fn routing_id(self) -> u16 {
        (self.bus as u16) << 8 | ((self.device & 31) as u16) << 3 | (self.function & 7) as u16
    }
}

impl fmt::Display for FunctionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            bus,
            device,
            function,
        } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function}")
    }
}
