//! The XSAVE standard format (APM volume 2, 11.5): the legacy region, the
//! header and where each component lies is told by CPUID leaf 0Dh.

/// Bytes of the legacy region.
pub const LEGACY_SIZE: usize = 512;
/// Bytes of the header that follows it.
pub const HEADER_SIZE: usize = 64;
/// Offset of XSTATE_BV in the area.
pub const XSTATE_BV: usize = 512;
/// Offset of XCOMP_BV in the area; zero in the standard format.
pub const XCOMP_BV: usize = 520;
/// Offset of the upper halves of the YMM registers.
pub const AVX_OFFSET: usize = 576;
/// Bytes of the area with x87, SSE and AVX.
pub const AVX_END: usize = 832;

/// Offsets in the legacy region (APM volume 2, figure "FXSAVE/FXRSTOR image").
pub mod legacy {
    /// u16: x87 control word.
    pub const FCW: usize = 0;
    /// u16: x87 status word.
    pub const FSW: usize = 2;
    /// u8: abridged tag word.
    pub const FTW: usize = 4;
    /// u16: last opcode.
    pub const FOP: usize = 6;
    /// u64: last instruction pointer.
    pub const RIP: usize = 8;
    /// u64: last data pointer.
    pub const RDP: usize = 16;
    /// u32: MXCSR.
    pub const MXCSR: usize = 24;
    /// u32: MXCSR bits that may be set.
    pub const MXCSR_MASK: usize = 28;
    /// Eight x87 registers of 16 bytes.
    pub const ST0: usize = 32;
    /// Sixteen XMM registers of 16 bytes.
    pub const XMM0: usize = 160;
}

/// x87 control word after reset of the unit.
pub const FCW_RESET: u16 = 0x037F;
/// MXCSR after reset.
pub const MXCSR_RESET: u32 = 0x1F80;
