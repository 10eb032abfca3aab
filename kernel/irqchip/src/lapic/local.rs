//! The local vector table and the pins LINT0 and LINT1.
//!
//! AMD APM vol. 2, 16.4 "Local Interrupts". LINT0 in ExtINT mode is the
//! "virtual wire" through which an 8259A reaches the CPU before the guest
//! uses its I/O APIC; LINT1 is the platform's NMI.

use super::Lapic;
use super::registers::*;
use crate::message::Mode;

const LVT_LINT: u32 = 0xff | 7 << 8 | 1 << 13 | 1 << 15 | LVT_MASKED;
const LVT_COUNTER: u32 = 0xff | 7 << 8 | LVT_MASKED;

/// An input of the LAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// INTR of the 8259A.
    Lint0,
    /// NMI.
    Lint1,
}

/// What a pulse on a pin does beyond the LAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LintEffect {
    /// Nothing (or a vector was requested).
    None,
    /// A non-maskable interrupt for this vCPU.
    Nmi,
    /// A system management interrupt for this vCPU.
    Smi,
    /// INIT for this vCPU.
    Init,
    /// The CPU is to fetch a vector from the 8259A.
    ExtInt,
}

impl Lapic {
    pub(super) fn set_lvt(&mut self, slot: usize, value: u32) {
        let writable = match slot {
            LVT_LINT0 | LVT_LINT1 => LVT_LINT,
            LVT_ERROR => 0xff | LVT_MASKED,
            _ => LVT_COUNTER,
        };
        let mut new = value & writable;
        if !self.is_software_enabled() {
            new |= LVT_MASKED;
        }
        self.regs[slot] = new;
    }

    /// Whether the CPU takes vectors from the 8259A: LINT0 is unmasked in
    /// ExtINT mode, or the LAPIC is disabled and LINT0 is plain INTR.
    #[inline]
    pub fn accepts_extint(&self) -> bool {
        !self.base.is_enabled() || self.regs[LVT_LINT0] & (LVT_MASKED | 7 << 8) == 7 << 8
    }

    /// A pin rises.
    pub fn pulse(&mut self, pin: Pin) -> LintEffect {
        if !self.base.is_enabled() {
            return match pin {
                Pin::Lint0 => LintEffect::ExtInt,
                Pin::Lint1 => LintEffect::Nmi,
            };
        }
        let lvt = match pin {
            Pin::Lint0 => self.regs[LVT_LINT0],
            Pin::Lint1 => self.regs[LVT_LINT1],
        };
        if lvt & LVT_MASKED != 0 {
            return LintEffect::None;
        }
        match Mode::from_bits(lvt >> 8) {
            Mode::Fixed => {
                self.accept(lvt as u8, false);
                LintEffect::None
            }
            Mode::Nmi => LintEffect::Nmi,
            Mode::Smi => LintEffect::Smi,
            Mode::Init => LintEffect::Init,
            Mode::ExtInt => LintEffect::ExtInt,
            Mode::LowestPriority | Mode::Startup | Mode::Reserved => LintEffect::None,
        }
    }
}
