//! The LAPIC's timer: one-shot, periodic and, if offered, TSC deadline.
//!
//! AMD APM vol. 2, 16.4.1 "APIC Timer Interrupt". It counts at 1 GHz before
//! the divider, so that one count is one nanosecond of the VM's clock. This
//! keeps no timer of the host: [`Lapic::deadline`] says when to call
//! [`Lapic::expire`].

use super::registers::*;
use super::{Effect, Lapic};

/// When the timer fires next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Never, as things are.
    Never,
    /// At this nanosecond of the VM's clock.
    At(u64),
    /// When the guest's TSC reaches this value.
    Tsc(u64),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    /// Nanosecond at which the count reaches 0; `None` if it does not run.
    expiry: Option<u64>,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    tsc_deadline: u64,
}

impl Lapic {
    fn divide_shift(&self) -> u32 {
        let value = self.regs[DIVIDE];
        // Encodings 0 to 6 divide by 2 to 128, encoding 7 by 1.
        ((value >> 1 & 4 | value & 3) + 1) & 7
    }

    fn period(&self) -> u64 {
        u64::from(self.regs[INITIAL_COUNT]) << self.divide_shift()
    }

    fn is_periodic(&self) -> bool {
        self.regs[LVT_TIMER] & LVT_PERIODIC != 0
    }

    fn is_tsc_deadline(&self) -> bool {
        self.regs[LVT_TIMER] & LVT_TSC_DEADLINE != 0
    }

    pub(super) fn current_count(&self, now: u64) -> u32 {
        let Some(expiry) = self.timer.expiry else {
            return 0;
        };
        let period = self.period();
        let left = if now < expiry {
            expiry - now
        } else if self.is_periodic() && period != 0 {
            period - (now - expiry) % period
        } else {
            0
        };
        u32::try_from(left >> self.divide_shift()).unwrap_or(u32::MAX)
    }

    pub(super) fn set_initial_count(&mut self, value: u32, now: u64) -> Effect {
        if self.is_tsc_deadline() {
            return Effect::None;
        }
        self.regs[INITIAL_COUNT] = value;
        self.timer.expiry = (value != 0).then(|| now.saturating_add(self.period()));
        Effect::Timer
    }

    /// The count goes on from where it is, at the new pace.
    pub(super) fn set_divide(&mut self, value: u32, now: u64) -> Effect {
        let left = self.current_count(now);
        self.regs[DIVIDE] = value & 0xb;
        self.start_at(left, now);
        Effect::Timer
    }

    fn start_at(&mut self, count: u32, now: u64) {
        if self.timer.expiry.is_some() {
            let left = u64::from(count) << self.divide_shift();
            self.timer.expiry = Some(now.saturating_add(left));
        }
    }

    pub(super) fn set_lvt_timer(&mut self, value: u32, now: u64) -> Effect {
        self.skip_missed(now);
        let old = self.regs[LVT_TIMER];
        let mut writable = 0xff | LVT_MASKED | LVT_PERIODIC;
        if self.tsc_deadline_offered {
            writable |= LVT_TSC_DEADLINE;
        }
        let mut new = value & writable;
        if !self.is_software_enabled() {
            new |= LVT_MASKED;
        }
        self.regs[LVT_TIMER] = new;
        if (old ^ new) & LVT_TSC_DEADLINE != 0 {
            self.timer = Timer::default();
            self.regs[INITIAL_COUNT] = 0;
        }
        Effect::Timer
    }

    /// A masked timer counts, but nobody calls for its expiries: drops those
    /// that have passed, so that unmasking does not deliver them.
    fn skip_missed(&mut self, now: u64) {
        if self.regs[LVT_TIMER] & LVT_MASKED != 0 {
            self.advance(now);
        }
    }

    /// Moves an expiry that has passed on to the next period, or stops.
    /// `true` if it had passed.
    fn advance(&mut self, now: u64) -> bool {
        let Some(expiry) = self.timer.expiry.filter(|&expiry| expiry <= now) else {
            return false;
        };
        let period = self.period();
        self.timer.expiry = (self.is_periodic() && period != 0).then(|| {
            let periods = (now - expiry) / period + 1;
            expiry.saturating_add(periods.saturating_mul(period))
        });
        true
    }

    /// When to call [`Lapic::expire`] (or, for a TSC value,
    /// [`Lapic::expire_tsc`]).
    #[inline]
    pub fn deadline(&self) -> Deadline {
        if self.regs[LVT_TIMER] & LVT_MASKED != 0 {
            return Deadline::Never;
        }
        match self.timer {
            Timer {
                tsc_deadline: 1.., ..
            } => Deadline::Tsc(self.timer.tsc_deadline),
            Timer {
                expiry: Some(at), ..
            } => Deadline::At(at),
            _ => Deadline::Never,
        }
    }

    /// Requests the timer's vector if its time has come. Periods that passed
    /// unnoticed collapse into one. `true` if it fired.
    pub fn expire(&mut self, now: u64) -> bool {
        self.advance(now) && self.fire()
    }

    /// The same for a deadline in TSC ticks.
    pub fn expire_tsc(&mut self, tsc: u64) -> bool {
        let deadline = self.timer.tsc_deadline;
        if deadline == 0 || tsc < deadline {
            return false;
        }
        self.timer.tsc_deadline = 0;
        self.fire()
    }

    fn fire(&mut self) -> bool {
        let lvt = self.regs[LVT_TIMER];
        if lvt & LVT_MASKED != 0 {
            return false;
        }
        self.accept(lvt as u8, false);
        true
    }

    /// IA32_TSC_DEADLINE; 0 if the timer is not in that mode.
    pub fn tsc_deadline(&self) -> u64 {
        self.timer.tsc_deadline
    }

    /// Writes IA32_TSC_DEADLINE: 0 disarms. Ignored in the other modes.
    pub fn set_tsc_deadline(&mut self, tsc: u64) -> Effect {
        if !self.is_tsc_deadline() {
            return Effect::None;
        }
        self.timer.tsc_deadline = tsc;
        Effect::Timer
    }

    /// Starts from the counts in the page, which a monitor has restored.
    pub(super) fn restart_timer(&mut self, now: u64) {
        let count = core::mem::take(&mut self.regs[CURRENT_COUNT]);
        let runs = count != 0 || self.is_periodic();
        let runs = runs && self.regs[INITIAL_COUNT] != 0 && !self.is_tsc_deadline();
        self.timer.expiry = runs.then_some(now);
        self.timer.tsc_deadline = 0;
        self.start_at(count, now);
    }
}
