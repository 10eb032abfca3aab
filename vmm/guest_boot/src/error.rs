//! [`BootError`]: why a kernel cannot be booted, in words for the operator.

use std::fmt;
use std::io;

/// Why loading failed. The message names the value and what is allowed; the
/// caller adds which file it was.
#[derive(Debug)]
pub enum BootError {
    /// The kernel file could not be read.
    ReadKernel(io::Error),
    /// The initrd could not be read.
    ReadInitrd(io::Error),
    /// Neither bzImage nor ELF.
    UnknownFormat,
    /// The file ends before what its header promises.
    KernelTruncated {
        /// Bytes the header promises.
        need: u64,
        /// Bytes in the file.
        have: u64,
    },
    /// A field of the kernel's header makes no sense or is not supported.
    BadHeader(&'static str),
    /// The kernel needs memory that the VM does not have.
    KernelTooLarge {
        /// First address after what the kernel needs.
        end: u64,
        /// First address after RAM (below the device hole).
        ram_end: u64,
    },
    /// The initrd does not fit between the kernel and the end of low memory.
    InitrdTooLarge {
        /// Bytes in the file.
        len: u64,
        /// Bytes of room.
        room: u64,
    },
    /// The command line is too long.
    CmdlineTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The command line contains a zero byte.
    CmdlineHasZero,
    /// The loader refused the image for another reason.
    Loader(linux_loader::loader::Error),
    /// Guest memory is missing where the loader must write.
    Memory(vm_memory::GuestMemoryError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match self {
            Self::ReadKernel(e) => write!(f, "the kernel cannot be read: {e}"),
            Self::ReadInitrd(e) => write!(f, "the initrd cannot be read: {e}"),
            Self::UnknownFormat => {
                write!(f, "the kernel is neither a bzImage nor an x86-64 ELF file")
            }
            Self::KernelTruncated { need, have } => {
                write!(
                    f,
                    "the kernel is truncated: its header promises {need} bytes, the file has {have}"
                )
            }
            Self::BadHeader(what) => write!(f, "the kernel cannot be booted: {what}"),
            Self::KernelTooLarge { end, ram_end } => write!(
                f,
                "the kernel needs memory up to {} MiB, the VM has {} MiB below 3 GiB",
                end.div_ceil(MIB),
                ram_end / MIB
            ),
            Self::InitrdTooLarge { len, room } => write!(
                f,
                "the initrd has {len} bytes, the VM's memory has room for {room} beside the kernel"
            ),
            Self::CmdlineTooLong { len, max } => {
                write!(
                    f,
                    "the command line has {len} bytes, at most {max} are allowed"
                )
            }
            Self::CmdlineHasZero => write!(f, "the command line contains a zero byte"),
            Self::Loader(e) => write!(f, "the kernel cannot be loaded: {e}"),
            Self::Memory(e) => write!(f, "guest memory is too small to boot: {e}"),
        }
    }
}

impl std::error::Error for BootError {}

impl From<vm_memory::GuestMemoryError> for BootError {
    fn from(error: vm_memory::GuestMemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<linux_loader::loader::Error> for BootError {
    fn from(error: linux_loader::loader::Error) -> Self {
        Self::Loader(error)
    }
}
