//! APIC_BASE, and the registers as MSRs in x2APIC mode.
//!
//! AMD APM vol. 2, 16.3.1 "Local APIC Enable", 16.9 "Detecting and Enabling
//! x2APIC Mode", 16.11 "Accessing x2APIC Registers".

use super::registers::*;
use super::{Effect, Lapic};

/// A WRMSR or RDMSR that raises #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAccess;

/// The MSR IA32_APIC_BASE (0x1b).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApicBase(u64);

impl ApicBase {
    const BOOTSTRAP: u64 = 1 << 8;
    const X2APIC: u64 = 1 << 10;
    const ENABLED: u64 = 1 << 11;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    const DEFINED: u64 = Self::BOOTSTRAP | Self::X2APIC | Self::ENABLED | Self::ADDRESS;
    const MODE: u64 = Self::X2APIC | Self::ENABLED;

    pub(super) const fn power_up(bootstrap: bool) -> Self {
        Self(0xfee0_0000 | Self::ENABLED | if bootstrap { Self::BOOTSTRAP } else { 0 })
    }

    /// The MSR's value.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Guest-physical address of the register page.
    pub const fn address(self) -> u64 {
        self.0 & Self::ADDRESS
    }

    /// The LAPIC is on.
    #[inline]
    pub const fn is_enabled(self) -> bool {
        self.0 & Self::ENABLED != 0
    }

    /// Registers are MSRs, not a page.
    #[inline]
    pub const fn is_x2apic(self) -> bool {
        self.0 & Self::X2APIC != 0
    }

    /// This CPU booted the machine.
    pub const fn is_bootstrap(self) -> bool {
        self.0 & Self::BOOTSTRAP != 0
    }

    /// Off to on, on to x2APIC, and anything to off. Other ways raise #GP.
    const fn may_become(self, new: Self) -> bool {
        match new.0 & Self::MODE {
            Self::X2APIC => false,
            Self::ENABLED => !self.is_x2apic(),
            Self::MODE => self.is_enabled(),
            _ => true,
        }
    }
}

/// Bit n: MSR 0x800 + n can be read (16.11, table 16-6).
const READABLE: u64 = {
    let status = 0xff_ffff << ISR;
    let lvt = 0x3f << LVT_TIMER;
    let timer = 1 << INITIAL_COUNT | 1 << CURRENT_COUNT | 1 << DIVIDE;
    let control = 1 << TPR | 1 << PPR | 1 << LDR | 1 << SPURIOUS | 1 << ESR | 1 << ICR;
    1 << ID | 1 << VERSION | control | status | lvt | timer
};

/// Bit n: MSR 0x800 + n can be written.
const WRITABLE: u64 = {
    let lvt = 0x3f << LVT_TIMER;
    let timer = 1 << INITIAL_COUNT | 1 << DIVIDE;
    let control = 1 << TPR | 1 << EOI | 1 << SPURIOUS | 1 << ESR | 1 << ICR | 1 << SELF_IPI;
    control | lvt | timer
};

impl Lapic {
    /// IA32_APIC_BASE.
    #[inline]
    pub fn base(&self) -> ApicBase {
        self.base
    }

    /// The page's address, if there is a page: on, and not in x2APIC mode.
    #[inline]
    pub fn page(&self) -> Option<u64> {
        (self.base.0 & ApicBase::MODE == ApicBase::ENABLED).then(|| self.base.address())
    }

    /// The guest writes IA32_APIC_BASE.
    ///
    /// # Errors
    /// #GP for undefined bits, for x2APIC mode where it is not offered, and
    /// for a change of mode that must go through another.
    pub fn set_base(&mut self, value: u64) -> Result<Effect, InvalidAccess> {
        let new = ApicBase(value);
        let offered = self.x2apic_offered || !new.is_x2apic();
        if value & !ApicBase::DEFINED != 0 || !offered || !self.base.may_become(new) {
            return Err(InvalidAccess);
        }
        Ok(self.restore_base(value))
    }

    /// A monitor restores IA32_APIC_BASE: any mode from any mode.
    pub fn restore_base(&mut self, value: u64) -> Effect {
        let old = self.base;
        self.base = ApicBase(value & ApicBase::DEFINED);
        if (old.0 ^ self.base.0) & ApicBase::MODE == 0 {
            return Effect::None;
        }
        if !self.base.is_enabled() {
            self.reset();
        } else if old.is_x2apic() != self.base.is_x2apic() {
            self.regs[ICR_HIGH] = 0;
            if old.is_x2apic() {
                self.regs[LDR] = 0;
            }
        }
        self.refresh_identity();
        Effect::Identity
    }

    /// The guest reads MSR 0x800 to 0x8ff.
    ///
    /// # Errors
    /// #GP outside x2APIC mode and for registers that cannot be read.
    #[inline]
    pub fn read_msr(&self, msr: u32, clock: impl FnOnce() -> u64) -> Result<u64, InvalidAccess> {
        let slot = self.msr_slot(msr, READABLE)?;
        let low = u64::from(self.read((slot as u32) << 4, clock));
        if slot == ICR {
            return Ok(low | u64::from(self.regs[ICR_HIGH]) << 32);
        }
        Ok(low)
    }

    /// The guest writes MSR 0x800 to 0x8ff.
    ///
    /// # Errors
    /// #GP outside x2APIC mode, for registers that cannot be written, and for
    /// bits that must be 0.
    #[inline]
    pub fn write_msr(
        &mut self,
        msr: u32,
        value: u64,
        clock: impl FnOnce() -> u64,
    ) -> Result<Effect, InvalidAccess> {
        let slot = self.msr_slot(msr, WRITABLE)?;
        let allowed = match slot {
            ICR => u64::MAX,
            EOI | ESR => 0,
            TPR | SELF_IPI => 0xff,
            _ => 0xffff_ffff,
        };
        if value & !allowed != 0 {
            return Err(InvalidAccess);
        }
        Ok(match slot {
            ICR => self.command_x2apic(value),
            SELF_IPI => self.send_to_self(value as u8),
            _ => self.write((slot as u32) << 4, value as u32, clock),
        })
    }

    #[inline]
    fn msr_slot(&self, msr: u32, possible: u64) -> Result<usize, InvalidAccess> {
        let slot = msr.wrapping_sub(0x800);
        if self.base.is_x2apic() && slot < 64 && possible >> slot & 1 != 0 {
            Ok(slot as usize)
        } else {
            Err(InvalidAccess)
        }
    }
}
