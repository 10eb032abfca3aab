//! [`Tables`]: the list of what firmware offers (ACPI 6.4, sections 5.2.6 to
//! 5.2.8), and the checked copy of one table.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use boot_info::PhysicalMemory;

use crate::bytes::{Bytes, sums_to_zero};
use crate::{Fadt, Hpet, Madt, Mcfg, Rsdp, SleepType, TableError};

/// Length of the header that every table begins with, in bytes.
pub(crate) const HEADER: usize = 36;
/// DSDTs of large machines have some hundred KiB; more is a damaged length.
const MAX_TABLE: u32 = 16 << 20;

/// A table's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Root list with 64-bit entries.
    pub const XSDT: Self = Self(*b"XSDT");
    /// Root list with 32-bit entries.
    pub const RSDT: Self = Self(*b"RSDT");
    /// Interrupt controllers and CPUs.
    pub const MADT: Self = Self(*b"APIC");
    /// Fixed hardware registers.
    pub const FADT: Self = Self(*b"FACP");
    /// High precision event timer.
    pub const HPET: Self = Self(*b"HPET");
    /// PCI Express configuration windows.
    pub const MCFG: Self = Self(*b"MCFG");
    /// The main AML block.
    pub const DSDT: Self = Self(*b"DSDT");
    /// Further AML blocks.
    pub const SSDT: Self = Self(*b"SSDT");
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line of the root list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The table's name.
    pub signature: Signature,
    /// Its physical address.
    pub address: u64,
    /// Its length in bytes, as its header states.
    pub length: u32,
}

impl TableEntry {
    fn read(memory: &impl PhysicalMemory, address: u64) -> Result<Self, TableError> {
        let mut head = [0; 8];
        memory.read(address, &mut head)?;
        let [a, b, c, d, length @ ..] = head;
        let signature = Signature([a, b, c, d]);
        Ok(Self {
            signature,
            address,
            length: u32::from_le_bytes(length),
        })
    }

    /// Copies the whole table and checks its sum.
    pub(crate) fn load(&self, memory: &impl PhysicalMemory) -> Result<Vec<u8>, TableError> {
        let Self {
            signature, length, ..
        } = *self;
        if length < HEADER as u32 || length > MAX_TABLE {
            return Err(TableError::Length { signature, length });
        }
        let mut bytes = vec![0; length as usize];
        memory.read(self.address, &mut bytes)?;
        if !sums_to_zero(&bytes) {
            return Err(TableError::Checksum(signature));
        }
        Ok(bytes)
    }
}

/// What firmware offers.
#[derive(Clone, Debug)]
pub struct Tables {
    rsdp: Rsdp,
    entries: Vec<TableEntry>,
}

impl Tables {
    /// Reads the root list; `rsdp_address` is what the boot loader named, or
    /// `None` to search for it where BIOS firmware keeps it. Entries whose
    /// header cannot be read are left out.
    ///
    /// # Errors
    /// [`TableError`] if there is no intact root pointer or list.
    pub fn find(
        memory: &impl PhysicalMemory,
        rsdp_address: Option<u64>,
    ) -> Result<Self, TableError> {
        let rsdp = match rsdp_address {
            Some(address) => Rsdp::read(memory, address)?,
            None => Rsdp::search(memory).ok_or(TableError::NoRootPointer)?,
        };
        let (wanted, address, width) = match rsdp.xsdt {
            Some(xsdt) => (Signature::XSDT, xsdt, 8),
            None => (Signature::RSDT, rsdp.rsdt.into(), 4),
        };
        let root = load_named(memory, address, wanted)?;
        let pointers = root[HEADER..].chunks_exact(width).map(|chunk| {
            chunk
                .iter()
                .rev()
                .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        });
        let present = pointers.filter(|pointer| *pointer != 0);
        let entries = present.filter_map(|pointer| TableEntry::read(memory, pointer).ok());
        Ok(Self {
            rsdp,
            entries: entries.collect(),
        })
    }

    /// The root pointer.
    #[must_use]
    pub fn rsdp(&self) -> &Rsdp {
        &self.rsdp
    }

    /// All tables, in firmware's order.
    #[must_use]
    pub fn entries(&self) -> &[TableEntry] {
        &self.entries
    }

    fn load(
        &self,
        memory: &impl PhysicalMemory,
        signature: Signature,
    ) -> Result<Vec<u8>, TableError> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.signature == signature);
        entry.ok_or(TableError::Missing(signature))?.load(memory)
    }

    /// CPUs and interrupt controllers.
    ///
    /// # Errors
    /// [`TableError`] if the table is missing or damaged.
    pub fn madt(&self, memory: &impl PhysicalMemory) -> Result<Madt, TableError> {
        Madt::parse(&self.load(memory, Signature::MADT)?)
    }

    /// Fixed hardware, with the power-off values found in DSDT or SSDTs.
    ///
    /// # Errors
    /// [`TableError`] if the table is missing or damaged. A damaged DSDT only
    /// leaves [`Fadt::s5`] empty.
    pub fn fadt(&self, memory: &impl PhysicalMemory) -> Result<Fadt, TableError> {
        let mut fadt = Fadt::parse(&self.load(memory, Signature::FADT)?)?;
        let dsdt = fadt
            .dsdt
            .and_then(|address| load_named(memory, address, Signature::DSDT).ok());
        fadt.s5 = dsdt.and_then(|bytes| SleepType::find_s5(&bytes[HEADER..]));
        if fadt.s5.is_none() {
            let ssdts = self
                .entries
                .iter()
                .filter(|entry| entry.signature == Signature::SSDT);
            fadt.s5 = ssdts
                .filter_map(|entry| entry.load(memory).ok())
                .find_map(|bytes| SleepType::find_s5(&bytes[HEADER..]));
        }
        Ok(fadt)
    }

    /// The event timer's registers.
    ///
    /// # Errors
    /// [`TableError`] if the table is missing or damaged.
    pub fn hpet(&self, memory: &impl PhysicalMemory) -> Result<Hpet, TableError> {
        Hpet::parse(&self.load(memory, Signature::HPET)?)
    }

    /// PCI Express configuration windows.
    ///
    /// # Errors
    /// [`TableError`] if the table is missing or damaged.
    pub fn mcfg(&self, memory: &impl PhysicalMemory) -> Result<Mcfg, TableError> {
        Mcfg::parse(&self.load(memory, Signature::MCFG)?)
    }
}

fn load_named(
    memory: &impl PhysicalMemory,
    address: u64,
    wanted: Signature,
) -> Result<Vec<u8>, TableError> {
    let entry = TableEntry::read(memory, address)?;
    if entry.signature != wanted {
        return Err(TableError::Signature {
            wanted,
            found: entry.signature,
        });
    }
    entry.load(memory)
}

/// The bytes of a table after its header, if they reach `length` in all.
pub(crate) fn checked(
    table: &[u8],
    signature: Signature,
    length: usize,
) -> Result<Bytes<'_>, TableError> {
    if table.len() < length {
        let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
        return Err(TableError::Length { signature, length });
    }
    Ok(Bytes(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::{TestMemory, machine};
    use proptest::prelude::*;

    #[test]
    fn reads_a_whole_machine() {
        let memory = machine();
        let tables = Tables::find(&memory, None).unwrap();
        assert_eq!(tables.entries().len(), 4);
        assert_eq!(tables.madt(&memory).unwrap().cpus.len(), 3);
        let fadt = tables.fadt(&memory).unwrap();
        assert_eq!(fadt.s5, Some(SleepType { a: 5, b: 7 }));
        assert_eq!(tables.hpet(&memory).unwrap().address, 0xfed0_0000);
        assert_eq!(tables.mcfg(&memory).unwrap().segments.len(), 1);
        let wrong = Tables::find(&memory, Some(0x10));
        assert_eq!(wrong.unwrap_err(), TableError::BadRootPointer(0x10));
    }

    #[test]
    fn prefers_the_xsdt_and_falls_back_to_the_rsdt() {
        let mut memory = machine();
        memory.put_rsdp(0xe_0000, 0, 0x1000, 0);
        memory.put_table(0x1000, b"RSDT", &0x3000u32.to_le_bytes());
        let tables = Tables::find(&memory, None).unwrap();
        assert_eq!(tables.entries().len(), 1);
        assert_eq!(
            tables.hpet(&memory).unwrap_err(),
            TableError::Missing(Signature::HPET)
        );
    }

    #[test]
    fn a_flipped_byte_in_any_table_is_noticed() {
        let mut memory = machine();
        let tables = Tables::find(&memory, None).unwrap();
        for entry in tables.entries() {
            for offset in 8..u64::from(entry.length) {
                memory.flip(entry.address + offset);
                let error = entry.load(&memory).unwrap_err();
                assert_eq!(error, TableError::Checksum(entry.signature));
                memory.flip(entry.address + offset);
            }
        }
    }

    #[test]
    fn impossible_lengths_and_pointers_are_refused() {
        let mut memory = TestMemory::new(0x1000);
        memory.put(0, b"HPET\xff\xff\xff\xff");
        let entry = TableEntry::read(&memory, 0).unwrap();
        let signature = Signature::HPET;
        assert_eq!(
            entry.load(&memory),
            Err(TableError::Length {
                signature,
                length: u32::MAX
            })
        );
        memory.put(0, b"HPET\x10\x00\x00\x00");
        let entry = TableEntry::read(&memory, 0).unwrap();
        assert_eq!(
            entry.load(&memory),
            Err(TableError::Length {
                signature,
                length: 16
            })
        );
        assert!(TableEntry::read(&memory, u64::MAX - 2).is_err());
    }

    proptest! {
        /// Damage anywhere, checksums mended or not: answers or errors, no panic.
        #[test]
        fn damaged_tables_never_panic(
            damage in prop::collection::vec((0u64..0x6000, any::<u8>()), 1..48),
            mend: bool,
        ) {
            let mut memory = machine();
            for (address, byte) in damage {
                memory.put(address, &[byte]);
            }
            if mend {
                for table in [0x1000, 0x2000, 0x3000, 0x3800, 0x4000, 0x4800, 0x5000] {
                    memory.mend_checksum(table);
                }
            }
            if let Ok(tables) = Tables::find(&memory, Some(0xe_0000)) {
                let _ = tables.madt(&memory);
                let _ = tables.fadt(&memory);
                let _ = tables.hpet(&memory);
                let _ = tables.mcfg(&memory);
            }
        }
    }
}
