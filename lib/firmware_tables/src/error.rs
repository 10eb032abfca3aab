//! [`TableError`]: why firmware's tables, or one of them, cannot be used.

use core::fmt;

use boot_info::Unreadable;

use crate::Signature;

/// Why a table is not used. The kernel can go on without most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// No root pointer was given and none was found.
    NoRootPointer,
    /// What stands at the address is not a valid root pointer.
    BadRootPointer(u64),
    /// A table lies in memory that cannot be read.
    Memory(Unreadable),
    /// The table's length cannot be right.
    Length {
        /// The table.
        signature: Signature,
        /// The length its header states, in bytes.
        length: u32,
    },
    /// The bytes do not sum up to zero.
    Checksum(Signature),
    /// The table at the address bears another name than wanted.
    Signature {
        /// What was wanted.
        wanted: Signature,
        /// What stands there.
        found: Signature,
    },
    /// Firmware offers no such table.
    Missing(Signature),
    /// A field or entry of the table has no meaning.
    Malformed {
        /// The table.
        signature: Signature,
        /// Offset of the entry from the table's start, in bytes.
        offset: usize,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRootPointer => f.write_str("No ACPI root pointer was found"),
            Self::BadRootPointer(address) => {
                write!(f, "No valid ACPI root pointer stands at {address:#x}")
            }
            Self::Memory(error) => error.fmt(f),
            Self::Length { signature, length } => {
                write!(
                    f,
                    "ACPI table {signature} has an impossible length of {length} bytes"
                )
            }
            Self::Checksum(signature) => {
                write!(
                    f,
                    "ACPI table {signature} is damaged: its checksum is wrong"
                )
            }
            Self::Signature { wanted, found } => {
                write!(f, "ACPI table {found} stands where {wanted} should be")
            }
            Self::Missing(signature) => write!(f, "Firmware offers no ACPI table {signature}"),
            Self::Malformed { signature, offset } => {
                write!(
                    f,
                    "ACPI table {signature} makes no sense at offset {offset:#x}"
                )
            }
        }
    }
}

impl core::error::Error for TableError {}

impl From<Unreadable> for TableError {
    fn from(error: Unreadable) -> Self {
        Self::Memory(error)
    }
}
