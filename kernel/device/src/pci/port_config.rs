//! [`PortConfig`]: configuration registers through ports CF8 and CFC
//! (PCI 3.0, section 3.2.2.3.2).

use sync::SpinLock;

use super::{ConfigSpace, FunctionAddress};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// I/O ports.
pub trait Ports {
    /// Reads four bytes.
    fn read_u32(&self, port: u16) -> u32;
    /// Writes four bytes.
    fn write_u32(&self, port: u16, value: u32);
    /// Writes two bytes.
    fn write_u16(&self, port: u16, value: u16);
}

/// The pair of ports; an access is two steps, hence the lock. Reaches the
/// first 256 bytes of segment 0.
pub struct PortConfig<P> {
    ports: SpinLock<P>,
}

impl<P: Ports> PortConfig<P> {
    /// Access through `ports`.
    #[must_use]
    pub const fn new(ports: P) -> Self {
        Self {
            ports: SpinLock::new(ports),
        }
    }
}

/// What to write to the address port, if the register can be reached.
fn select(at: FunctionAddress, offset: u16) -> Option<u32> {
    let register = u32::from(at.routing_id()) << 8 | u32::from(offset & 0xfc);
    (at.segment == 0 && offset < 256).then_some(ENABLE | register)
}

impl<P: Ports> ConfigSpace for PortConfig<P> {
    fn read_u32(&self, function: FunctionAddress, offset: u16) -> u32 {
        let Some(register) = select(function, offset) else {
            return u32::MAX;
        };
        let ports = self.ports.lock();
        ports.write_u32(ADDRESS, register);
        ports.read_u32(DATA)
    }

    fn write_u32(&self, function: FunctionAddress, offset: u16, value: u32) {
        let Some(register) = select(function, offset) else {
            return;
        };
        let ports = self.ports.lock();
        ports.write_u32(ADDRESS, register);
        ports.write_u32(DATA, value);
    }

    fn write_u16(&self, function: FunctionAddress, offset: u16, value: u16) {
        let Some(register) = select(function, offset) else {
            return;
        };
        let ports = self.ports.lock();
        ports.write_u32(ADDRESS, register);
        ports.write_u16(DATA + (offset & 2), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::vec::Vec;

    #[derive(Clone, Default)]
    struct Record(Arc<Mutex<Vec<(u16, u32, u8)>>>);

    impl Ports for Record {
        fn read_u32(&self, port: u16) -> u32 {
            self.0.lock().unwrap().push((port, 0, 0));
            0x1234_5678
        }
        fn write_u32(&self, port: u16, value: u32) {
            self.0.lock().unwrap().push((port, value, 4));
        }
        fn write_u16(&self, port: u16, value: u16) {
            self.0.lock().unwrap().push((port, value.into(), 2));
        }
    }

    #[test]
    fn selects_and_accesses() {
        let record = Record::default();
        let config = PortConfig::new(record.clone());
        let at = FunctionAddress {
            segment: 0,
            bus: 2,
            device: 31,
            function: 5,
        };
        assert_eq!(config.read_u16(at, 0x42), 0x1234);
        config.write_u16(at, 0x06, 0xf000);
        let expected = [
            (0xcf8, 0x8002_fd40, 4),
            (0xcfc, 0, 0),
            (0xcf8, 0x8002_fd04, 4),
            (0xcfe, 0xf000, 2),
        ];
        assert_eq!(*record.0.lock().unwrap(), expected);
        assert_eq!(config.read_u32(at, 0x100), u32::MAX);
        assert_eq!(
            config.read_u32(FunctionAddress { segment: 1, ..at }, 0),
            u32::MAX
        );
        assert_eq!(
            record.0.lock().unwrap().len(),
            4,
            "nothing out of reach is accessed"
        );
    }
}
