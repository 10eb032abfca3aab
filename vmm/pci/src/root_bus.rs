//! The root bus: [`RootBus`] holds the functions of bus 0, one a slot, and
//! routes configuration and memory accesses to them.
//!
//! Three attachments to the board's buses: [`ConfigPorts`] (ports 0xCF8 to
//! 0xCFF), [`Ecam`] (configuration space in memory) and [`PciWindow`] (where
//! BARs are). PCI 3.0, section 3.2.2.3.2, and PCI Express 5.0, section 7.2.2.

use crate::config_space::{ConfigSpace, Identity};
use board::BusDevice;
use board::address_map::PCI_WINDOW_START;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Slots of the bus.
pub const SLOTS: usize = 32;

const CONFIG_ENABLE: u32 = 1 << 31;
const BRIDGE_VENDOR: u16 = 0x1B36;
const BRIDGE_DEVICE: u16 = 0x0008;

/// Where a BAR of a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarRange {
    /// Which BAR.
    pub bar: usize,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

/// An attached function.
pub trait PciFunction: Send + Sync {
    /// Reads configuration space.
    fn config_read(&self, offset: usize, data: &mut [u8]);
    /// Writes configuration space; true if BARs may have moved.
    fn config_write(&self, offset: usize, data: &[u8]) -> bool;
    /// Where the function's BARs answer now.
    fn bars(&self) -> Vec<BarRange>;
    /// Reads inside a BAR.
    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]);
    /// Writes inside a BAR.
    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]);
}

/// The host bridge in slot 0: identity and nothing else.
struct HostBridge(Mutex<ConfigSpace>);

impl PciFunction for HostBridge {
    fn config_read(&self, offset: usize, data: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(offset, data);
    }

    fn config_write(&self, offset: usize, data: &[u8]) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(offset, data);
        false
    }

    fn bars(&self) -> Vec<BarRange> {
        Vec::new()
    }

    fn bar_read(&self, _: usize, _: u64, data: &mut [u8]) {
        data.fill(0xFF);
    }

    fn bar_write(&self, _: usize, _: u64, _: &[u8]) {}
}

/// A decoded range of the window.
#[derive(Clone, Copy)]
struct Decode {
    slot: usize,
    range: BarRange,
}

/// Bus 0 with its functions.
pub struct RootBus {
    functions: Vec<Arc<dyn PciFunction>>,
    decodes: RwLock<Vec<Decode>>,
}

impl Default for RootBus {
    fn default() -> Self {
        Self::new()
    }
}

impl RootBus {
    /// A bus with its host bridge in slot 0.
    pub fn new() -> Self {
        let bridge = ConfigSpace::new(Identity {
            vendor: BRIDGE_VENDOR,
            device: BRIDGE_DEVICE,
            class: [6, 0, 0],
            ..Identity::default()
        });
        let bridge: Arc<dyn PciFunction> = Arc::new(HostBridge(Mutex::new(bridge)));
        Self {
            functions: vec![bridge],
            decodes: RwLock::default(),
        }
    }

    /// The slot that the next function gets, if one is free.
    pub fn next_slot(&self) -> Option<u8> {
        (self.functions.len() < SLOTS).then_some(self.functions.len() as u8)
    }

    /// Puts a function into the next slot; full buses drop it.
    pub fn add(&mut self, function: Arc<dyn PciFunction>) {
        if self.functions.len() < SLOTS {
            self.functions.push(function);
            self.decode_again();
        }
    }

    fn decode_again(&self) {
        let all = self.functions.iter().enumerate();
        let decodes = all
            .flat_map(|(slot, function)| {
                function
                    .bars()
                    .into_iter()
                    .map(move |range| Decode { slot, range })
            })
            .collect();
        *self.decodes.write().unwrap_or_else(PoisonError::into_inner) = decodes;
    }

    /// Reads configuration space of slot `device`, function 0.
    fn config_read(&self, bdf: usize, offset: usize, data: &mut [u8]) {
        match self.function(bdf) {
            Some(function) => function.config_read(offset, data),
            None => data.fill(0xFF),
        }
    }

    fn config_write(&self, bdf: usize, offset: usize, data: &[u8]) {
        if let Some(function) = self.function(bdf)
            && function.config_write(offset, data)
        {
            self.decode_again();
        }
    }

    /// The function at a bus, device and function number.
    fn function(&self, bdf: usize) -> Option<&Arc<dyn PciFunction>> {
        if bdf & 7 == 0 {
            self.functions.get(bdf >> 3)
        } else {
            None
        }
    }

    /// The function and place inside its BAR that all of an access hits.
    fn find(&self, address: u64, len: usize) -> Option<(&Arc<dyn PciFunction>, usize, u64)> {
        let decodes = self.decodes.read().unwrap_or_else(PoisonError::into_inner);
        let decode = decodes.iter().find(|decode| {
            let BarRange {
                start, len: room, ..
            } = decode.range;
            address >= start && address - start < room && room - (address - start) >= len as u64
        })?;
        let offset = address - decode.range.start;
        Some((self.functions.get(decode.slot)?, decode.range.bar, offset))
    }
}

/// Configuration by ports: an address register and a data window.
pub struct ConfigPorts {
    bus: Arc<RootBus>,
    address: Mutex<u32>,
}

impl ConfigPorts {
    /// Ports to `bus`.
    pub fn new(bus: Arc<RootBus>) -> Self {
        Self {
            bus,
            address: Mutex::new(0),
        }
    }

    /// The function and register that the data ports reach.
    fn target(&self, offset: u64) -> Option<(usize, usize)> {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        let bdf = (address >> 8) as usize & 0xFFFF;
        let register = (address & 0xFC) as usize + (offset - 4) as usize;
        (address & CONFIG_ENABLE != 0).then_some((bdf, register))
    }
}

impl BusDevice for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= 4 {
            match self.target(offset) {
                Some((bdf, register)) => self.bus.config_read(bdf, register, data),
                None => data.fill(0xFF),
            }
        } else if offset == 0 && data.len() == 4 {
            let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
            data.copy_from_slice(&address.to_le_bytes());
        } else {
            data.fill(0xFF);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset >= 4 {
            if let Some((bdf, register)) = self.target(offset) {
                self.bus.config_write(bdf, register, data);
            }
        } else if let (0, Ok(word)) = (offset, data.try_into()) {
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = u32::from_le_bytes(word);
        }
    }
}

/// Configuration space in memory, 4 KiB a function.
pub struct Ecam(pub Arc<RootBus>);

impl BusDevice for Ecam {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.0
            .config_read((offset >> 12) as usize, (offset & 0xFFF) as usize, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        self.0
            .config_write((offset >> 12) as usize, (offset & 0xFFF) as usize, data);
    }
}

/// The memory window in which BARs answer.
pub struct PciWindow(pub Arc<RootBus>);

impl BusDevice for PciWindow {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match self.0.find(PCI_WINDOW_START + offset, data.len()) {
            Some((function, bar, offset)) => function.bar_read(bar, offset, data),
            None => data.fill(0xFF),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some((function, bar, offset)) = self.0.find(PCI_WINDOW_START + offset, data.len()) {
            function.bar_write(bar, offset, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Scratch {
        config: Mutex<ConfigSpace>,
        memory: Mutex<[u8; 64]>,
    }

    impl PciFunction for Scratch {
        fn config_read(&self, offset: usize, data: &mut [u8]) {
            self.config.lock().unwrap().read(offset, data);
        }
        fn config_write(&self, offset: usize, data: &[u8]) -> bool {
            self.config.lock().unwrap().write(offset, data).bars
        }
        fn bars(&self) -> Vec<BarRange> {
            let bar = self.config.lock().unwrap().memory_bar(0);
            bar.map(|(start, len)| BarRange { bar: 0, start, len })
                .into_iter()
                .collect()
        }
        fn bar_read(&self, _: usize, offset: u64, data: &mut [u8]) {
            let at = offset as usize;
            data.copy_from_slice(&self.memory.lock().unwrap()[at..at + data.len()]);
        }
        fn bar_write(&self, _: usize, offset: u64, data: &[u8]) {
            let at = offset as usize;
            self.memory.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        }
    }

    fn bus() -> Arc<RootBus> {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1234,
            ..Identity::default()
        });
        config.add_memory_bar(0, 64, PCI_WINDOW_START as u32);
        let scratch = Scratch {
            config: Mutex::new(config),
            memory: Mutex::new([0; 64]),
        };
        let mut bus = RootBus::new();
        assert_eq!(bus.next_slot(), Some(1));
        bus.add(Arc::new(scratch));
        Arc::new(bus)
    }

    fn config_address(ports: &ConfigPorts, slot: u32, register: u32) {
        ports.write(0, &(CONFIG_ENABLE | slot << 11 | register).to_le_bytes());
    }

    fn read_u16(device: &dyn BusDevice, offset: u64) -> u16 {
        let mut data = [0; 2];
        device.read(offset, &mut data);
        u16::from_le_bytes(data)
    }

    #[test]
    fn both_ways_reach_the_same_registers() {
        let bus = bus();
        let (ports, ecam) = (ConfigPorts::new(bus.clone()), Ecam(bus));
        config_address(&ports, 1, 0);
        assert_eq!(read_u16(&ports, 4), 0x1234);
        assert_eq!(read_u16(&ecam, 1 << 15), 0x1234);
        assert_eq!(read_u16(&ecam, 0), BRIDGE_VENDOR);
        assert_eq!(read_u16(&ecam, 2 << 15), 0xFFFF);
        assert_eq!(read_u16(&ecam, 1 << 15 | 1 << 12), 0xFFFF);
        assert_eq!(read_u16(&ecam, 1 << 15 | 0x100), 0);
    }

    #[test]
    fn a_bar_answers_where_it_is_and_only_when_decoded() {
        let bus = bus();
        let (ecam, window) = (Ecam(bus.clone()), PciWindow(bus));
        window.write(0, &[1, 2]);
        assert_eq!(read_u16(&window, 0), 0xFFFF);
        ecam.write(1 << 15 | 4, &[2, 0]);
        window.write(62, &[1, 2]);
        assert_eq!(read_u16(&window, 62), 0x0201);
        assert_eq!(read_u16(&window, 63), 0xFFFF);
        ecam.write(
            1 << 15 | 0x10,
            &(PCI_WINDOW_START as u32 + 0x1000).to_le_bytes(),
        );
        assert_eq!(read_u16(&window, 62), 0xFFFF);
        assert_eq!(read_u16(&window, 0x1000 + 62), 0x0201);
    }

    proptest! {
        #[test]
        fn no_access_panics(
            accesses in prop::collection::vec(
                (any::<u8>(), 0u64..0x20000, prop::collection::vec(any::<u8>(), 0..9)), 0..64),
        ) {
            let bus = bus();
            let ports = ConfigPorts::new(bus.clone());
            let (ecam, window) = (Ecam(bus.clone()), PciWindow(bus));
            for (kind, offset, mut data) in accesses {
                match kind % 6 {
                    0 => ports.write(offset % 8, &data),
                    1 => ports.read(offset % 8, &mut data),
                    2 => ecam.write(offset, &data),
                    3 => ecam.read(offset, &mut data),
                    4 => window.write(offset % 256, &data),
                    _ => window.read(offset % 256, &mut data),
                }
            }
        }
    }
}
