//! The ELF header: what kind of file it is and where its program headers are.
//! Follows gABI, "ELF Header".

use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParseError;

use crate::{ElfError, FileRange};

/// Size of one program header in a 64-bit file.
pub(crate) const PHDR_SIZE: u64 = 56;
/// Size of the ELF header of a 64-bit file.
const EHDR_SIZE: usize = 64;
/// The identification bytes at the start of every ELF file.
const IDENT_SIZE: usize = 16;
/// The largest program header table that is read, as on Linux.
const MAX_TABLE: u64 = 65536;

/// How the addresses in a file are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageType {
    /// `ET_EXEC`: addresses are final.
    Fixed,
    /// `ET_DYN`: addresses are relative to a base that the loader chooses.
    Relocatable,
}

/// A checked ELF header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Fixed or relocatable.
    pub image_type: ImageType,
    /// The entry point as the file states it.
    pub entry: u64,
    /// Number of program headers, at least 1.
    pub phdr_count: u16,
    /// File offset of the program header table.
    pub phdr_offset: u64,
}

impl Header {
    /// Reads the header from a file's first bytes.
    ///
    /// # Errors
    /// See [`ElfError`]; nothing after the ELF header is looked at.
    pub fn parse(first_bytes: &[u8], file_len: u64) -> Result<Self, ElfError> {
        let ident = first_bytes.get(..IDENT_SIZE).ok_or(ElfError::NotElf)?;
        if ident[..4] != abi::ELFMAGIC {
            return Err(ElfError::NotElf);
        }
        let ident = parse_ident::<LittleEndian>(ident).map_err(|e| match e {
            ParseError::BadMagic(_) => ElfError::NotElf,
            _ => ElfError::WrongMachine,
        })?;
        if ident.1 != Class::ELF64 {
            return Err(ElfError::WrongMachine);
        }
        let tail = first_bytes
            .get(IDENT_SIZE..EHDR_SIZE)
            .ok_or(ElfError::Truncated)?;
        let raw = FileHeader::parse_tail(ident, tail).map_err(|_| ElfError::Truncated)?;
        Self::check(&raw, file_len)
    }

    fn check(raw: &FileHeader<LittleEndian>, file_len: u64) -> Result<Self, ElfError> {
        if raw.e_machine != abi::EM_X86_64 || raw.version != u32::from(abi::EV_CURRENT) {
            return Err(ElfError::WrongMachine);
        }
        let image_type = match raw.e_type {
            abi::ET_EXEC => ImageType::Fixed,
            abi::ET_DYN => ImageType::Relocatable,
            _ => return Err(ElfError::WrongType),
        };
        let size = u64::from(raw.e_phnum) * PHDR_SIZE;
        if u64::from(raw.e_phentsize) != PHDR_SIZE || size == 0 || size > MAX_TABLE {
            return Err(ElfError::BadTable);
        }
        let end = raw.e_phoff.checked_add(size).ok_or(ElfError::BadTable)?;
        if end > file_len {
            return Err(ElfError::Truncated);
        }
        Ok(Self {
            image_type,
            entry: raw.e_entry,
            phdr_count: raw.e_phnum,
            phdr_offset: raw.e_phoff,
        })
    }

    /// Where in the file the program header table is; it lies within the file.
    #[must_use]
    pub fn table(&self) -> FileRange {
        FileRange {
            offset: self.phdr_offset,
            len: u64::from(self.phdr_count) * PHDR_SIZE,
        }
    }

    /// The program header table, if it lies within a file's `first_bytes`.
    #[must_use]
    pub fn table_in<'a>(&self, first_bytes: &'a [u8]) -> Option<&'a [u8]> {
        let table = self.table();
        let start = usize::try_from(table.offset).ok()?;
        let len = usize::try_from(table.len).ok()?;
        first_bytes.get(start..start.checked_add(len)?)
    }
}
