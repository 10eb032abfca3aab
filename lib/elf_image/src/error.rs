//! Why a file is not run, and which error number execve(2) gives for it.

use abi::Errno;

/// A reason to refuse an ELF file. `index` counts program headers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElfError {
    /// The file does not begin with the ELF magic number.
    NotElf,
    /// The file ends inside its ELF header or its program header table.
    Truncated,
    /// Not a 64-bit little-endian file for x86-64, or an unknown ELF version.
    WrongMachine,
    /// Neither `ET_EXEC` nor `ET_DYN`.
    WrongType,
    /// The program header table is empty, oversized or has entries of a foreign size.
    BadTable,
    /// The program header table lies beyond the bytes that were given.
    TableElsewhere,
    /// There is nothing to load.
    NoSegment,
    /// More than one `PT_INTERP`.
    SecondInterpreter,
    /// The interpreter's path is empty, too long or outside the file.
    BadInterpreter,
    /// A segment's part of the file reaches past the end of the file.
    OutsideFile {
        /// The program header.
        index: u16,
    },
    /// A segment has more bytes in the file than in memory.
    FileLargerThanMemory {
        /// The program header.
        index: u16,
    },
    /// A segment's alignment is not a power of two or above [`crate::Limits::MAX_ALIGN`],
    /// or its address and file offset differ modulo the page size.
    Misaligned {
        /// The program header.
        index: u16,
    },
    /// A segment's end wraps around the address space.
    Wraps {
        /// The program header.
        index: u16,
    },
    /// A segment overlaps, shares a page with, or precedes the one before it.
    Overlaps {
        /// The program header.
        index: u16,
    },
    /// A segment of a fixed-address file lies outside the addresses of programs.
    OutsideUserRange {
        /// The program header.
        index: u16,
    },
    /// The whole image is larger than the addresses of programs.
    TooLarge,
    /// The entry point is in no executable segment.
    EntryOutside,
    /// The thread-local template lies in no loadable segment, or there are two.
    BadTls,
}

impl ElfError {
    /// The error number of execve(2) when the program itself is at fault.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::SecondInterpreter => Errno::EINVAL,
            Self::OutsideUserRange { .. } | Self::TooLarge | Self::Wraps { .. } => Errno::ENOMEM,
            _ => Errno::ENOEXEC,
        }
    }

    /// The error number of execve(2) when the interpreter that a program
    /// names is at fault.
    #[must_use]
    pub const fn errno_as_interpreter(self) -> Errno {
        match self.errno() {
            Errno::ENOMEM => Errno::ENOMEM,
            _ => Errno::ELIBBAD,
        }
    }
}

impl core::fmt::Display for ElfError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::Truncated => f.write_str("the file ends inside its headers"),
            Self::WrongMachine => f.write_str("not an ELF64 file for x86-64"),
            Self::WrongType => f.write_str("neither an executable nor a shared object"),
            Self::BadTable => f.write_str("malformed program header table"),
            Self::TableElsewhere => {
                f.write_str("the program header table is too far into the file")
            }
            Self::NoSegment => f.write_str("no loadable segment"),
            Self::SecondInterpreter => f.write_str("more than one interpreter"),
            Self::BadInterpreter => f.write_str("malformed interpreter path"),
            Self::OutsideFile { index } => {
                write!(f, "program header {index} reaches past the end of the file")
            }
            Self::FileLargerThanMemory { index } => {
                write!(
                    f,
                    "program header {index} has more bytes in the file than in memory"
                )
            }
            Self::Misaligned { index } => write!(f, "program header {index} is misaligned"),
            Self::Wraps { index } => {
                write!(f, "program header {index} wraps around the address space")
            }
            Self::Overlaps { index } => {
                write!(f, "program header {index} overlaps the segment before it")
            }
            Self::OutsideUserRange { index } => {
                write!(
                    f,
                    "program header {index} lies outside the addresses of programs"
                )
            }
            Self::TooLarge => f.write_str("larger than the address space of a program"),
            Self::EntryOutside => f.write_str("the entry point is in no executable segment"),
            Self::BadTls => f.write_str("malformed thread-local template"),
        }
    }
}

impl From<ElfError> for Errno {
    fn from(error: ElfError) -> Errno {
        error.errno()
    }
}
