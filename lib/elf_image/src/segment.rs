//! Segments: the parts of a file that become memory. Follows gABI, "Program Header".

use elf::abi;
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::parse::ParseAt;
use elf::segment::ProgramHeader;

use crate::PAGE_SIZE;
use crate::header::PHDR_SIZE;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// One `PT_LOAD`, checked: its sums do not overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Byte offset in the file.
    pub file_offset: u64,
    /// First address, as the file states it (relative in a relocatable image).
    pub vaddr: u64,
    /// Bytes taken from the file.
    pub file_size: u64,
    /// Bytes in memory, at least `file_size` and above 0; the rest is zero.
    pub mem_size: u64,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
}

impl Segment {
    pub(crate) fn of(raw: &ProgramHeader) -> Self {
        Self {
            file_offset: raw.p_offset,
            vaddr: raw.p_vaddr,
            file_size: raw.p_filesz,
            mem_size: raw.p_memsz,
            read: raw.p_flags & abi::PF_R != 0,
            write: raw.p_flags & abi::PF_W != 0,
            execute: raw.p_flags & abi::PF_X != 0,
        }
    }

    /// The address after the last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.vaddr + self.mem_size
    }

    /// The start of the first page touched.
    #[must_use]
    pub const fn page_start(&self) -> u64 {
        self.vaddr & !(PAGE_SIZE - 1)
    }

    /// The end of the last page touched.
    #[must_use]
    pub const fn page_end(&self) -> u64 {
        (self.end() + (PAGE_SIZE - 1)) & !(PAGE_SIZE - 1)
    }

    /// Where the part that comes from the file ends and zeroes begin.
    #[must_use]
    pub const fn file_end(&self) -> u64 {
        self.vaddr + self.file_size
    }

    /// The file offset that belongs to [`Segment::page_start`].
    #[must_use]
    pub const fn page_offset(&self) -> u64 {
        self.file_offset & !(PAGE_SIZE - 1)
    }
}

/// The thread-local template, `PT_TLS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Byte offset in the file.
    pub file_offset: u64,
    /// First address, as the file states it.
    pub vaddr: u64,
    /// Bytes of initial data.
    pub file_size: u64,
    /// Bytes per thread.
    pub mem_size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
}

/// All program headers of a table, undigested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawHeaders<'a> {
    table: &'a [u8],
    next: u16,
}

impl<'a> RawHeaders<'a> {
    pub(crate) const fn new(table: &'a [u8]) -> Self {
        Self { table, next: 0 }
    }
}

impl Iterator for RawHeaders<'_> {
    type Item = (u16, ProgramHeader);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        let mut at = usize::from(index) * PHDR_SIZE as usize;
        let raw = ProgramHeader::parse_at(LittleEndian, Class::ELF64, &mut at, self.table).ok()?;
        self.next = index.checked_add(1)?;
        Some((index, raw))
    }
}

/// The loadable segments of an image by ascending address.
#[derive(Clone, Debug)]
pub struct Segments<'a>(pub(crate) RawHeaders<'a>);

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        self.0
            .find(|(_, raw)| is_load(raw))
            .map(|(_, raw)| Segment::of(&raw))
    }
}

/// Whether a header describes memory; one of no size does not.
pub(crate) fn is_load(raw: &ProgramHeader) -> bool {
    raw.p_type == abi::PT_LOAD && raw.p_memsz != 0
}
