//! Numbers of model-specific registers (APM volume 2, appendix A) and of the
//! paravirtual ones of the KVM interface.

macro_rules! msrs {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u32 = $number;)*
    };
}

msrs! {
    TSC = 0x10, "Time-stamp counter.";
    APIC_BASE = 0x1B, "Base address and mode of the local APIC.";
    FEATURE_CONTROL = 0x3A, "Feature control (Intel).";
    TSC_ADJUST = 0x3B, "Offset of the time-stamp counter.";
    SPEC_CTRL = 0x48, "Speculation control.";
    PRED_CMD = 0x49, "Prediction barrier.";
    BIOS_SIGN_ID = 0x8B, "Microcode revision.";
    MTRR_CAP = 0xFE, "What memory-type range registers exist.";
    ARCH_CAPABILITIES = 0x10A, "Which speculation issues do not apply.";
    SYSENTER_CS = 0x174, "Code selector of SYSENTER.";
    SYSENTER_ESP = 0x175, "Stack of SYSENTER.";
    SYSENTER_EIP = 0x176, "Entry of SYSENTER.";
    MCG_CAP = 0x179, "Machine-check banks.";
    MCG_STATUS = 0x17A, "Machine-check status.";
    MCG_CTL = 0x17B, "Machine-check control.";
    MISC_ENABLE = 0x1A0, "Miscellaneous features (Intel).";
    DEBUG_CTL = 0x1D9, "Debug control.";
    MTRR_PHYS_BASE0 = 0x200, "First variable memory-type range; base and mask alternate.";
    MTRR_FIX_64K = 0x250, "Fixed range, 64 KiB each.";
    MTRR_FIX_16K_0 = 0x258, "Fixed range, 16 KiB each.";
    MTRR_FIX_16K_1 = 0x259, "Fixed range, 16 KiB each.";
    MTRR_FIX_4K_0 = 0x268, "First of eight fixed ranges, 4 KiB each.";
    PAT = 0x277, "Page attribute table.";
    MTRR_DEF_TYPE = 0x2FF, "Default memory type.";
    MC0_CTL = 0x400, "First machine-check bank register.";
    X2APIC_FIRST = 0x800, "First x2APIC register.";
    X2APIC_LAST = 0x83F, "Last x2APIC register.";
    TSC_DEADLINE = 0x6E0, "Deadline of the local APIC's timer.";
    EFER = 0xC000_0080, "Extended features.";
    STAR = 0xC000_0081, "Selectors of SYSCALL.";
    LSTAR = 0xC000_0082, "Entry of SYSCALL, 64-bit.";
    CSTAR = 0xC000_0083, "Entry of SYSCALL, compatibility mode.";
    SFMASK = 0xC000_0084, "Flags that SYSCALL clears.";
    FS_BASE = 0xC000_0100, "Base of FS.";
    GS_BASE = 0xC000_0101, "Base of GS.";
    KERNEL_GS_BASE = 0xC000_0102, "What SWAPGS swaps in.";
    TSC_AUX = 0xC000_0103, "What RDTSCP returns in ECX.";
    EVENT_SELECT0 = 0xC001_0000, "First of four performance event selectors.";
    PERF_COUNTER0 = 0xC001_0004, "First of four performance counters.";
    SYSCFG = 0xC001_0010, "System configuration.";
    HWCR = 0xC001_0015, "Hardware configuration.";
    TOP_MEM2 = 0xC001_001D, "End of memory above 4 GiB.";
    NB_CFG = 0xC001_001F, "Northbridge configuration.";
    OSVW_ID_LENGTH = 0xC001_0140, "Number of errata that are described.";
    OSVW_STATUS = 0xC001_0141, "Which errata apply.";
    VM_CR = 0xC001_0114, "Whether SVM may be used.";
    IGNNE = 0xC001_0115, "Ignore numeric errors.";
    VM_HSAVE_PA = 0xC001_0117, "Where VMRUN keeps the host's state.";
    LS_CFG = 0xC001_1020, "Load-store configuration.";
    DC_CFG = 0xC001_1022, "Data cache configuration.";
    DE_CFG = 0xC001_1029, "Decode configuration.";
    BU_CFG2 = 0xC001_102A, "Bus unit configuration.";
    FAM10H_MMIO_CONF_BASE = 0xC001_0058, "Memory-mapped configuration space.";
    KVM_WALL_CLOCK = 0x11, "Paravirtual wall clock, old number.";
    KVM_SYSTEM_TIME = 0x12, "Paravirtual clock, old number.";
    KVM_WALL_CLOCK_NEW = 0x4B56_4D00, "Paravirtual wall clock.";
    KVM_SYSTEM_TIME_NEW = 0x4B56_4D01, "Paravirtual clock.";
}

/// VM_CR: VM_HSAVE_PA and EFER.SVME are locked.
pub const VM_CR_LOCK: u64 = 1 << 3;
/// VM_CR: EFER.SVME cannot be set.
pub const VM_CR_SVMDIS: u64 = 1 << 4;

/// APIC_BASE: this is the bootstrap processor.
pub const APIC_BASE_BSP: u64 = 1 << 8;
/// APIC_BASE: x2APIC mode.
pub const APIC_BASE_X2APIC: u64 = 1 << 10;
/// APIC_BASE: the local APIC is on.
pub const APIC_BASE_ENABLE: u64 = 1 << 11;
/// Where the local APIC's registers are after reset.
pub const APIC_BASE_DEFAULT: u64 = 0xFEE0_0000;
/// PAT after reset.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;
