//! Loading an ELF image's segments into an address space.

use crate::Result;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use elf_image::{Header, Image, Limits, Segment};
use hal::mem::Prot;
use mem::{MIN_ADDRESS, MapFlags, MapKind, PAGE, Space, USER_END};
use vfs::{OpenFile, SliceSink};

const LIMITS: Limits = Limits {
    start: MIN_ADDRESS,
    end: USER_END,
};

/// A program file, its headers read.
pub(crate) struct ProgramFile {
    pub file: Arc<OpenFile>,
    len: u64,
    first: Vec<u8>,
    table: Vec<u8>,
}

/// Where an image came to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub entry: u64,
    pub base: u64,
    pub program_headers: u64,
    pub header_count: u64,
}

/// Reads up to `into.len()` bytes at `offset`; returns how many there were.
pub(crate) fn read_at(file: &OpenFile, offset: u64, into: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < into.len() {
        let count = file.read_at(offset + done as u64, &mut SliceSink::new(&mut into[done..]))?;
        if count == 0 {
            break;
        }
        done += count;
    }
    Ok(done)
}

impl ProgramFile {
    /// Reads the headers of `file`; `None` where it is no ELF file.
    pub fn read(file: Arc<OpenFile>, first: Vec<u8>) -> Result<Option<Self>> {
        if !first.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let len = file.file().metadata().size;
        let header = Header::parse(&first, len).map_err(|error| error.errno())?;
        let table = match header.table_in(&first) {
            Some(table) => table.to_vec(),
            None => {
                let range = header.table();
                let mut table = vec![0; range.len as usize];
                let count = read_at(&file, range.offset, &mut table)?;
                table.truncate(count);
                table
            }
        };
        Ok(Some(Self {
            file,
            len,
            first,
            table,
        }))
    }

    /// The checked image.
    pub fn image(&self) -> Result<Image<'_>> {
        let header = Header::parse(&self.first, self.len).map_err(|error| error.errno())?;
        Image::with_table(header, &self.table, self.len, &LIMITS).map_err(|error| error.errno())
    }

    /// The path of the interpreter it asks for.
    pub fn interpreter(&self) -> Result<Option<Vec<u8>>> {
        let Some(range) = self.image()?.interpreter() else {
            return Ok(None);
        };
        let mut path = vec![0; range.len as usize];
        let count = read_at(&self.file, range.offset, &mut path)?;
        path.truncate(count);
        while path.last() == Some(&0) {
            path.pop();
        }
        Ok(Some(path))
    }

    /// Maps every segment, `base` above the addresses in the file.
    pub fn load(&self, space: &Space, base: u64) -> Result<Loaded> {
        let image = self.image()?;
        for segment in image.segments() {
            self.map_segment(space, base, &segment)?;
        }
        Ok(Loaded {
            entry: base + image.entry(),
            base,
            program_headers: image.phdr_vaddr().map_or(0, |address| base + address),
            header_count: u64::from(image.header().phdr_count),
        })
    }

    fn map_segment(&self, space: &Space, base: u64, segment: &Segment) -> Result<()> {
        let prot = prot_of(segment);
        let start = base + segment.page_start();
        let file_pages = (segment.file_end() - segment.page_start()).next_multiple_of(PAGE);
        if segment.file_size != 0 {
            let kind = MapKind::Object {
                object: self.file.file().mmap().map_err(|_| Errno::ENOEXEC)?,
                offset: segment.page_offset(),
                shared: false,
                may_write: false,
            };
            space.mmap(start, file_pages, prot, kind, MapFlags::FIXED_NOREPLACE)?;
        }
        let zeros_from = if segment.file_size == 0 {
            start
        } else {
            start + file_pages
        };
        let end = base + segment.page_end();
        if end > zeros_from {
            let kind = MapKind::Anonymous { shared: false };
            space.mmap(
                zeros_from,
                end - zeros_from,
                prot,
                kind,
                MapFlags::FIXED_NOREPLACE,
            )?;
        }
        // The file's last page goes on with other contents, where the program
        // expects zeros.
        if segment.write && segment.mem_size > segment.file_size && segment.file_size != 0 {
            let tail = base + segment.file_end();
            let len = (start + file_pages - tail) as usize;
            space.write(tail, &vec![0; len])?;
        }
        Ok(())
    }
}

fn prot_of(segment: &Segment) -> Prot {
    [
        (segment.read, Prot::READ),
        (segment.write, Prot::WRITE),
        (segment.execute, Prot::EXEC),
    ]
    .into_iter()
    .filter(|(allowed, _)| *allowed)
    .fold(Prot::NONE, |all, (_, one)| all | one)
}
