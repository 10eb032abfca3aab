//! The length of an instruction whose opcode the exit code names.
//!
//! Processors without next-RIP saving report that CPUID was intercepted, but
//! not how many bytes it has: prefixes are allowed in front. [`known_length`]
//! skips them and checks the opcode, so that a guest that rewrites the bytes
//! in between gets `None`, not a wrong length.
//!
//! Which exits name an opcode: AMD APM vol. 2, appendix C "SVM Intercept Exit
//! Codes"; the encodings: vol. 3, appendix A.

use crate::prefix::{CodeSize, Fetched, Prefixes};

/// An instruction that an exit code names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// CPUID.
    Cpuid,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// HLT.
    Hlt,
    /// PAUSE.
    Pause,
    /// RDTSC. Some emulated processors report RDTSCP by RDTSC's exit code: on
    /// `None` try [`Known::Rdtscp`].
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// RDPMC.
    Rdpmc,
    /// INVD.
    Invd,
    /// WBINVD, WBNOINVD.
    Wbinvd,
    /// INVLPG.
    Invlpg,
    /// INVLPGA.
    Invlpga,
    /// CLTS.
    Clts,
    /// LMSW.
    Lmsw,
    /// SMSW.
    Smsw,
    /// MOV from or to a control register.
    MovCr,
    /// MOV from or to a debug register.
    MovDr,
    /// XSETBV.
    Xsetbv,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// VMMCALL.
    Vmmcall,
    /// VMRUN.
    Vmrun,
    /// VMLOAD.
    Vmload,
    /// VMSAVE.
    Vmsave,
    /// STGI.
    Stgi,
    /// CLGI.
    Clgi,
    /// SKINIT.
    Skinit,
    /// PUSHF.
    Pushf,
    /// POPF.
    Popf,
    /// IRET.
    Iret,
    /// INT with a vector.
    Int,
    /// INT1 (ICEBP).
    Icebp,
    /// RSM.
    Rsm,
    /// SLDT.
    Sldt,
    /// STR.
    Str,
    /// LLDT.
    Lldt,
    /// LTR.
    Ltr,
    /// SGDT.
    Sgdt,
    /// SIDT.
    Sidt,
    /// LGDT.
    Lgdt,
    /// LIDT.
    Lidt,
}

/// What follows the named opcode byte.
enum Form {
    /// One-byte opcode.
    One(u8),
    /// One-byte opcode and a constant byte.
    OneAndByte(u8),
    /// 0F and this.
    Two(u8),
    /// 0F, this with bit 1 ignored, and a ModRM byte that names registers.
    TwoAndRegisters(u8),
    /// 0F 01 and this.
    Three(u8),
    /// 0F, this, and a ModRM operand with this register field.
    Group(u8, u8),
}

impl Known {
    #[inline]
    const fn form(self) -> Form {
        match self {
            Self::Hlt => Form::One(0xf4),
            Self::Pause => Form::One(0x90),
            Self::Pushf => Form::One(0x9c),
            Self::Popf => Form::One(0x9d),
            Self::Iret => Form::One(0xcf),
            Self::Icebp => Form::One(0xf1),
            Self::Int => Form::OneAndByte(0xcd),
            Self::Clts => Form::Two(0x06),
            Self::Invd => Form::Two(0x08),
            Self::Wbinvd => Form::Two(0x09),
            Self::Wrmsr => Form::Two(0x30),
            Self::Rdtsc => Form::Two(0x31),
            Self::Rdmsr => Form::Two(0x32),
            Self::Rdpmc => Form::Two(0x33),
            Self::Cpuid => Form::Two(0xa2),
            Self::Rsm => Form::Two(0xaa),
            Self::MovCr => Form::TwoAndRegisters(0x20),
            Self::MovDr => Form::TwoAndRegisters(0x21),
            Self::Monitor => Form::Three(0xc8),
            Self::Mwait => Form::Three(0xc9),
            Self::Xsetbv => Form::Three(0xd1),
            Self::Vmrun => Form::Three(0xd8),
            Self::Vmmcall => Form::Three(0xd9),
            Self::Vmload => Form::Three(0xda),
            Self::Vmsave => Form::Three(0xdb),
            Self::Stgi => Form::Three(0xdc),
            Self::Clgi => Form::Three(0xdd),
            Self::Skinit => Form::Three(0xde),
            Self::Invlpga => Form::Three(0xdf),
            Self::Rdtscp => Form::Three(0xf9),
            Self::Sldt => Form::Group(0x00, 0),
            Self::Str => Form::Group(0x00, 1),
            Self::Lldt => Form::Group(0x00, 2),
            Self::Ltr => Form::Group(0x00, 3),
            Self::Sgdt => Form::Group(0x01, 0),
            Self::Sidt => Form::Group(0x01, 1),
            Self::Lgdt => Form::Group(0x01, 2),
            Self::Lidt => Form::Group(0x01, 3),
            Self::Smsw => Form::Group(0x01, 4),
            Self::Lmsw => Form::Group(0x01, 6),
            Self::Invlpg => Form::Group(0x01, 7),
        }
    }

    /// A register operand makes it another instruction.
    const fn memory_only(self) -> bool {
        matches!(
            self,
            Self::Sgdt | Self::Sidt | Self::Lgdt | Self::Lidt | Self::Invlpg
        )
    }
}

/// The length of `known` at the start of `fetched`; `None` if the bytes say
/// something else.
#[inline]
pub fn known_length(known: Known, fetched: &Fetched, size: CodeSize) -> Option<u8> {
    let prefixes = Prefixes::scan(fetched, size);
    if matches!(known, Known::Pause) && !prefixes.repeat() {
        return None;
    }
    let start = prefixes.opcode;
    let form = known.form();
    let first = match form {
        Form::One(byte) | Form::OneAndByte(byte) => byte,
        _ => 0x0f,
    };
    if fetched.at(start) != first {
        return None;
    }
    let length = match form {
        Form::One(_) => 1,
        Form::OneAndByte(_) => 2,
        Form::Two(byte) => (fetched.at(start + 1) == byte).then_some(2)?,
        Form::TwoAndRegisters(byte) => (fetched.at(start + 1) & !2 == byte).then_some(3)?,
        Form::Three(byte) => (fetched.array(start + 1) == [0x01, byte]).then_some(3)?,
        Form::Group(byte, field) => {
            let [second, modrm] = fetched.array(start + 1);
            let register = modrm >= 0xc0 && known.memory_only();
            if second != byte || modrm >> 3 & 7 != field || register {
                return None;
            }
            2 + prefixes.modrm_length(fetched, start + 2, size)
        }
    };
    fetched.covers(start + length)
}

/// A move between a general-purpose and a control or debug register, for
/// processors whose exit does not name the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMove {
    /// Bytes of the instruction.
    pub length: u8,
    /// Number of the control or debug register.
    pub number: u8,
    /// Number of the general-purpose register.
    pub gpr: u8,
    /// The control or debug register is written.
    pub write: bool,
}

/// Decodes [`Known::MovCr`] or [`Known::MovDr`]. LOCK is how code outside of
/// 64-bit mode reaches CR8 (AMD APM vol. 3, "MOV CRn").
pub fn control_move(known: Known, fetched: &Fetched, size: CodeSize) -> Option<ControlMove> {
    let Form::TwoAndRegisters(_) = known.form() else {
        return None;
    };
    let length = known_length(known, fetched, size)?;
    let prefixes = Prefixes::scan(fetched, size);
    let [opcode, modrm] = fetched.array(prefixes.opcode + 1);
    let extended = prefixes.rex & 4 != 0 || prefixes.lock() && known == Known::MovCr;
    Some(ControlMove {
        length,
        number: modrm >> 3 & 7 | u8::from(extended) << 3,
        gpr: modrm & 7 | (prefixes.rex & 1) << 3,
        write: opcode & 2 != 0,
    })
}
