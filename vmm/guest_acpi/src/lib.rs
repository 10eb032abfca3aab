//! The ACPI tables of a VM: [`build`] returns one block of bytes to be put at
//! [`TABLES_START`], with the root pointer at its front.
//!
//! Fixed tables: RSDP, XSDT, FADT, FACS, MADT, MCFG (this file, after the ACPI
//! specification 6.5, chapter 5); the namespace is in [`dsdt`]. Neighbours:
//! `board` has the addresses, `chipset` the registers that the FADT points to.
#![forbid(unsafe_code)]

mod dsdt;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::{GenericAddress, Sdt};
use board::address_map as map;

/// Guest physical address of the tables; the RSDP is the first of them.
pub const TABLES_START: u64 = map::FIRMWARE_START;
/// Bytes there is room for.
pub const TABLES_ROOM: usize = (map::FIRMWARE_END - map::FIRMWARE_START) as usize;

const OEM_ID: [u8; 6] = *b"ALSTER";
const OEM_TABLE: [u8; 8] = *b"ALSTERVM";
const OEM_REVISION: u32 = 1;
const FADT_LEN: u32 = 276;
const CMOS_CENTURY: u8 = 50;
const TABLE_ALIGN: usize = 64;

/// Register offsets inside the power management block at `board`'s `PM_PORT`;
/// `chipset` implements them.
pub mod pm_block {
    /// PM1 event block: status and enable, 2 bytes each.
    pub const EVENT: u16 = 0;
    /// PM1 control block: 2 bytes.
    pub const CONTROL: u16 = 4;
    /// Power management timer: 4 bytes.
    pub const TIMER: u16 = 8;
    /// SLP_TYP value of S5, soft off.
    pub const SLEEP_TYPE_S5: u8 = 5;
}

/// Builds the tables of a machine with `vcpus` CPUs, APIC ids 0 and up.
pub fn build(vcpus: u8) -> Vec<u8> {
    let mut tables = Tables::default();
    let rsdp = tables.reserve(36);
    let mut facs = Vec::new();
    FACS::new().to_aml_bytes(&mut facs);
    let facs = tables.append(&facs);
    let dsdt = tables.append(dsdt::build(vcpus).as_slice());
    let entries = [
        tables.append(fadt(facs, dsdt).as_slice()),
        tables.append(madt(vcpus).as_slice()),
        tables.append(mcfg().as_slice()),
    ];
    let mut xsdt = table(*b"XSDT", 1);
    for entry in entries {
        xsdt.append_slice(&entry.to_le_bytes());
    }
    let xsdt = tables.append(xsdt.as_slice());
    let mut root = Vec::new();
    Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut root);
    tables.fill(rsdp, &root);
    tables.bytes
}

fn table(signature: [u8; 4], revision: u8) -> Sdt {
    Sdt::new(signature, 36, revision, OEM_ID, OEM_TABLE, OEM_REVISION)
}

/// Tables laid one after the other, addressed as the guest will.
#[derive(Default)]
struct Tables {
    bytes: Vec<u8>,
}

impl Tables {
    fn reserve(&mut self, len: usize) -> usize {
        let start = self.bytes.len().next_multiple_of(TABLE_ALIGN);
        self.bytes.resize(start + len, 0);
        start
    }

    fn fill(&mut self, start: usize, bytes: &[u8]) {
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        let start = self.reserve(bytes.len());
        self.fill(start, bytes);
        TABLES_START + start as u64
    }
}

/// Fixed hardware: events, control, timer and reset register (section 5.2.9).
fn fadt(facs: u64, dsdt: u64) -> Sdt {
    let mut fadt = Sdt::new(*b"FACP", FADT_LEN, 6, OEM_ID, OEM_TABLE, OEM_REVISION);
    fadt.write_u32(36, facs as u32);
    fadt.write_u32(40, dsdt as u32);
    fadt.write_u16(46, map::SCI_IRQ as u16);
    // Latencies above these limits say that C2 and C3 do not exist.
    fadt.write_u16(96, 101);
    fadt.write_u16(98, 1001);
    fadt.write_u8(108, CMOS_CENTURY);
    fadt.write_u16(109, boot_architecture());
    fadt.write_u32(112, fixed_features());
    let reset_port = map::I8042_PORT + 4;
    fadt.write_bytes(116, &gas(GenericAddress::io_port_address::<u8>(reset_port)));
    fadt.write_u8(128, map::I8042_RESET_COMMAND);
    fadt.write_u8(131, 5);
    fadt.write_u64(140, dsdt);
    add_register_blocks(&mut fadt);
    fadt.update_checksum();
    fadt
}

/// The blocks of the power management chip, in the old and the new form.
fn add_register_blocks(fadt: &mut Sdt) {
    let event = map::PM_PORT + pm_block::EVENT;
    let control = map::PM_PORT + pm_block::CONTROL;
    let timer = map::PM_PORT + pm_block::TIMER;
    fadt.write_u32(56, event.into());
    fadt.write_u32(64, control.into());
    fadt.write_u32(76, timer.into());
    fadt.write_u8(88, 4);
    fadt.write_u8(89, 2);
    fadt.write_u8(91, 4);
    fadt.write_bytes(148, &gas(GenericAddress::io_port_address::<u32>(event)));
    fadt.write_bytes(172, &gas(GenericAddress::io_port_address::<u16>(control)));
    fadt.write_bytes(208, &gas(GenericAddress::io_port_address::<u32>(timer)));
}

/// IAPC_BOOT_ARCH: what an old PC has that this one has or lacks.
fn boot_architecture() -> u16 {
    const HAS_LEGACY_DEVICES: u16 = 1 << 0;
    const NO_VGA: u16 = 1 << 2;
    HAS_LEGACY_DEVICES | NO_VGA
}

/// The fixed feature flags.
fn fixed_features() -> u32 {
    const WBINVD: u32 = 1 << 0;
    const PROC_C1: u32 = 1 << 2;
    const SLEEP_BUTTON_NOT_FIXED: u32 = 1 << 5;
    const RTC_WAKE_NOT_FIXED: u32 = 1 << 6;
    const TIMER_IS_32_BIT: u32 = 1 << 8;
    const RESET_REGISTER: u32 = 1 << 10;
    let buttons = SLEEP_BUTTON_NOT_FIXED | RTC_WAKE_NOT_FIXED;
    WBINVD | PROC_C1 | buttons | TIMER_IS_32_BIT | RESET_REGISTER
}

fn gas(address: GenericAddress) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = address.address_space_id;
    bytes[1] = address.register_bit_width;
    bytes[2] = address.register_bit_offset;
    bytes[3] = address.access_size;
    let port = address.address;
    bytes[4..].copy_from_slice(&port.to_le_bytes());
    bytes
}

/// Interrupt controllers and CPUs (section 5.2.12).
fn madt(vcpus: u8) -> Sdt {
    const PC_AT_COMPATIBLE: u32 = 1;
    const LEVEL_ACTIVE_HIGH: u16 = 0b1101;
    const ALL_CPUS: u8 = 0xFF;

    let mut madt = table(*b"APIC", 5);
    madt.append_slice(&(map::LAPIC_START as u32).to_le_bytes());
    madt.append_slice(&PC_AT_COMPATIBLE.to_le_bytes());
    for id in 0..vcpus {
        madt.append_slice(&[0, 8, id, id, 1, 0, 0, 0]);
    }
    let ioapic_id = vcpus;
    madt.append_slice(&[1, 12, ioapic_id, 0]);
    madt.append_slice(&(map::IOAPIC_START as u32).to_le_bytes());
    madt.append_slice(&0u32.to_le_bytes());
    // The system control interrupt is not edge-triggered as ISA ones are.
    madt.append_slice(&[2, 10, 0, map::SCI_IRQ as u8]);
    madt.append_slice(&map::SCI_IRQ.to_le_bytes());
    madt.append_slice(&LEVEL_ACTIVE_HIGH.to_le_bytes());
    // LINT1 of every CPU is the NMI.
    madt.append_slice(&[4, 6, ALL_CPUS, 0, 0, 1]);
    madt
}

/// Where PCI configuration space is in memory (PCI firmware specification).
fn mcfg() -> Sdt {
    let mut mcfg = table(*b"MCFG", 1);
    mcfg.append_slice(&[0; 8]);
    mcfg.append_slice(&map::ECAM_START.to_le_bytes());
    mcfg.append_slice(&[0; 8]);
    mcfg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    fn at(bytes: &[u8], address: u64) -> &[u8] {
        let start = (address - TABLES_START) as usize;
        let len = u32_at(bytes, start + 4) as usize;
        &bytes[start..start + len]
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// Walks as a guest does: root pointer, XSDT, each table.
    fn walk(bytes: &[u8]) -> Vec<&[u8]> {
        assert_eq!(&bytes[..8], b"RSD PTR ");
        assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
        let xsdt = at(bytes, u64_at(bytes, 24));
        assert_eq!(&xsdt[..4], b"XSDT");
        assert_eq!(sum(xsdt), 0);
        xsdt[36..]
            .chunks(8)
            .map(|entry| at(bytes, u64_at(entry, 0)))
            .collect()
    }

    #[test]
    fn every_table_is_reachable_and_sums_to_zero() {
        let bytes = build(4);
        let tables = walk(&bytes);
        let signatures: Vec<&[u8]> = tables.iter().map(|t| &t[..4]).collect();
        assert_eq!(signatures, [b"FACP", b"APIC", b"MCFG"]);
        for table in tables {
            assert_eq!(sum(table), 0, "{:?}", &table[..4]);
        }
    }

    #[test]
    fn fadt_points_to_the_namespace_and_the_registers() {
        let bytes = build(1);
        let fadt = walk(&bytes)[0].to_vec();
        let dsdt = at(&bytes, u64_at(&fadt, 140));
        assert_eq!(&dsdt[..4], b"DSDT");
        assert_eq!(sum(dsdt), 0);
        assert_eq!(u32_at(&fadt, 56), u32::from(map::PM_PORT));
        assert_eq!((fadt[117], fadt[119], fadt[128]), (8, 1, 0xFE));
        assert_eq!(u64_at(&fadt, 120), 0x64);
        assert_eq!(
            &bytes[(u32_at(&fadt, 36) as u64 - TABLES_START) as usize..][..4],
            b"FACS"
        );
    }

    #[test]
    fn madt_lists_every_cpu() {
        let bytes = build(3);
        let madt = walk(&bytes)[1].to_vec();
        let mut rest = &madt[44..];
        let mut cpus = Vec::new();
        while let [kind, len, ..] = rest {
            if *kind == 0 {
                cpus.push(rest[3]);
            }
            rest = &rest[usize::from(*len)..];
        }
        assert_eq!(cpus, [0, 1, 2]);
    }

    #[test]
    fn the_largest_machine_fits() {
        assert!(build(254).len() <= TABLES_ROOM);
    }
}
