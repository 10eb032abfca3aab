//! [`EcamConfig`]: configuration registers in memory (PCIe 5.0, section 7.2.2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use firmware_tables::EcamSegment;
use sync::SpinLock;

use super::{ConfigSpace, FunctionAddress};
use crate::{Platform, Registers};

const BUS_BYTES: u64 = 1 << 20;

/// A bus that was used, and its window if that could be mapped.
type Bus<R> = (u8, Option<Arc<R>>);

/// One window from the MCFG table. Buses are mapped when first used: most of
/// the 256 MiB have nothing behind them.
pub struct EcamConfig<P: Platform> {
    platform: P,
    segment: EcamSegment,
    buses: SpinLock<Vec<Bus<P::Registers>>>,
}

impl<P: Platform> EcamConfig<P> {
    /// Access through the window `segment`.
    #[must_use]
    pub const fn new(platform: P, segment: EcamSegment) -> Self {
        Self {
            platform,
            segment,
            buses: SpinLock::new(Vec::new()),
        }
    }

    /// The window of `bus`; `None` if it cannot be mapped.
    fn bus(&self, bus: u8) -> Option<Arc<P::Registers>> {
        let mut buses = self.buses.lock();
        if let Some((_, window)) = buses.iter().find(|(number, _)| *number == bus) {
            return window.clone();
        }
        let address = self.segment.base + u64::from(bus) * BUS_BYTES;
        let window = self
            .platform
            .map_registers(address, BUS_BYTES as usize)
            .map(Arc::new);
        buses.push((bus, window.clone()));
        window
    }

    /// The window and offset of a register, if it is in this segment.
    fn locate(&self, at: FunctionAddress, offset: u16) -> Option<(Arc<P::Registers>, usize)> {
        let buses = self.segment.first_bus..=self.segment.last_bus;
        if at.segment != self.segment.segment || !buses.contains(&at.bus) || offset >= 4096 {
            return None;
        }
        let offset = usize::from(at.routing_id() & 0xff) << 12 | usize::from(offset);
        Some((self.bus(at.bus)?, offset))
    }
}

impl<P: Platform> ConfigSpace for EcamConfig<P> {
    fn read_u32(&self, function: FunctionAddress, offset: u16) -> u32 {
        let place = self.locate(function, offset);
        place.map_or(u32::MAX, |(window, offset)| window.read_u32(offset))
    }

    fn write_u32(&self, function: FunctionAddress, offset: u16, value: u32) {
        if let Some((window, offset)) = self.locate(function, offset) {
            window.write_u32(offset, value);
        }
    }

    fn write_u16(&self, function: FunctionAddress, offset: u16, value: u16) {
        if let Some((window, offset)) = self.locate(function, offset) {
            window.write_u16(offset, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Model, SimulatedPlatform};

    const SEGMENT: EcamSegment = EcamSegment {
        base: 0xb000_0000,
        segment: 0,
        first_bus: 0,
        last_bus: 1,
    };

    #[test]
    fn reaches_every_register_of_its_buses_only() {
        let platform = SimulatedPlatform::new();
        let mut bus_1 = platform.add_plain_registers(0xb010_0000, 1 << 20);
        bus_1.write(0x1_5ffc, 4, 0x1234_5678);
        let config = EcamConfig::new(platform, SEGMENT);
        let at = FunctionAddress {
            segment: 0,
            bus: 1,
            device: 2,
            function: 5,
        };
        assert_eq!(config.read_u32(at, 0xffc), 0x1234_5678);
        assert_eq!(config.read_u16(at, 0xffe), 0x1234);
        config.write_u16(at, 0xffc, 0xabcd);
        assert_eq!(bus_1.word(0x1_5ffc), 0x1234_abcd);
        for out in [
            FunctionAddress { bus: 2, ..at },
            FunctionAddress { segment: 1, ..at },
            // Cannot be mapped here.
            FunctionAddress { bus: 0, ..at },
        ] {
            config.write_u32(out, 0xffc, 0);
            assert_eq!(config.read_u32(out, 0xffc), u32::MAX);
        }
        assert_eq!(config.read_u32(at, 0x1000), u32::MAX);
    }
}
