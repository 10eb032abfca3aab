//! [`FirmwareMemory`]: where firmware keeps its tables.
//!
//! Many firmwares leave ACPI tables in memory that their map only calls
//! reserved. The kernel does not map such memory, since device registers may
//! be there too; the few pages with tables are mapped here as they are read.

use alloc::vec::Vec;

use firmware_tables::{PhysicalMemory, Unreadable};
use sync::SpinLock;

use crate::{Platform, Registers};

const PAGE: u64 = 4096;
/// Pages that are mapped at most: more than all tables of a large machine.
const MOST_PAGES: usize = 4096;

/// The machine's memory `M`, and what else firmware's tables are in.
pub struct FirmwareMemory<P: Platform, M> {
    platform: P,
    memory: M,
    pages: SpinLock<Vec<(u64, P::Registers)>>,
}

impl<P: Platform, M: PhysicalMemory> FirmwareMemory<P, M> {
    /// Reads from `memory` where that can be read, else by mapping.
    #[must_use]
    pub const fn new(platform: P, memory: M) -> Self {
        Self {
            platform,
            memory,
            pages: SpinLock::new(Vec::new()),
        }
    }

    /// Fills `bytes` from within one page.
    fn read_page(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let (page, offset) = (address & !(PAGE - 1), (address % PAGE) as usize);
        let mut pages = self.pages.lock();
        let index = match pages.iter().position(|(known, _)| *known == page) {
            Some(index) => index,
            None if pages.len() < MOST_PAGES => {
                pages.push((page, self.platform.map_registers(page, PAGE as usize)?));
                pages.len() - 1
            }
            None => return None,
        };
        let (_, registers) = pages.get(index)?;
        for (byte, offset) in bytes.iter_mut().zip(offset..) {
            *byte = registers.read_u8(offset);
        }
        Some(())
    }
}

impl<P: Platform, M: PhysicalMemory> PhysicalMemory for FirmwareMemory<P, M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
        let Err(error) = self.memory.read(address, buffer) else {
            return Ok(());
        };
        address.checked_add(error.length).ok_or(error)?;
        let (mut at, mut rest) = (address, buffer);
        while !rest.is_empty() {
            let room = (PAGE - at % PAGE) as usize;
            let (now, later) = rest.split_at_mut(rest.len().min(room));
            self.read_page(at, now).ok_or(error)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Model, SimulatedPlatform};

    /// Memory of zeros below 64 KiB.
    struct Low;

    impl PhysicalMemory for Low {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
            let length = buffer.len() as u64;
            if address.checked_add(length).is_none_or(|end| end > 0x1_0000) {
                return Err(Unreadable { address, length });
            }
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn reserved_memory_is_mapped_and_read_across_pages() {
        let platform = SimulatedPlatform::new();
        let mut reserved = platform.add_plain_registers(0x7ffe_0000, 0x2000);
        (0..16).for_each(|index| reserved.write(0xff8 + index, 1, index as u32 + 1));
        let memory = FirmwareMemory::new(platform, Low);
        let mut bytes = [0xff; 16];
        memory.read(0x7ffe_0ff8, &mut bytes).unwrap();
        assert_eq!(bytes, core::array::from_fn(|index| index as u8 + 1));
        memory.read(0x100, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 16]);
        assert_eq!(memory.pages.lock().len(), 2);
        for address in [0x7ffe_1ff8, 0x2_0000, u64::MAX - 3] {
            assert_eq!(
                memory.read(address, &mut bytes),
                Err(Unreadable {
                    address,
                    length: 16
                })
            );
        }
    }
}
