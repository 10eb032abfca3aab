//! SVM exit codes (APM volume 2, appendix C).

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u64 = $number;)*
    };
}

codes! {
    READ_CR0 = 0x00, "First of sixteen reads of a control register.";
    WRITE_CR0 = 0x10, "First of sixteen writes of a control register.";
    WRITE_CR8 = 0x18, "Write of the task priority.";
    READ_DR0 = 0x20, "First of sixteen reads of a debug register.";
    WRITE_DR0 = 0x30, "First of sixteen writes of a debug register.";
    EXCEPTION0 = 0x40, "First of thirty-two exceptions.";
    INTR = 0x60, "Physical interrupt.";
    NMI = 0x61, "Physical NMI.";
    SMI = 0x62, "Physical SMI.";
    INIT = 0x63, "Physical INIT.";
    VINTR = 0x64, "The guest can take a virtual interrupt.";
    CR0_SELECTIVE = 0x65, "CR0 write that changes more than TS and MP.";
    RDTSC = 0x6E, "RDTSC.";
    RDPMC = 0x6F, "RDPMC.";
    PUSHF = 0x70, "PUSHF.";
    POPF = 0x71, "POPF.";
    CPUID = 0x72, "CPUID.";
    RSM = 0x73, "RSM.";
    IRET = 0x74, "IRET.";
    INT = 0x75, "INT n.";
    INVD = 0x76, "INVD.";
    PAUSE = 0x77, "PAUSE.";
    HLT = 0x78, "HLT.";
    INVLPG = 0x79, "INVLPG.";
    INVLPGA = 0x7A, "INVLPGA.";
    IOIO = 0x7B, "IN, OUT, INS, OUTS.";
    MSR = 0x7C, "RDMSR (EXITINFO1 = 0) or WRMSR (1).";
    TASK_SWITCH = 0x7D, "Task switch.";
    FERR_FREEZE = 0x7E, "FERR freeze.";
    SHUTDOWN = 0x7F, "Triple fault.";
    VMRUN = 0x80, "VMRUN.";
    VMMCALL = 0x81, "VMMCALL.";
    VMLOAD = 0x82, "VMLOAD.";
    VMSAVE = 0x83, "VMSAVE.";
    STGI = 0x84, "STGI.";
    CLGI = 0x85, "CLGI.";
    SKINIT = 0x86, "SKINIT.";
    RDTSCP = 0x87, "RDTSCP.";
    ICEBP = 0x88, "ICEBP.";
    WBINVD = 0x89, "WBINVD.";
    MONITOR = 0x8A, "MONITOR.";
    MWAIT = 0x8B, "MWAIT.";
    MWAIT_ARMED = 0x8C, "MWAIT with the monitor armed.";
    XSETBV = 0x8D, "XSETBV.";
    RDPRU = 0x8E, "RDPRU.";
    NESTED_FAULT = 0x400, "Nested page fault.";
    INVALID = 0xFFFF_FFFF_FFFF_FFFF, "The guest state in the VMCB is not valid.";
}

/// EXITINFO1 of IOIO.
pub mod ioio {
    /// IN (1) or OUT (0).
    pub const IN: u64 = 1 << 0;
    /// INS or OUTS.
    pub const STRING: u64 = 1 << 2;
    /// REP prefix.
    pub const REP: u64 = 1 << 3;
    /// Operand of one byte.
    pub const SIZE8: u64 = 1 << 4;
    /// Operand of two bytes.
    pub const SIZE16: u64 = 1 << 5;
    /// Operand of four bytes.
    pub const SIZE32: u64 = 1 << 6;
    /// Addresses of 16 bits.
    pub const ADDRESS16: u64 = 1 << 7;
    /// Addresses of 32 bits.
    pub const ADDRESS32: u64 = 1 << 8;
    /// Addresses of 64 bits.
    pub const ADDRESS64: u64 = 1 << 9;
    /// Shift of the segment number (three bits: ES, CS, SS, DS, FS, GS).
    pub const SEGMENT_SHIFT: u32 = 10;
    /// Shift of the port.
    pub const PORT_SHIFT: u32 = 16;
}
