//! What an emulated instruction may touch: the traits [`Cpu`] and [`Bus`].
//!
//! The emulator sees registers and memory only through these two, so it is
//! tested without a virtual machine.

use crate::prefix::CodeSize;

/// A segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// ES.
    Es,
    /// CS.
    Cs,
    /// SS.
    Ss,
    /// DS.
    Ds,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

/// The hidden part of a segment register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentState {
    /// Where it begins.
    pub base: u64,
    /// The last valid offset.
    pub limit: u32,
}

/// A fault to be injected into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// Its error code, if that vector has one.
    pub error_code: Option<u32>,
    /// What CR2 becomes, for a page fault.
    pub address: Option<u64>,
}

impl Exception {
    /// #GP(0).
    pub const GENERAL_PROTECTION: Self = Self {
        vector: 13,
        error_code: Some(0),
        address: None,
    };
    /// #SS(0).
    pub const STACK: Self = Self {
        vector: 12,
        error_code: Some(0),
        address: None,
    };
}

/// The registers of a vCPU.
pub trait Cpu {
    /// General-purpose register 0 (RAX) to 15 (R15), all 64 bits.
    fn gpr(&self, number: u8) -> u64;
    /// Writes all 64 bits of one.
    fn set_gpr(&mut self, number: u8, value: u64);
    /// RIP, at the instruction.
    fn rip(&self) -> u64;
    /// Writes RIP.
    fn set_rip(&mut self, rip: u64);
    /// RFLAGS.
    fn rflags(&self) -> u64;
    /// Writes RFLAGS.
    fn set_rflags(&mut self, rflags: u64);
    /// A segment register's hidden part.
    fn segment(&self, segment: Segment) -> SegmentState;
}

/// How an access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Done.
    Done,
    /// Done, but the monitor must run before the next access: a string
    /// instruction stops after this element. (A write that was handed over.)
    Yield,
    /// Not done: the monitor must answer first. Emulate again after it did,
    /// and answer the same access with its data then.
    Pending,
}

/// Guest memory by linear address; devices are part of it.
///
/// An instruction that waits for the monitor is emulated again from its start
/// (of a string instruction: from the current element). Reads that are not
/// the one waited for must be repeatable until the instruction has retired.
pub trait Bus {
    /// Reads `data.len()` bytes (1, 2, 4 or 8).
    ///
    /// # Errors
    /// The fault of the translation (page fault, non-canonical address).
    fn read(&mut self, linear: u64, data: &mut [u8]) -> Result<Access, Exception>;

    /// Writes `data.len()` bytes (1, 2, 4 or 8).
    ///
    /// # Errors
    /// As for reads.
    fn write(&mut self, linear: u64, data: &[u8]) -> Result<Access, Exception>;
}

/// Moves RIP behind an instruction of `length` bytes.
#[inline]
pub fn advance(cpu: &mut impl Cpu, length: u8, size: CodeSize) {
    let rip = cpu.rip().wrapping_add(u64::from(length));
    cpu.set_rip(match size {
        CodeSize::Bits64 => rip,
        CodeSize::Bits32 => rip & 0xffff_ffff,
        CodeSize::Bits16 => rip & 0xffff,
    });
}
