//! Numbers of LAPIC registers (offset in the page divided by 16, which is
//! also the x2APIC MSR number less 0x800) and bits inside them.
//!
//! AMD APM vol. 2, table 16-2 "APIC Registers".

pub(super) const ID: usize = 0x02;
pub(super) const VERSION: usize = 0x03;
pub(super) const TPR: usize = 0x08;
pub(super) const PPR: usize = 0x0a;
pub(super) const EOI: usize = 0x0b;
pub(super) const LDR: usize = 0x0d;
pub(super) const DFR: usize = 0x0e;
pub(super) const SPURIOUS: usize = 0x0f;
pub(super) const ISR: usize = 0x10;
pub(super) const TMR: usize = 0x18;
pub(super) const IRR: usize = 0x20;
pub(super) const ESR: usize = 0x28;
pub(super) const ICR: usize = 0x30;
pub(super) const ICR_HIGH: usize = 0x31;
pub(super) const LVT_TIMER: usize = 0x32;
pub(super) const LVT_THERMAL: usize = 0x33;
pub(super) const LVT_LINT0: usize = 0x35;
pub(super) const LVT_LINT1: usize = 0x36;
pub(super) const LVT_ERROR: usize = 0x37;
pub(super) const INITIAL_COUNT: usize = 0x38;
pub(super) const CURRENT_COUNT: usize = 0x39;
pub(super) const DIVIDE: usize = 0x3e;
pub(super) const SELF_IPI: usize = 0x3f;

/// Version 0x14 with six LVT entries.
pub(super) const VERSION_VALUE: u32 = 0x14 | 5 << 16;

pub(super) const SPURIOUS_ENABLE: u32 = 1 << 8;
pub(super) const SPURIOUS_WRITABLE: u32 = 0x3ff;

pub(super) const LVT_MASKED: u32 = 1 << 16;
pub(super) const LVT_PERIODIC: u32 = 1 << 17;
pub(super) const LVT_TSC_DEADLINE: u32 = 1 << 18;

/// Vectors below this are reserved for exceptions.
pub(super) const FIRST_VECTOR: u8 = 16;

pub(super) const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
pub(super) const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
