//! [`Fadt`]: fixed hardware registers (ACPI 6.4, section 5.2.9).
//!
//! Each register has an old 32-bit port field and, in later revisions, an
//! extended address that takes precedence where it is not zero.

use crate::bytes::Bytes;
use crate::table::checked;
use crate::{GenericAddress, Signature, SleepType, TableError};

/// Length in ACPI 1.0; all fields up to `flags` are there.
const MINIMUM_LENGTH: usize = 116;
const FLAG_TIMER_32_BIT: u32 = 1 << 8;
const FLAG_RESET: u32 = 1 << 10;
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;

/// The free-running timer of 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// The counter.
    pub register: GenericAddress,
    /// Counter width in bits: 24 or 32.
    pub bits: u8,
}

/// How to reset the machine: write `value` to `register`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// An 8-bit register.
    pub register: GenericAddress,
    /// What to write.
    pub value: u8,
}

/// Fixed hardware of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Physical address of the DSDT.
    pub dsdt: Option<u64>,
    /// Interrupt line of system control events.
    pub sci_interrupt: u16,
    /// Port through which firmware hands over ACPI; 0 if there is none.
    pub smi_command: u32,
    /// What to write there to switch ACPI on; 0 if it always is.
    pub acpi_enable: u8,
    /// PM1a event block: status in its lower half, enable in the upper.
    pub pm1a_evt: Option<GenericAddress>,
    /// PM1b event block.
    pub pm1b_evt: Option<GenericAddress>,
    /// PM1a control register.
    pub pm1a_cnt: Option<GenericAddress>,
    /// PM1b control register.
    pub pm1b_cnt: Option<GenericAddress>,
    /// The ACPI timer.
    pub pm_timer: Option<PmTimer>,
    /// CMOS index of the century; `None` if the clock has none.
    pub century_index: Option<u8>,
    /// How to reset; `None` if this table offers no way.
    pub reset: Option<ResetRegister>,
    /// Whether a keyboard controller may be present. Always true before
    /// revision 3, which cannot say.
    pub has_8042: bool,
    /// Whether there is no fixed hardware at all.
    pub is_hardware_reduced: bool,
    /// Values for power-off; `None` if AML does not state them plainly.
    pub s5: Option<SleepType>,
}

impl Fadt {
    pub(crate) fn parse(table: &[u8]) -> Result<Self, TableError> {
        let bytes = checked(table, Signature::FADT, MINIMUM_LENGTH)?;
        Self::fields(bytes).ok_or(TableError::Malformed {
            signature: Signature::FADT,
            offset: MINIMUM_LENGTH,
        })
    }

    fn fields(bytes: Bytes<'_>) -> Option<Self> {
        let flags = bytes.u32(112)?;
        let revision = bytes.u8(8)?;
        let extended_dsdt = bytes.u64(140).filter(|address| *address != 0);
        let dsdt = extended_dsdt.unwrap_or(bytes.u32(40)?.into());
        let event_length = bytes.u8(88)?;
        let control_length = bytes.u8(89)?;
        Some(Self {
            dsdt: (dsdt != 0).then_some(dsdt),
            sci_interrupt: bytes.u16(46)?,
            smi_command: bytes.u32(48)?,
            acpi_enable: bytes.u8(52)?,
            pm1a_evt: register(bytes, 148, 56, event_length),
            pm1b_evt: register(bytes, 160, 60, event_length),
            pm1a_cnt: register(bytes, 172, 64, control_length),
            pm1b_cnt: register(bytes, 184, 68, control_length),
            pm_timer: register(bytes, 208, 76, bytes.u8(91)?).map(|register| PmTimer {
                register,
                bits: if flags & FLAG_TIMER_32_BIT != 0 {
                    32
                } else {
                    24
                },
            }),
            century_index: bytes.u8(108).filter(|index| *index != 0),
            reset: reset(bytes).filter(|_| flags & FLAG_RESET != 0),
            has_8042: revision < 3 || bytes.u16(109)? & 2 != 0,
            is_hardware_reduced: flags & FLAG_HARDWARE_REDUCED != 0,
            s5: None,
        })
    }
}

/// The register at `extended`, else the one at the port that `legacy` names.
fn register(
    bytes: Bytes<'_>,
    extended: usize,
    legacy: usize,
    length: u8,
) -> Option<GenericAddress> {
    GenericAddress::parse(bytes, extended)
        .or_else(|| GenericAddress::port(bytes.u32(legacy)?, length))
}

fn reset(bytes: Bytes<'_>) -> Option<ResetRegister> {
    Some(ResetRegister {
        register: GenericAddress::parse(bytes, 116)?,
        value: bytes.u8(128)?,
    })
}

/// As QEMU's q35 machine describes itself, with `dsdt` at the given address.
#[cfg(test)]
pub(crate) fn example_body(dsdt: u32) -> std::vec::Vec<u8> {
    let mut table = std::vec![0u8; 244];
    let mut put = |offset: usize, bytes: &[u8]| {
        table[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(40, &dsdt.to_le_bytes());
    put(46, &9u16.to_le_bytes());
    put(48, &0xb2u32.to_le_bytes());
    put(52, &[2]);
    put(56, &0x600u32.to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(88, &[4, 2, 0, 4]);
    put(108, &[0x32]);
    put(112, &(FLAG_RESET | 0x80a5).to_le_bytes());
    put(116, &[1, 8, 0, 0]);
    put(120, &0xcf9u64.to_le_bytes());
    put(128, &[0x0f]);
    table.split_off(36)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AddressSpace;
    use crate::test_memory::table;

    fn port(address: u64, bit_width: u8) -> Option<GenericAddress> {
        Some(GenericAddress {
            space: AddressSpace::Port,
            bit_width,
            address,
        })
    }

    #[test]
    fn reads_legacy_ports() {
        let fadt = Fadt::parse(&table(b"FACP", &example_body(0x5000))).unwrap();
        assert_eq!(fadt.dsdt, Some(0x5000));
        assert_eq!(
            (fadt.sci_interrupt, fadt.smi_command, fadt.acpi_enable),
            (9, 0xb2, 2)
        );
        assert_eq!((fadt.pm1a_cnt, fadt.pm1b_cnt), (port(0x604, 16), None));
        assert_eq!((fadt.pm1a_evt, fadt.pm1b_evt), (port(0x600, 32), None));
        assert_eq!(fadt.pm_timer.map(|timer| timer.bits), Some(24));
        assert_eq!(fadt.century_index, Some(0x32));
        let reset = fadt.reset.unwrap();
        assert_eq!((Some(reset.register), reset.value), (port(0xcf9, 8), 0x0f));
        assert!(fadt.has_8042 && !fadt.is_hardware_reduced);
    }

    #[test]
    fn extended_fields_take_precedence() {
        let mut body = example_body(0x5000);
        body[140 - 36..148 - 36].copy_from_slice(&0x1_2345_6000u64.to_le_bytes());
        body[172 - 36] = 0;
        body[173 - 36] = 16;
        body[176 - 36..184 - 36].copy_from_slice(&0xfed1_0000u64.to_le_bytes());
        let fadt = Fadt::parse(&table(b"FACP", &body)).unwrap();
        assert_eq!(fadt.dsdt, Some(0x1_2345_6000));
        let memory = GenericAddress {
            space: AddressSpace::Memory,
            bit_width: 16,
            address: 0xfed1_0000,
        };
        assert_eq!(fadt.pm1a_cnt, Some(memory));
    }

    #[test]
    fn a_reset_register_counts_only_if_announced() {
        let mut body = example_body(0x5000);
        body[112 - 36..116 - 36].fill(0);
        assert_eq!(Fadt::parse(&table(b"FACP", &body)).unwrap().reset, None);
    }

    #[test]
    fn a_table_of_acpi_1_has_no_reset() {
        let fadt = Fadt::parse(&table(b"FACP", &example_body(0x5000)[..80])).unwrap();
        assert_eq!(fadt.reset, None);
        assert_eq!(fadt.pm1a_cnt, port(0x604, 16));
        assert!(Fadt::parse(&table(b"FACP", &example_body(0)[..79])).is_err());
    }
}
