//! The interrupt command register: sending interrupts to processors.
//!
//! AMD APM vol. 2, 16.5 "Interprocessor Interrupts (IPI)"; 16.13 for the
//! 64-bit register of x2APIC. An interrupt that a CPU sends to itself never
//! leaves this file: no map, no atomics.

use super::registers::*;
use super::{Effect, Lapic};
use crate::message::{Destination, Message, Mode, Shorthand};

const LOGICAL: u32 = 1 << 11;
const DELIVERY_STATUS: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;

impl Lapic {
    /// A write to the low word of ICR sends. Interrupts between processors
    /// are edges, whatever the trigger bit says.
    #[inline]
    pub(super) fn command(&mut self, value: u32) -> Effect {
        self.regs[ICR] = value & !DELIVERY_STATUS;
        let mode = Mode::from_bits(value >> 8);
        let vector = value as u8;
        if matches!(mode, Mode::Fixed | Mode::LowestPriority) {
            if vector < FIRST_VECTOR {
                self.report_error(ESR_SEND_ILLEGAL_VECTOR);
                return Effect::None;
            }
            if self.is_to_self(value) {
                self.accept(vector, false);
                return Effect::None;
            }
        }
        self.send(value, mode, vector)
    }

    #[inline]
    fn is_to_self(&self, value: u32) -> bool {
        match value >> 18 & 3 {
            1 => true,
            // In either mode the page holds ID and destination in one format.
            0 => value & LOGICAL == 0 && self.regs[ICR_HIGH] == self.regs[ID],
            _ => false,
        }
    }

    fn send(&mut self, value: u32, mode: Mode, vector: u8) -> Effect {
        let shorthand = match value >> 18 & 3 {
            0 => Shorthand::None,
            1 => Shorthand::OnlySelf,
            2 => Shorthand::All,
            _ => Shorthand::AllButSelf,
        };
        let impossible = match mode {
            // The level de-assert of INIT is a relic that does nothing.
            Mode::Init if value & (LEVEL | ASSERT) == LEVEL => true,
            Mode::Reserved | Mode::ExtInt => true,
            Mode::Fixed | Mode::LowestPriority => false,
            _ => matches!(shorthand, Shorthand::OnlySelf),
        };
        if impossible {
            return Effect::None;
        }
        let logical = value & LOGICAL != 0;
        let id = self.regs[ICR_HIGH];
        let destination = if self.base.is_x2apic() {
            Destination::wide(id, logical)
        } else {
            Destination::narrow((id >> 24) as u8, logical)
        };
        Effect::Send(Message {
            destination: Destination {
                shorthand,
                ..destination
            },
            mode,
            vector,
            level: false,
        })
    }

    /// The SELF IPI register of x2APIC, which leaves ICR alone.
    #[inline]
    pub(super) fn send_to_self(&mut self, vector: u8) -> Effect {
        if vector < FIRST_VECTOR {
            self.report_error(ESR_SEND_ILLEGAL_VECTOR);
        } else {
            self.accept(vector, false);
        }
        Effect::None
    }

    /// ICR of x2APIC: destination and command in one write.
    #[inline]
    pub(super) fn command_x2apic(&mut self, value: u64) -> Effect {
        self.regs[ICR_HIGH] = (value >> 32) as u32;
        self.command(value as u32)
    }
}
