//! A program file that may be loaded. Follows gABI, "Program Loading".

use elf::abi;
use elf::segment::ProgramHeader;

use crate::segment::{RawHeaders, is_load};
use crate::{ElfError, FileRange, Header, ImageType, PAGE_SIZE, Segment, Segments, Tls};

/// The longest interpreter path with its terminating zero (`PATH_MAX`).
const MAX_INTERP: u64 = 4096;

/// The addresses that programs may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First address.
    pub start: u64,
    /// Address after the last, at most `u64::MAX - PAGE_SIZE`.
    pub end: u64,
}

impl Limits {
    /// The largest segment alignment that is granted, in bytes.
    pub const MAX_ALIGN: u64 = 1 << 30;
}

/// A checked program file; see the crate's text.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    header: Header,
    table: &'a [u8],
    span: (u64, u64),
    align: u64,
    interpreter: Option<FileRange>,
    executable_stack: Option<bool>,
    tls: Option<Tls>,
}

impl<'a> Image<'a> {
    /// Reads and checks an image whose program headers lie within the
    /// file's `first_bytes`, as every linker puts them.
    ///
    /// # Errors
    /// See [`ElfError`]; [`ElfError::TableElsewhere`] means that
    /// [`Image::with_table`] may still succeed.
    pub fn parse(first_bytes: &'a [u8], file_len: u64, limits: &Limits) -> Result<Self, ElfError> {
        let header = Header::parse(first_bytes, file_len)?;
        let table = header
            .table_in(first_bytes)
            .ok_or(ElfError::TableElsewhere)?;
        Self::with_table(header, table, file_len, limits)
    }

    /// Checks an image whose program header table was read separately from
    /// [`Header::table`].
    ///
    /// # Errors
    /// See [`ElfError`].
    pub fn with_table(
        header: Header,
        table: &'a [u8],
        file_len: u64,
        limits: &Limits,
    ) -> Result<Self, ElfError> {
        if table.len() as u64 != header.table().len {
            return Err(ElfError::Truncated);
        }
        let mut image = Self {
            header,
            table,
            span: (0, 0),
            align: PAGE_SIZE,
            interpreter: None,
            executable_stack: None,
            tls: None,
        };
        image.check_segments(file_len, limits)?;
        image.read_others(file_len)?;
        if !image
            .segments()
            .any(|s| s.execute && (s.vaddr..s.end()).contains(&header.entry))
        {
            return Err(ElfError::EntryOutside);
        }
        Ok(image)
    }

    fn check_segments(&mut self, file_len: u64, limits: &Limits) -> Result<(), ElfError> {
        let mut span: Option<(u64, u64)> = None;
        for (index, raw) in RawHeaders::new(self.table).filter(|(_, raw)| is_load(raw)) {
            let segment = check_segment(index, &raw, file_len)?;
            let (start, end) = (segment.page_start(), segment.page_end());
            if span.is_some_and(|(_, previous)| start < previous) {
                return Err(ElfError::Overlaps { index });
            }
            let fixed = self.header.image_type == ImageType::Fixed;
            if fixed && (start < limits.start || end > limits.end) {
                return Err(ElfError::OutsideUserRange { index });
            }
            span = Some((span.map_or(start, |(first, _)| first), end));
            self.align = self.align.max(raw.p_align);
        }
        self.span = span.ok_or(ElfError::NoSegment)?;
        if self.size() > limits.end.saturating_sub(limits.start) {
            return Err(ElfError::TooLarge);
        }
        Ok(())
    }

    fn read_others(&mut self, file_len: u64) -> Result<(), ElfError> {
        for (index, raw) in RawHeaders::new(self.table) {
            match raw.p_type {
                abi::PT_INTERP => self.set_interpreter(&raw, file_len)?,
                abi::PT_GNU_STACK => self.executable_stack = Some(raw.p_flags & abi::PF_X != 0),
                abi::PT_TLS => self.set_tls(index, &raw)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn set_interpreter(&mut self, raw: &ProgramHeader, file_len: u64) -> Result<(), ElfError> {
        if self.interpreter.is_some() {
            return Err(ElfError::SecondInterpreter);
        }
        let inside = raw
            .p_offset
            .checked_add(raw.p_filesz)
            .is_some_and(|end| end <= file_len);
        if !inside || !(2..=MAX_INTERP).contains(&raw.p_filesz) {
            return Err(ElfError::BadInterpreter);
        }
        self.interpreter = Some(FileRange {
            offset: raw.p_offset,
            len: raw.p_filesz,
        });
        Ok(())
    }

    /// A template of no size is kept: programs without thread-locals have one.
    fn set_tls(&mut self, index: u16, raw: &ProgramHeader) -> Result<(), ElfError> {
        if raw.p_filesz > raw.p_memsz {
            return Err(ElfError::FileLargerThanMemory { index });
        }
        let align = checked_align(raw).ok_or(ElfError::Misaligned { index })?;
        let end = raw
            .p_vaddr
            .checked_add(raw.p_filesz)
            .ok_or(ElfError::Wraps { index })?;
        let held = |s: Segment| s.vaddr <= raw.p_vaddr && end <= s.file_end();
        let loaded = raw.p_filesz == 0 || self.segments().any(held);
        if self.tls.is_some() || !loaded || raw.p_memsz > Limits::MAX_ALIGN {
            return Err(ElfError::BadTls);
        }
        self.tls = Some(Tls {
            file_offset: raw.p_offset,
            vaddr: raw.p_vaddr,
            file_size: raw.p_filesz,
            mem_size: raw.p_memsz,
            align,
        });
        Ok(())
    }

    /// The ELF header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The entry point as the file states it; it is in an executable segment.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.header.entry
    }

    /// Fixed or relocatable.
    #[must_use]
    pub const fn image_type(&self) -> ImageType {
        self.header.image_type
    }

    /// The loadable segments, by ascending address; no two share a page.
    #[must_use]
    pub const fn segments(&self) -> Segments<'a> {
        Segments(RawHeaders::new(self.table))
    }

    /// The page-aligned first address and end of all segments together.
    #[must_use]
    pub const fn span(&self) -> (u64, u64) {
        self.span
    }

    /// Bytes from the first page to the end of the last.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.span.1 - self.span.0
    }

    /// The alignment in bytes that a base for a relocatable image must have:
    /// the largest of its segments', at least a page.
    #[must_use]
    pub const fn align(&self) -> u64 {
        self.align
    }

    /// Where the interpreter's path, with its terminating zero, is in the file.
    #[must_use]
    pub const fn interpreter(&self) -> Option<FileRange> {
        self.interpreter
    }

    /// Whether the program asks for an executable stack; none if it does not say.
    #[must_use]
    pub const fn executable_stack(&self) -> Option<bool> {
        self.executable_stack
    }

    /// The thread-local template.
    #[must_use]
    pub const fn tls(&self) -> Option<Tls> {
        self.tls
    }

    /// The address of the program header table in memory as the file states
    /// addresses, for `AT_PHDR`; none if no segment loads it.
    #[must_use]
    pub fn phdr_vaddr(&self) -> Option<u64> {
        let table = self.header.table();
        self.segments().find_map(|s| {
            let into = table.offset.checked_sub(s.file_offset)?;
            (into + table.len <= s.file_size).then(|| s.vaddr + into)
        })
    }
}

/// A stated alignment of 0 means 1.
fn checked_align(raw: &ProgramHeader) -> Option<u64> {
    let align = raw.p_align.max(1);
    (align.is_power_of_two() && align <= Limits::MAX_ALIGN).then_some(align)
}

fn check_segment(index: u16, raw: &ProgramHeader, file_len: u64) -> Result<Segment, ElfError> {
    if raw.p_filesz > raw.p_memsz {
        return Err(ElfError::FileLargerThanMemory { index });
    }
    if raw
        .p_offset
        .checked_add(raw.p_filesz)
        .is_none_or(|end| end > file_len)
    {
        return Err(ElfError::OutsideFile { index });
    }
    let agree = raw.p_vaddr % PAGE_SIZE == raw.p_offset % PAGE_SIZE;
    if !agree || checked_align(raw).is_none() {
        return Err(ElfError::Misaligned { index });
    }
    let end = raw.p_vaddr.checked_add(raw.p_memsz);
    if end.is_none_or(|end| end > u64::MAX - PAGE_SIZE) {
        return Err(ElfError::Wraps { index });
    }
    Ok(Segment::of(raw))
}
