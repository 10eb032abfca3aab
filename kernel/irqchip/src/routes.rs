//! Where a global system interrupt leads: [`Routes`], the table behind
//! `KVM_SET_GSI_ROUTING`.
//!
//! A GSI leads to pins of controllers (one each) or to one message. The table
//! is decoded once, when the monitor sets it, and read-only after that.

use crate::message::Message;
use abi::kvm_irqchip::{
    IOAPIC_PINS, IRQCHIP_IOAPIC, IRQCHIP_PIC_MASTER, IRQCHIP_PIC_SLAVE, ROUTING_IRQCHIP,
    ROUTING_MSI, RoutingEntry,
};
use alloc::vec::Vec;

/// One end of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Input 0 to 15 of the 8259A pair.
    Pic(u8),
    /// Pin of the I/O APIC.
    Ioapic(u8),
    /// A message, sent when the GSI rises.
    Message(Message),
}

/// Why a table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Entry number `0`: its GSI is not below [`Routes::GSIS`].
    Gsi(usize),
    /// Entry number `0`: a kind other than irqchip and MSI, or flags.
    Kind(usize),
    /// Entry number `0`: no such chip or pin.
    Pin(usize),
    /// Entry number `0`: its GSI leads to the same controller already, or it
    /// mixes a message with something else.
    Conflict(usize),
    /// No memory for the table.
    Memory,
}

/// The decoded table.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Sorted by GSI.
    targets: Vec<(u32, Target)>,
    /// `starts[gsi] .. starts[gsi + 1]` are the targets of `gsi`.
    starts: Vec<u32>,
}

impl Routes {
    /// GSIs are numbered below this.
    pub const GSIS: u32 = 4096;

    /// The routes of a new VM: GSI 0 to 15 to both controllers, 16 to 23 to
    /// the I/O APIC, pins numbered like the GSIs.
    ///
    /// # Errors
    /// [`RouteError::Memory`].
    pub fn standard() -> Result<Self, RouteError> {
        let pic = (0..16).map(|gsi| {
            let chip = if gsi < 8 {
                IRQCHIP_PIC_MASTER
            } else {
                IRQCHIP_PIC_SLAVE
            };
            RoutingEntry::irqchip(gsi, chip, gsi & 7)
        });
        let ioapic =
            (0..IOAPIC_PINS as u32).map(|gsi| RoutingEntry::irqchip(gsi, IRQCHIP_IOAPIC, gsi));
        Self::decode(pic.chain(ioapic), 16 + IOAPIC_PINS)
    }

    /// Decodes a monitor's table.
    ///
    /// # Errors
    /// The first entry that is wrong, or a lack of memory.
    pub fn new(entries: &[RoutingEntry]) -> Result<Self, RouteError> {
        Self::decode(entries.iter().copied(), entries.len())
    }

    fn decode(
        entries: impl Iterator<Item = RoutingEntry>,
        count: usize,
    ) -> Result<Self, RouteError> {
        let mut numbered: Vec<(u32, Target, usize)> = Vec::new();
        numbered
            .try_reserve_exact(count)
            .map_err(|_| RouteError::Memory)?;
        for (number, entry) in entries.enumerate() {
            if entry.gsi >= Self::GSIS {
                return Err(RouteError::Gsi(number));
            }
            numbered.push((entry.gsi, target(number, &entry)?, number));
        }
        numbered.sort_unstable_by_key(|&(gsi, _, number)| (gsi, number));
        check_conflicts(&numbered)?;
        let mut routes = Self::default();
        let gsis = numbered.last().map_or(0, |&(gsi, ..)| gsi as usize + 1);
        let memory = routes.targets.try_reserve_exact(numbered.len());
        let memory = memory.and_then(|()| routes.starts.try_reserve_exact(gsis + 1));
        memory.map_err(|_| RouteError::Memory)?;
        for &(gsi, target, _) in &numbered {
            while routes.starts.len() <= gsi as usize {
                routes.starts.push(routes.targets.len() as u32);
            }
            routes.targets.push((gsi, target));
        }
        routes.starts.push(routes.targets.len() as u32);
        Ok(routes)
    }

    /// Where `gsi` leads; nothing for one without a route.
    #[inline]
    pub fn targets(&self, gsi: u32) -> impl Iterator<Item = Target> {
        let gsi = gsi as usize;
        let slice = match self.starts.get(gsi..gsi.saturating_add(2)) {
            Some(&[start, end]) => self.targets.get(start as usize..end as usize),
            _ => None,
        };
        slice.unwrap_or_default().iter().map(|&(_, target)| target)
    }

    /// The GSIs that lead to `target`: for an end of interrupt on its way back
    /// to whoever resamples a line.
    pub fn sources(&self, target: Target) -> impl Iterator<Item = u32> {
        let leads_there = move |&&(_, other): &&(u32, Target)| other == target;
        self.targets.iter().filter(leads_there).map(|&(gsi, _)| gsi)
    }
}

fn target(number: usize, entry: &RoutingEntry) -> Result<Target, RouteError> {
    if entry.flags != 0 {
        return Err(RouteError::Kind(number));
    }
    match (entry.kind, entry.u[0], entry.u[1]) {
        (ROUTING_IRQCHIP, IRQCHIP_PIC_MASTER, pin @ 0..8) => Ok(Target::Pic(pin as u8)),
        (ROUTING_IRQCHIP, IRQCHIP_PIC_SLAVE, pin @ 0..8) => Ok(Target::Pic(pin as u8 + 8)),
        (ROUTING_IRQCHIP, IRQCHIP_IOAPIC, pin) if pin < IOAPIC_PINS as u32 => {
            Ok(Target::Ioapic(pin as u8))
        }
        (ROUTING_IRQCHIP, ..) => Err(RouteError::Pin(number)),
        (ROUTING_MSI, low, high) => {
            let address = u64::from(high) << 32 | u64::from(low);
            Ok(Target::Message(Message::from_msi(address, entry.u[2])))
        }
        _ => Err(RouteError::Kind(number)),
    }
}

/// Entries that share a GSI must lead to different controllers, and a message
/// stands alone.
fn check_conflicts(sorted: &[(u32, Target, usize)]) -> Result<(), RouteError> {
    let controller = |target: Target| match target {
        Target::Pic(0..8) => 0,
        Target::Pic(_) => 1,
        Target::Ioapic(_) => 2,
        Target::Message(_) => 3,
    };
    for group in sorted.chunk_by(|a, b| a.0 == b.0) {
        let mut seen = 0u32;
        for &(_, target, number) in group {
            let bit = 1 << controller(target);
            let message = seen & 8 != 0 || bit == 8 && seen != 0;
            if seen & bit != 0 || message {
                return Err(RouteError::Conflict(number));
            }
            seen |= bit;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(routes: &Routes, gsi: u32) -> Vec<Target> {
        routes.targets(gsi).collect()
    }

    #[test]
    fn standard_routes_reach_both_controllers() {
        let routes = Routes::standard().expect("memory");
        assert_eq!(targets(&routes, 0), [Target::Pic(0), Target::Ioapic(0)]);
        assert_eq!(targets(&routes, 12), [Target::Pic(12), Target::Ioapic(12)]);
        assert_eq!(targets(&routes, 23), [Target::Ioapic(23)]);
        assert_eq!(targets(&routes, 24), []);
        assert_eq!(targets(&routes, u32::MAX), []);
    }

    #[test]
    fn messages_are_decoded_and_gaps_are_empty() {
        let routes = Routes::new(&[
            RoutingEntry::msi(40, 0xfee0_1000, 0x45),
            RoutingEntry::irqchip(0, IRQCHIP_IOAPIC, 2),
        ])
        .expect("valid");
        let message = Message::from_msi(0xfee0_1000, 0x45);
        assert_eq!(targets(&routes, 40), [Target::Message(message)]);
        assert_eq!(targets(&routes, 0), [Target::Ioapic(2)]);
        assert_eq!(targets(&routes, 39), []);
        assert_eq!(routes.sources(Target::Ioapic(2)).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn wrong_entries_are_named() {
        let good = RoutingEntry::irqchip(1, IRQCHIP_IOAPIC, 1);
        let error = |entry| Routes::new(&[good, entry]).expect_err("wrong entry");
        assert_eq!(
            error(RoutingEntry::irqchip(4096, IRQCHIP_IOAPIC, 1)),
            RouteError::Gsi(1)
        );
        assert_eq!(
            error(RoutingEntry::irqchip(2, IRQCHIP_IOAPIC, 24)),
            RouteError::Pin(1)
        );
        assert_eq!(error(RoutingEntry::irqchip(2, 3, 0)), RouteError::Pin(1));
        assert_eq!(error(RoutingEntry { kind: 4, ..good }), RouteError::Kind(1));
        assert_eq!(error(good), RouteError::Conflict(1));
        assert_eq!(
            error(RoutingEntry::msi(1, 0xfee0_0000, 0x41)),
            RouteError::Conflict(1)
        );
    }

    #[test]
    fn empty_table_leads_nowhere() {
        let routes = Routes::new(&[]).expect("valid");
        assert_eq!(targets(&routes, 0), []);
    }
}
