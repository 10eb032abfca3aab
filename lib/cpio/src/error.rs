//! What can be wrong with an archive.

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Neither `070701` nor `070702` where a header should begin.
    BadMagic,
    /// A header field is not a hexadecimal number.
    BadNumber,
    /// The name is empty, longer than 4096 bytes, or does not end at its only zero byte.
    BadName,
    /// The archive ends inside an entry.
    Truncated,
    /// The archive ends without its trailer.
    NoTrailer,
}

/// A malformed archive: what, and at which byte the entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpioError {
    /// What is wrong.
    pub fault: Fault,
    /// Byte offset of the entry in the archive.
    pub offset: usize,
}

impl core::fmt::Display for CpioError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.fault {
            Fault::BadMagic => "no cpio header (newc)",
            Fault::BadNumber => "a header field is not hexadecimal",
            Fault::BadName => "malformed file name",
            Fault::Truncated => "the archive ends inside an entry",
            Fault::NoTrailer => "the archive ends without a trailer",
        };
        write!(f, "cpio archive, byte {}: {what}", self.offset)
    }
}
