//! [`Rsdp`]: the root pointer (ACPI 6.4, section 5.2.5).

use boot_info::PhysicalMemory;

use crate::TableError;
use crate::bytes::{Bytes, sums_to_zero};

const MAGIC: &[u8; 8] = b"RSD PTR ";
const LENGTH_1: usize = 20;
const LENGTH_2: usize = 36;

/// The root pointer: where the list of tables is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// Its own physical address.
    pub address: u64,
    /// 0 for ACPI 1.0, 2 for all later ones.
    pub revision: u8,
    /// Physical address of the RSDT, with 32-bit entries.
    pub rsdt: u32,
    /// Physical address of the XSDT, with 64-bit entries.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Reads and checks the root pointer at `address`.
    ///
    /// # Errors
    /// [`TableError`] if there is none there.
    pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<Self, TableError> {
        let bad = TableError::BadRootPointer(address);
        let mut raw = [0; LENGTH_2];
        memory.read(address, &mut raw[..LENGTH_1])?;
        if &raw[..8] != MAGIC || !sums_to_zero(&raw[..LENGTH_1]) {
            return Err(bad);
        }
        let revision = raw[15];
        let rsdt = Bytes(&raw).u32(16).ok_or(bad)?;
        if revision < 2 {
            return Ok(Self {
                address,
                revision,
                rsdt,
                xsdt: None,
            });
        }
        memory.read(address, &mut raw)?;
        if !sums_to_zero(&raw) {
            return Err(bad);
        }
        let xsdt = Bytes(&raw).u64(24).filter(|xsdt| *xsdt != 0);
        Ok(Self {
            address,
            revision,
            rsdt,
            xsdt,
        })
    }

    /// Looks where BIOS firmware keeps it: the first KiB of the extended BIOS
    /// data area, then 0xE0000 to 0xFFFFF, at multiples of 16.
    #[must_use]
    pub fn search(memory: &impl PhysicalMemory) -> Option<Self> {
        let mut segment = [0; 2];
        let ebda = match memory.read(0x40e, &mut segment) {
            Ok(()) => u64::from(u16::from_le_bytes(segment)) << 4,
            Err(_) => 0,
        };
        let ebda = (0x8_0000..0xa_0000)
            .contains(&ebda)
            .then_some(ebda..ebda + 1024);
        let areas = ebda
            .into_iter()
            .chain(core::iter::once(0xe_0000..0x10_0000));
        areas.flat_map(|area| area.step_by(16)).find_map(|address| {
            let mut magic = [0; 8];
            memory.read(address, &mut magic).ok()?;
            (&magic == MAGIC).then(|| Self::read(memory, address).ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::TestMemory;

    #[test]
    fn finds_both_revisions() {
        let mut memory = TestMemory::new(0x10_0000);
        memory.put_rsdp(0xe_0040, 0, 0x1_2340, 0);
        let found = Rsdp::search(&memory).unwrap();
        assert_eq!(
            (found.address, found.rsdt, found.xsdt),
            (0xe_0040, 0x1_2340, None)
        );
        memory.put(0x40e, &0x9fc0u16.to_le_bytes());
        memory.put_rsdp(0x9_fc10, 2, 0x1_2340, 0x5678);
        let found = Rsdp::search(&memory).unwrap();
        assert_eq!((found.address, found.xsdt), (0x9_fc10, Some(0x5678)));
    }

    #[test]
    fn a_wrong_checksum_is_no_root_pointer() {
        let mut memory = TestMemory::new(0x10_0000);
        memory.put_rsdp(0xf_0000, 2, 1, 2);
        for offset in 0..36 {
            memory.flip(0xf_0000 + offset);
            assert_eq!(Rsdp::search(&memory), None, "byte {offset}");
            memory.flip(0xf_0000 + offset);
        }
        assert!(Rsdp::search(&memory).is_some());
    }
}
