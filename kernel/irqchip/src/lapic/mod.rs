//! The owner's half of a local APIC: [`Lapic`], used only by the thread that
//! runs the vCPU. What other CPUs send is in [`crate::Posted`].
//!
//! This file has the register page; beside it: `priority` (IRR, ISR, TMR,
//! PPR), `command` (ICR), `timer`, `local` (LVT and LINT pins), `base`
//! (APIC_BASE and x2APIC), `state` (the KVM ABI's layout).
//!
//! AMD APM vol. 2, ch. 16: 16.3 (registers), 16.4 (local interrupts), 16.5
//! (IPI), 16.6 (handling), 16.9-16.13 (x2APIC). The register page is kept as
//! an array of 64 words, always up to date, so that a read is an index; the
//! one exception is the current count, which needs the clock. Clocks are
//! passed as closures: they are called only if the register needs them.

mod base;
mod command;
mod local;
mod priority;
mod registers;
mod state;
mod timer;

pub use base::{ApicBase, InvalidAccess};
pub use local::{LintEffect, Pin};
pub use timer::Deadline;

use crate::message::Message;
use registers::*;
use timer::Timer;

/// What a register write asks of the VM outside of this LAPIC. A new pending
/// vector is no effect: ask [`Lapic::pending_vector`] before every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// Deliver an inter-processor interrupt (to oneself too, where the
    /// destinations name the sender).
    Send(Message),
    /// A level-triggered vector has ended: tell the I/O APIC.
    EndOfInterrupt(u8),
    /// [`Lapic::deadline`] has changed.
    Timer,
    /// [`Lapic::identity`] has changed: build a new destination map.
    Identity,
}

/// How this LAPIC compares logical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// It is disabled in APIC_BASE and receives nothing.
    Disabled,
    /// Eight bits, one a CPU.
    Flat,
    /// Four bits of cluster number, four bits of members.
    Cluster,
    /// By APIC ID.
    X2apic,
}

/// What the destination map must know of a LAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// APIC ID.
    pub id: u32,
    /// Logical destination register; bits 31:24 count in flat and cluster
    /// model.
    pub ldr: u32,
    /// The model.
    pub model: Model,
}

/// A local APIC, as the thread of its vCPU sees it.
#[derive(Clone, Debug)]
pub struct Lapic {
    regs: [u32; 64],
    /// Highest bit of IRR and ISR, 0 for none (vector 0 cannot be there).
    irr_top: u8,
    isr_top: u8,
    /// A bit for each of the eight words of IRR and ISR that is not 0.
    irr_words: u8,
    isr_words: u8,
    /// Errors since the last write to ESR.
    errors: u32,
    id: u32,
    base: ApicBase,
    timer: Timer,
    tsc_deadline_offered: bool,
    x2apic_offered: bool,
}

impl Lapic {
    /// The LAPIC of the vCPU with this APIC ID (below 255), after power-up.
    /// `bootstrap`: it belongs to the bootstrap processor.
    pub fn new(id: u32, bootstrap: bool) -> Self {
        let mut lapic = Self {
            regs: [0; 64],
            irr_top: 0,
            isr_top: 0,
            irr_words: 0,
            isr_words: 0,
            errors: 0,
            id,
            base: ApicBase::power_up(bootstrap),
            timer: Timer::default(),
            tsc_deadline_offered: false,
            x2apic_offered: false,
        };
        lapic.reset();
        lapic
    }

    /// Tells which optional parts the guest's CPUID promises.
    pub fn offer(&mut self, x2apic: bool, tsc_deadline: bool) {
        self.x2apic_offered = x2apic;
        self.tsc_deadline_offered = tsc_deadline;
    }

    /// What INIT does (16.3.2): all registers but the APIC ID and APIC_BASE.
    /// The bootstrap processor's LINT0 comes up as ExtINT, the state in which
    /// firmware leaves it, because the KVM ABI promises that to monitors that
    /// boot a kernel without firmware. Deadline and identity may have changed.
    pub fn reset(&mut self) {
        self.regs = [0; 64];
        self.regs[VERSION] = VERSION_VALUE;
        self.regs[DFR] = u32::MAX;
        self.regs[SPURIOUS] = 0xff;
        self.regs[LVT_TIMER..=LVT_ERROR].fill(LVT_MASKED);
        if self.base.is_bootstrap() {
            self.regs[LVT_LINT0] = 7 << 8;
        }
        self.errors = 0;
        self.timer = Timer::default();
        self.refresh_identity();
        self.refresh_caches();
    }

    /// Reads the register at `offset` of the page. Reserved offsets read 0.
    #[inline]
    pub fn read(&self, offset: u32, clock: impl FnOnce() -> u64) -> u32 {
        let slot = (offset >> 4) as usize;
        if slot == CURRENT_COUNT {
            return self.current_count(clock());
        }
        match self.regs.get(slot) {
            Some(&value) => value,
            None => 0,
        }
    }

    /// Writes the register at `offset` of the page. Reserved and read-only
    /// offsets ignore it.
    #[inline]
    pub fn write(&mut self, offset: u32, value: u32, clock: impl FnOnce() -> u64) -> Effect {
        match (offset >> 4) as usize {
            EOI => self.end_of_interrupt(),
            ICR => self.command(value),
            ICR_HIGH => {
                self.regs[ICR_HIGH] = value & 0xff00_0000;
                Effect::None
            }
            TPR => {
                self.set_tpr(value as u8);
                Effect::None
            }
            slot => self.write_rare(slot, value, clock()),
        }
    }

    /// All other registers: those that a running kernel seldom writes, and
    /// those of the timer, which need the clock.
    fn write_rare(&mut self, slot: usize, value: u32, now: u64) -> Effect {
        match slot {
            INITIAL_COUNT => self.set_initial_count(value, now),
            DIVIDE => self.set_divide(value, now),
            LDR => self.set_logical(LDR, value & 0xff00_0000),
            DFR => self.set_logical(DFR, value | 0x0fff_ffff),
            LVT_TIMER => self.set_lvt_timer(value, now),
            LVT_THERMAL..=LVT_ERROR => {
                self.set_lvt(slot, value);
                Effect::None
            }
            SPURIOUS => self.set_spurious(value),
            ESR => {
                self.regs[ESR] = self.errors;
                self.errors = 0;
                Effect::None
            }
            _ => Effect::None,
        }
    }

    fn set_logical(&mut self, slot: usize, value: u32) -> Effect {
        if self.base.is_x2apic() || self.regs[slot] == value {
            return Effect::None;
        }
        self.regs[slot] = value;
        Effect::Identity
    }

    fn set_spurious(&mut self, value: u32) -> Effect {
        self.regs[SPURIOUS] = value & SPURIOUS_WRITABLE;
        if self.is_software_enabled() {
            return Effect::None;
        }
        for lvt in &mut self.regs[LVT_TIMER..=LVT_ERROR] {
            *lvt |= LVT_MASKED;
        }
        Effect::Timer
    }

    /// Whether the guest has enabled it in the spurious-vector register. If
    /// not, it accepts no vectors, but keeps those it has.
    #[inline]
    pub fn is_software_enabled(&self) -> bool {
        self.regs[SPURIOUS] & SPURIOUS_ENABLE != 0
    }

    /// The vector for an interrupt that has gone before it was acknowledged.
    #[inline]
    pub fn spurious_vector(&self) -> u8 {
        self.regs[SPURIOUS] as u8
    }

    /// What the destination map must know.
    pub fn identity(&self) -> Identity {
        let model = if !self.base.is_enabled() {
            Model::Disabled
        } else if self.base.is_x2apic() {
            Model::X2apic
        } else if self.regs[DFR] >> 28 == 0xf {
            Model::Flat
        } else {
            Model::Cluster
        };
        Identity {
            id: self.id,
            ldr: self.regs[LDR],
            model,
        }
    }

    /// Puts ID and (x2APIC) LDR into the page in the format of the mode.
    fn refresh_identity(&mut self) {
        if self.base.is_x2apic() {
            self.regs[ID] = self.id;
            self.regs[LDR] = self.id >> 4 << 16 | 1 << (self.id & 0xf);
        } else {
            self.regs[ID] = self.id << 24;
        }
    }

    /// An error for ESR, and the error interrupt if the guest wants one.
    #[cold]
    fn report_error(&mut self, error: u32) {
        let news = self.errors & error == 0;
        self.errors |= error;
        let lvt = self.regs[LVT_ERROR];
        // A bad vector in the error entry itself must not report without end.
        if news && lvt & LVT_MASKED == 0 && lvt as u8 >= FIRST_VECTOR {
            self.accept(lvt as u8, false);
        }
    }
}

#[cfg(test)]
mod tests;
