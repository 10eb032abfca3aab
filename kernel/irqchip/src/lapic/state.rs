//! The register page as `KVM_GET_LAPIC` and `KVM_SET_LAPIC` carry it.
//!
//! Besides the registers the page carries the count that is left of the timer.
//! APIC_BASE and IA32_TSC_DEADLINE travel as MSRs; take the posted vectors in
//! before saving, and set APIC_BASE before the page.

use super::Lapic;
use super::registers::*;
use abi::kvm_irqchip::LapicState;

impl Lapic {
    /// The page at time `now`. `wide_id`: in x2APIC mode the ID fills its
    /// register (`KVM_CAP_X2APIC_API` with 32-bit IDs); otherwise it is in
    /// bits 31:24 as in xAPIC mode.
    pub fn state(&self, now: u64, wide_id: bool) -> LapicState {
        let mut state = LapicState::default();
        for (slot, bytes) in state.regs.chunks_exact_mut(16).enumerate() {
            let value = match slot {
                CURRENT_COUNT => self.current_count(now),
                ID if self.base.is_x2apic() && !wide_id => self.id << 24,
                _ => self.regs[slot],
            };
            bytes[..4].copy_from_slice(&value.to_le_bytes());
        }
        state
    }

    /// Takes a page over at time `now`. The destination map must be built
    /// anew after this, and the deadline asked for. The version, and in
    /// x2APIC mode the ID, stay what they are; everything else is cut to what
    /// a guest could have written.
    pub fn set_state(&mut self, state: &LapicState, now: u64) {
        let mut page = [0; 64];
        for (value, bytes) in page.iter_mut().zip(state.regs.chunks_exact(16)) {
            *value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        // 255 is the broadcast address of xAPIC mode, never an ID.
        if !self.base.is_x2apic() && page[ID] >> 24 != 0xff {
            self.id = page[ID] >> 24;
        }
        self.regs = [0; 64];
        self.regs[VERSION] = VERSION_VALUE;
        self.regs[TPR] = page[TPR] & 0xff;
        self.regs[LDR] = page[LDR] & 0xff00_0000;
        self.regs[DFR] = page[DFR] | 0x0fff_ffff;
        self.regs[SPURIOUS] = page[SPURIOUS] & SPURIOUS_WRITABLE;
        self.regs[ISR..IRR + 8].copy_from_slice(&page[ISR..IRR + 8]);
        self.regs[ISR] &= !0xffff;
        self.regs[IRR] &= !0xffff;
        self.regs[ESR] = page[ESR];
        self.regs[ICR] = page[ICR];
        self.regs[ICR_HIGH] = page[ICR_HIGH];
        self.restore_lvt(&page);
        self.regs[INITIAL_COUNT] = page[INITIAL_COUNT];
        self.regs[CURRENT_COUNT] = page[CURRENT_COUNT];
        self.regs[DIVIDE] = page[DIVIDE] & 0xb;
        self.errors = 0;
        self.refresh_identity();
        self.refresh_caches();
        self.restart_timer(now);
    }

    /// LVT entries as they were. Not through `set_lvt`: after reset LINT0 can
    /// be unmasked while the LAPIC is software-disabled.
    fn restore_lvt(&mut self, page: &[u32; 64]) {
        self.regs[LVT_TIMER] = page[LVT_TIMER] & (0xff | LVT_MASKED | LVT_PERIODIC);
        if self.tsc_deadline_offered {
            self.regs[LVT_TIMER] |= page[LVT_TIMER] & LVT_TSC_DEADLINE;
        }
        let others = LVT_THERMAL..=LVT_ERROR;
        for (lvt, saved) in self.regs[others.clone()].iter_mut().zip(&page[others]) {
            *lvt = saved & 0x1_afff;
        }
    }
}
