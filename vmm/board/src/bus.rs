//! The bus: [`Bus`] maps address ranges (ports or physical memory) to devices.
//!
//! A bus is filled while the machine is built and then only read, so looking
//! up a device takes no lock. Reads that no device claims return all ones, as
//! an undriven bus does; writes are dropped.

use std::fmt;
use std::sync::Arc;

/// A device on a bus: its attachment, so it takes `&self` and locks its chip.
pub trait BusDevice: Send + Sync {
    /// Reads `data.len()` bytes at `offset` from the start of the range.
    fn read(&self, offset: u64, data: &mut [u8]);
    /// Writes `data` at `offset` from the start of the range.
    fn write(&self, offset: u64, data: &[u8]);
}

struct Entry {
    start: u64,
    len: u64,
    name: &'static str,
    device: Arc<dyn BusDevice>,
}

/// Two devices claim the same addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The device that was there.
    pub present: &'static str,
    /// The device that was to be added.
    pub added: &'static str,
    /// First address of the added range.
    pub start: u64,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {:#x} overlaps {}",
            self.added, self.start, self.present
        )
    }
}

impl std::error::Error for Conflict {}

/// Address ranges and the devices behind them.
#[derive(Default)]
pub struct Bus {
    entries: Vec<Entry>,
}

impl Bus {
    /// An empty bus.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `device` at `start`, `len` bytes long.
    ///
    /// # Errors
    /// [`Conflict`] when the range is empty, wraps around or meets another one.
    pub fn insert(
        &mut self,
        start: u64,
        len: u64,
        name: &'static str,
        device: Arc<dyn BusDevice>,
    ) -> Result<(), Conflict> {
        let index = self.entries.partition_point(|e| e.start < start);
        let conflict = |present| Conflict {
            present,
            added: name,
            start,
        };
        let Some(end) = start.checked_add(len).filter(|_| len > 0) else {
            return Err(conflict("the end of the address space"));
        };
        let before = index.checked_sub(1).and_then(|i| self.entries.get(i));
        if let Some(e) = before.filter(|e| e.start + e.len > start) {
            return Err(conflict(e.name));
        }
        if let Some(e) = self.entries.get(index).filter(|e| e.start < end) {
            return Err(conflict(e.name));
        }
        self.entries.insert(
            index,
            Entry {
                start,
                len,
                name,
                device,
            },
        );
        Ok(())
    }

    /// Reads from whatever device is at `address`; all ones if there is none.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Some((entry, offset)) => entry.device.read(offset, data),
            None => data.fill(0xFF),
        }
    }

    /// Writes to whatever device is at `address`; dropped if there is none.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((entry, offset)) = self.find(address, data.len()) {
            entry.device.write(offset, data);
        }
    }

    /// The device that holds all of `address..address + len`.
    fn find(&self, address: u64, len: usize) -> Option<(&Entry, u64)> {
        let index = self
            .entries
            .partition_point(|e| e.start <= address)
            .checked_sub(1)?;
        let entry = self.entries.get(index)?;
        let offset = address - entry.start;
        let end = offset.checked_add(len as u64)?;
        (end <= entry.len).then_some((entry, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    struct Memory(Mutex<Vec<u8>>);

    impl BusDevice for Memory {
        fn read(&self, offset: u64, data: &mut [u8]) {
            let at = offset as usize;
            data.copy_from_slice(&self.0.lock().unwrap()[at..at + data.len()]);
        }
        fn write(&self, offset: u64, data: &[u8]) {
            let at = offset as usize;
            self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        }
    }

    fn memory(len: usize) -> Arc<dyn BusDevice> {
        Arc::new(Memory(Mutex::new(vec![0; len])))
    }

    #[test]
    fn reads_come_from_the_device_at_that_address() {
        let mut bus = Bus::new();
        bus.insert(0x100, 8, "a", memory(8)).unwrap();
        bus.insert(0x108, 8, "b", memory(8)).unwrap();
        bus.write(0x10F, &[7]);
        let mut byte = [0];
        bus.read(0x10F, &mut byte);
        assert_eq!(byte, [7]);
        bus.read(0x107, &mut byte);
        assert_eq!(byte, [0]);
    }

    #[test]
    fn nothing_there_reads_all_ones() {
        let mut bus = Bus::new();
        bus.insert(0x100, 8, "a", memory(8)).unwrap();
        for address in [0, 0xFF, 0x105, 0x108, u64::MAX] {
            let mut data = [0; 4];
            bus.read(address, &mut data);
            bus.write(address, &[1; 4]);
            assert_eq!(data, [0xFF; 4], "{address:#x}");
        }
    }

    #[test]
    fn overlaps_name_both_devices() {
        let mut bus = Bus::new();
        bus.insert(0x100, 8, "first", memory(8)).unwrap();
        let error = bus.insert(0x107, 1, "second", memory(1)).unwrap_err();
        assert_eq!(error.to_string(), "second at 0x107 overlaps first");
        assert!(bus.insert(0xF8, 9, "third", memory(9)).is_err());
        assert!(bus.insert(0, 0, "empty", memory(0)).is_err());
        assert!(bus.insert(u64::MAX, 2, "wraps", memory(2)).is_err());
    }

    proptest! {
        #[test]
        fn any_access_stays_inside_its_device(
            ranges in prop::collection::vec((0u64..256, 1u64..32), 1..12),
            accesses in prop::collection::vec((0u64..300, 0usize..9), 1..64),
        ) {
            let mut bus = Bus::new();
            for (start, len) in ranges {
                let _ = bus.insert(start, len, "device", memory(len as usize));
            }
            for (address, len) in accesses {
                bus.read(address, &mut vec![0; len]);
                bus.write(address, &vec![0; len]);
            }
        }
    }
}
