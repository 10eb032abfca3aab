//! The virtual machine control block (APM volume 2, appendix B): one page with
//! the control area and, at offset 400h, the state-save area. Main type:
//! [`Vmcb`]. Neighbours: [`crate::svm_exit`], [`crate::segment`].

use crate::segment::Segment;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The whole page.
#[repr(C, align(4096))]
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
pub struct Vmcb {
    /// What the hypervisor tells the processor, and exit information.
    pub control: Control,
    /// The guest's state.
    pub save: Save,
}

/// The control area.
#[repr(C)]
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
pub struct Control {
    /// Bits 15:0 reads of CR0 to CR15, bits 31:16 writes.
    pub intercept_cr: u32,
    /// Bits 15:0 reads of DR0 to DR15, bits 31:16 writes.
    pub intercept_dr: u32,
    /// One bit for each exception.
    pub intercept_exceptions: u32,
    /// [`intercept1`].
    pub intercept1: u32,
    /// [`intercept2`].
    pub intercept2: u32,
    /// Further instructions.
    pub intercept3: u32,
    reserved1: [u8; 0x3C - 0x18],
    /// Pause filter threshold.
    pub pause_filter_threshold: u16,
    /// Pause filter count.
    pub pause_filter_count: u16,
    /// Physical address of the port permission map (12 KiB).
    pub iopm_base_pa: u64,
    /// Physical address of the MSR permission map (8 KiB).
    pub msrpm_base_pa: u64,
    /// Added to the guest's TSC.
    pub tsc_offset: u64,
    /// Address space identifier; not 0.
    pub asid: u32,
    /// [`tlb_control`].
    pub tlb_control: u32,
    /// [`vintr`].
    pub vintr: u64,
    /// Bit 0: interrupts are held off for one instruction.
    pub interrupt_shadow: u64,
    /// Why the guest was left.
    pub exit_code: u64,
    /// Details of the exit.
    pub exit_info1: u64,
    /// Details of the exit.
    pub exit_info2: u64,
    /// The event whose delivery was cut short; format of [`event`].
    pub exit_int_info: u64,
    /// Bit 0: nested paging.
    pub np_enable: u64,
    /// AVIC base.
    pub avic_apic_bar: u64,
    reserved2: u64,
    /// The event to deliver at entry; format of [`event`].
    pub event_injection: u64,
    /// Root of the nested page table.
    pub nested_cr3: u64,
    /// LBR virtualization.
    pub lbr_control: u64,
    /// Which parts have not changed since the last entry.
    pub clean_bits: u32,
    reserved3: u32,
    /// The next RIP, where the processor saves it.
    pub next_rip: u64,
    /// How many instruction bytes follow, where the processor saves them.
    pub fetched_length: u8,
    /// Instruction bytes.
    pub fetched_bytes: [u8; 15],
    reserved4: [u8; 0x400 - 0xE0],
}

/// The state-save area.
#[repr(C)]
#[derive(Clone, FromBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "the fields are the processor's registers")]
pub struct Save {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    reserved1: [u8; 0xCB - 0xA0],
    pub cpl: u8,
    reserved2: u32,
    pub efer: u64,
    reserved3: [u8; 0x148 - 0xD8],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    reserved4: [u8; 0x1D8 - 0x180],
    pub rsp: u64,
    reserved5: [u8; 0x1F8 - 0x1E0],
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    reserved6: [u8; 0x268 - 0x248],
    pub pat: u64,
    pub debug_ctl: u64,
    pub br_from: u64,
    pub br_to: u64,
    pub last_exception_from: u64,
    pub last_exception_to: u64,
    reserved7: [u8; 0xC00 - 0x298],
}

/// Bits of `Control::intercept1`.
pub mod intercept1 {
    /// Physical interrupts.
    pub const INTR: u32 = 1 << 0;
    /// Physical NMIs.
    pub const NMI: u32 = 1 << 1;
    /// Physical SMIs.
    pub const SMI: u32 = 1 << 2;
    /// Physical INIT.
    pub const INIT: u32 = 1 << 3;
    /// The guest can take a virtual interrupt.
    pub const VINTR: u32 = 1 << 4;
    /// RDPMC.
    pub const RDPMC: u32 = 1 << 15;
    /// CPUID.
    pub const CPUID: u32 = 1 << 18;
    /// RSM.
    pub const RSM: u32 = 1 << 19;
    /// IRET.
    pub const IRET: u32 = 1 << 20;
    /// INVD.
    pub const INVD: u32 = 1 << 22;
    /// PAUSE.
    pub const PAUSE: u32 = 1 << 23;
    /// HLT.
    pub const HLT: u32 = 1 << 24;
    /// INVLPG.
    pub const INVLPG: u32 = 1 << 25;
    /// INVLPGA.
    pub const INVLPGA: u32 = 1 << 26;
    /// Ports, by the permission map.
    pub const IOIO: u32 = 1 << 27;
    /// MSRs, by the permission map.
    pub const MSR: u32 = 1 << 28;
    /// Task switches.
    pub const TASK_SWITCH: u32 = 1 << 29;
    /// FERR freeze.
    pub const FERR_FREEZE: u32 = 1 << 30;
    /// Triple faults.
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Bits of `Control::intercept2`.
pub mod intercept2 {
    /// VMRUN: must be set.
    pub const VMRUN: u32 = 1 << 0;
    /// VMMCALL.
    pub const VMMCALL: u32 = 1 << 1;
    /// VMLOAD.
    pub const VMLOAD: u32 = 1 << 2;
    /// VMSAVE.
    pub const VMSAVE: u32 = 1 << 3;
    /// STGI.
    pub const STGI: u32 = 1 << 4;
    /// CLGI.
    pub const CLGI: u32 = 1 << 5;
    /// SKINIT.
    pub const SKINIT: u32 = 1 << 6;
    /// ICEBP.
    pub const ICEBP: u32 = 1 << 8;
    /// WBINVD.
    pub const WBINVD: u32 = 1 << 9;
    /// MONITOR.
    pub const MONITOR: u32 = 1 << 10;
    /// MWAIT.
    pub const MWAIT: u32 = 1 << 11;
    /// MWAIT with the monitor armed.
    pub const MWAIT_ARMED: u32 = 1 << 12;
    /// XSETBV.
    pub const XSETBV: u32 = 1 << 13;
    /// RDPRU.
    pub const RDPRU: u32 = 1 << 14;
}

/// Values of `Control::tlb_control`.
pub mod tlb_control {
    /// Flush nothing.
    pub const NOTHING: u32 = 0;
    /// Flush all address spaces.
    pub const ALL: u32 = 1;
    /// Flush this guest's entries (with FLUSH_BY_ASID).
    pub const THIS_ASID: u32 = 3;
}

/// Bits of `Control::vintr`.
pub mod vintr {
    /// The guest's CR8.
    pub const TPR: u64 = 0xF;
    /// A virtual interrupt is pending.
    pub const IRQ: u64 = 1 << 8;
    /// Shift of the virtual interrupt's priority.
    pub const PRIORITY_SHIFT: u32 = 16;
    /// The priority is not compared with the TPR.
    pub const IGNORE_TPR: u64 = 1 << 20;
    /// Physical interrupts follow the host's RFLAGS.IF, CR8 is virtual.
    pub const MASKING: u64 = 1 << 24;
    /// Shift of the virtual interrupt's vector.
    pub const VECTOR_SHIFT: u32 = 32;
}

/// The format of `event_injection` and `exit_int_info`.
pub mod event {
    /// Vector.
    pub const VECTOR: u64 = 0xFF;
    /// Shift of the type.
    pub const TYPE_SHIFT: u32 = 8;
    /// Type: external or virtual interrupt.
    pub const INTERRUPT: u64 = 0;
    /// Type: NMI.
    pub const NMI: u64 = 2;
    /// Type: exception.
    pub const EXCEPTION: u64 = 3;
    /// Type: INT n.
    pub const SOFTWARE: u64 = 4;
    /// The error code counts.
    pub const ERROR_VALID: u64 = 1 << 11;
    /// The event counts.
    pub const VALID: u64 = 1 << 31;
    /// Shift of the error code.
    pub const ERROR_SHIFT: u32 = 32;
}

impl Vmcb {
    /// A page of zeroes.
    #[must_use]
    pub fn zeroed() -> Self {
        zerocopy::FromZeros::new_zeroed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn control_offsets_follow_table_b_1() {
        let fields = [
            (offset_of!(Control, intercept_cr), 0x000),
            (offset_of!(Control, intercept_dr), 0x004),
            (offset_of!(Control, intercept_exceptions), 0x008),
            (offset_of!(Control, intercept1), 0x00C),
            (offset_of!(Control, intercept2), 0x010),
            (offset_of!(Control, pause_filter_threshold), 0x03C),
            (offset_of!(Control, pause_filter_count), 0x03E),
            (offset_of!(Control, iopm_base_pa), 0x040),
            (offset_of!(Control, msrpm_base_pa), 0x048),
            (offset_of!(Control, tsc_offset), 0x050),
            (offset_of!(Control, asid), 0x058),
            (offset_of!(Control, tlb_control), 0x05C),
            (offset_of!(Control, vintr), 0x060),
            (offset_of!(Control, interrupt_shadow), 0x068),
            (offset_of!(Control, exit_code), 0x070),
            (offset_of!(Control, exit_info1), 0x078),
            (offset_of!(Control, exit_info2), 0x080),
            (offset_of!(Control, exit_int_info), 0x088),
            (offset_of!(Control, np_enable), 0x090),
            (offset_of!(Control, event_injection), 0x0A8),
            (offset_of!(Control, nested_cr3), 0x0B0),
            (offset_of!(Control, lbr_control), 0x0B8),
            (offset_of!(Control, clean_bits), 0x0C0),
            (offset_of!(Control, next_rip), 0x0C8),
            (offset_of!(Control, fetched_length), 0x0D0),
            (offset_of!(Control, fetched_bytes), 0x0D1),
            (size_of::<Control>(), 0x400),
        ];
        for (ours, manual) in fields {
            assert_eq!(ours, manual);
        }
    }

    #[test]
    fn save_offsets_follow_table_b_2() {
        let fields = [
            (offset_of!(Save, es), 0x000),
            (offset_of!(Save, tr), 0x090),
            (offset_of!(Save, cpl), 0x0CB),
            (offset_of!(Save, efer), 0x0D0),
            (offset_of!(Save, cr4), 0x148),
            (offset_of!(Save, cr3), 0x150),
            (offset_of!(Save, cr0), 0x158),
            (offset_of!(Save, dr7), 0x160),
            (offset_of!(Save, dr6), 0x168),
            (offset_of!(Save, rflags), 0x170),
            (offset_of!(Save, rip), 0x178),
            (offset_of!(Save, rsp), 0x1D8),
            (offset_of!(Save, rax), 0x1F8),
            (offset_of!(Save, star), 0x200),
            (offset_of!(Save, kernel_gs_base), 0x220),
            (offset_of!(Save, sysenter_cs), 0x228),
            (offset_of!(Save, cr2), 0x240),
            (offset_of!(Save, pat), 0x268),
            (offset_of!(Save, debug_ctl), 0x270),
            (offset_of!(Vmcb, save), 0x400),
            (size_of::<Vmcb>(), 0x1000),
        ];
        for (ours, manual) in fields {
            assert_eq!(ours, manual);
        }
    }
}
