//! [`Madt`]: CPUs and interrupt controllers (ACPI 6.4, section 5.2.12).

use alloc::vec::Vec;

use crate::bytes::Bytes;
use crate::table::{HEADER, checked};
use crate::{Signature, TableError};

/// A CPU by its local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Local APIC id; above 254 only with x2APIC.
    pub apic_id: u32,
    /// Firmware's number, to which [`LocalNmi`] refers.
    pub processor_uid: u32,
    /// Whether the CPU is there and may be started.
    pub is_enabled: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its APIC id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u32,
    /// Number of its first pin in the global interrupt numbering.
    pub gsi_base: u32,
}

/// When an interrupt line is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// As its bus defines: ISA lines are active high.
    Bus,
    /// While the line is high.
    High,
    /// While the line is low.
    Low,
}

/// What of an interrupt line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As its bus defines: ISA lines are edge-triggered.
    Bus,
    /// The edge.
    Edge,
    /// The level.
    Level,
}

/// The two flags that a MADT entry has about a line.
fn line_flags(flags: u16) -> Option<(Polarity, Trigger)> {
    let polarity = match flags & 3 {
        0 => Polarity::Bus,
        1 => Polarity::High,
        3 => Polarity::Low,
        _ => return None,
    };
    let trigger = match flags >> 2 & 3 {
        0 => Trigger::Bus,
        1 => Trigger::Edge,
        3 => Trigger::Level,
        _ => return None,
    };
    Some((polarity, trigger))
}

/// An ISA line that is not wired to the pin of its own number, or not in the
/// usual way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// ISA interrupt number.
    pub isa_irq: u8,
    /// The global interrupt it arrives at.
    pub gsi: u32,
    /// When the line is active.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// An I/O APIC pin that is to be an NMI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NmiSource {
    /// The global interrupt.
    pub gsi: u32,
    /// When the line is active.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// A local APIC pin that NMIs arrive at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalNmi {
    /// [`Cpu::processor_uid`]; `None` for all CPUs.
    pub processor_uid: Option<u32>,
    /// 0 for LINT0, 1 for LINT1.
    pub lint: u8,
    /// When the line is active.
    pub polarity: Polarity,
    /// What of it counts.
    pub trigger: Trigger,
}

/// CPUs and interrupt controllers of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Madt {
    /// Physical address of each CPU's local APIC registers.
    pub local_apic_addr: u64,
    /// Whether there is also a pair of 8259s, to be masked.
    pub has_8259: bool,
    /// CPUs in firmware's order; the first is not always the boot CPU.
    pub cpus: Vec<Cpu>,
    /// I/O APICs.
    pub ioapics: Vec<IoApic>,
    /// Unusual ISA lines.
    pub overrides: Vec<InterruptOverride>,
    /// I/O APIC pins that are NMIs.
    pub nmi_sources: Vec<NmiSource>,
    /// Local APIC pins that are NMIs.
    pub nmis: Vec<LocalNmi>,
}

impl Madt {
    pub(crate) fn parse(table: &[u8]) -> Result<Self, TableError> {
        let signature = Signature::MADT;
        let bytes = checked(table, signature, HEADER + 8)?;
        let malformed = |offset| TableError::Malformed { signature, offset };
        let mut madt = Self {
            local_apic_addr: bytes.u32(36).ok_or(malformed(36))?.into(),
            has_8259: bytes.u32(40).ok_or(malformed(40))? & 1 == 1,
            cpus: Vec::new(),
            ioapics: Vec::new(),
            overrides: Vec::new(),
            nmi_sources: Vec::new(),
            nmis: Vec::new(),
        };
        let mut offset = HEADER + 8;
        while offset < table.len() {
            let length = bytes.u8(offset + 1).ok_or(malformed(offset))?;
            let entry = table.get(offset..offset + usize::from(length));
            let entry = entry.filter(|_| length >= 2).ok_or(malformed(offset))?;
            madt.add(Bytes(entry)).ok_or(malformed(offset))?;
            offset += usize::from(length);
        }
        Ok(madt)
    }

    /// Takes one entry in; `None` if it is too short or a flag has no meaning.
    /// Kinds that this kernel has no use for are passed over.
    fn add(&mut self, entry: Bytes<'_>) -> Option<()> {
        match entry.u8(0)? {
            0 => {
                let (uid, apic_id) = (entry.u8(2)?.into(), entry.u8(3)?.into());
                self.add_cpu(apic_id, uid, entry.u32(4)?);
            }
            1 => self.ioapics.push(IoApic {
                id: entry.u8(2)?,
                address: entry.u32(4)?,
                gsi_base: entry.u32(8)?,
            }),
            2 => {
                let (polarity, trigger) = line_flags(entry.u16(8)?)?;
                let (isa_irq, gsi) = (entry.u8(3)?, entry.u32(4)?);
                self.overrides.push(InterruptOverride {
                    isa_irq,
                    gsi,
                    polarity,
                    trigger,
                });
            }
            3 => {
                let (polarity, trigger) = line_flags(entry.u16(2)?)?;
                self.nmi_sources.push(NmiSource {
                    gsi: entry.u32(4)?,
                    polarity,
                    trigger,
                });
            }
            4 => {
                let uid = entry.u8(2)?;
                let uid = (uid != 0xff).then_some(uid.into());
                self.add_local_nmi(uid, entry.u16(3)?, entry.u8(5)?)?;
            }
            5 => self.local_apic_addr = entry.u64(4)?,
            9 => self.add_cpu(entry.u32(4)?, entry.u32(12)?, entry.u32(8)?),
            10 => {
                let uid = entry.u32(4)?;
                let uid = (uid != u32::MAX).then_some(uid);
                self.add_local_nmi(uid, entry.u16(2)?, entry.u8(8)?)?;
            }
            _ => {}
        }
        Some(())
    }

    /// Some firmware lists a CPU in both forms: the second is ignored.
    fn add_cpu(&mut self, apic_id: u32, processor_uid: u32, flags: u32) {
        if self.cpus.iter().all(|cpu| cpu.apic_id != apic_id) {
            self.cpus.push(Cpu {
                apic_id,
                processor_uid,
                is_enabled: flags & 1 == 1,
            });
        }
    }

    fn add_local_nmi(&mut self, processor_uid: Option<u32>, flags: u16, lint: u8) -> Option<()> {
        let (polarity, trigger) = line_flags(flags)?;
        if lint > 1 {
            return None;
        }
        self.nmis.push(LocalNmi {
            processor_uid,
            lint,
            polarity,
            trigger,
        });
        Some(())
    }

    /// CPUs that may be started, in firmware's order.
    pub fn enabled_cpus(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.iter().filter(|cpu| cpu.is_enabled)
    }

    /// Where an ISA interrupt arrives: global number, polarity, trigger, with
    /// the bus defaults resolved. Identity for lines without an override.
    #[must_use]
    pub fn isa_route(&self, isa_irq: u8) -> (u32, Polarity, Trigger) {
        let found = self.overrides.iter().find(|entry| entry.isa_irq == isa_irq);
        let (gsi, polarity, trigger) = found
            .map_or((isa_irq.into(), Polarity::Bus, Trigger::Bus), |entry| {
                (entry.gsi, entry.polarity, entry.trigger)
            });
        let polarity = if polarity == Polarity::Bus {
            Polarity::High
        } else {
            polarity
        };
        let trigger = if trigger == Trigger::Bus {
            Trigger::Edge
        } else {
            trigger
        };
        (gsi, polarity, trigger)
    }
}

#[cfg(test)]
pub(crate) fn example_body() -> std::vec::Vec<u8> {
    let mut body = std::vec![0x00, 0x00, 0xe0, 0xfe, 1, 0, 0, 0];
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([0, 8, 1, 1, 0, 0, 0, 0]);
    body.extend([1, 12, 0, 0, 0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
    body.extend([3, 8, 0x05, 0, 23, 0, 0, 0]);
    body.extend([4, 6, 0xff, 0, 0, 1]);
    body.extend([9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    body.extend([10, 12, 0x0f, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([0x7f, 4, 0, 0]);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::table;

    fn parse(body: &[u8]) -> Result<Madt, TableError> {
        Madt::parse(&table(b"APIC", body))
    }

    #[test]
    fn reads_every_kind_of_entry() {
        let madt = parse(&example_body()).unwrap();
        assert_eq!(madt.local_apic_addr, 0xfee0_0000);
        assert!(madt.has_8259);
        let cpus: std::vec::Vec<_> = madt
            .cpus
            .iter()
            .map(|cpu| (cpu.apic_id, cpu.is_enabled))
            .collect();
        assert_eq!(cpus, [(0, true), (1, false), (300, true)]);
        assert_eq!(madt.enabled_cpus().count(), 2);
        assert_eq!(
            madt.ioapics,
            [IoApic {
                id: 0,
                address: 0xfec0_0000,
                gsi_base: 0
            }]
        );
        assert_eq!(madt.nmi_sources[0].gsi, 23);
        assert_eq!(madt.nmis[0].processor_uid, None);
        assert_eq!(
            (madt.nmis[1].processor_uid, madt.nmis[1].lint),
            (Some(7), 0)
        );
        assert_eq!(madt.nmis[1].trigger, Trigger::Level);
    }

    #[test]
    fn routes_isa_lines() {
        let madt = parse(&example_body()).unwrap();
        assert_eq!(madt.isa_route(0), (2, Polarity::High, Trigger::Edge));
        assert_eq!(madt.isa_route(9), (9, Polarity::High, Trigger::Level));
        assert_eq!(madt.isa_route(4), (4, Polarity::High, Trigger::Edge));
    }

    #[test]
    fn the_64_bit_address_overrides() {
        let mut body = example_body();
        body.extend([5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(parse(&body).unwrap().local_apic_addr, 1 << 32);
    }

    #[test]
    fn refuses_entries_that_do_not_add_up() {
        let signature = Signature::MADT;
        let bad: [&[u8]; 5] = [
            &[0, 0],
            &[0, 1],
            &[0, 9, 0, 0, 0, 0, 0, 0],
            &[0],
            &[1, 4, 0, 0],
        ];
        for entry in bad {
            let mut body = example_body()[..8].to_vec();
            body.extend(entry);
            let error = parse(&body).unwrap_err();
            assert_eq!(
                error,
                TableError::Malformed {
                    signature,
                    offset: 44
                },
                "{entry:?}"
            );
        }
    }
}
