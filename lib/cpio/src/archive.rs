//! The archive as a sequence of entries.

use crate::{CpioError, Entry, Fault};

const HEADER_SIZE: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
const MAX_NAME: usize = 4096;

/// Iterates over the entries of an archive. After the first error it ends.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    offset: usize,
    index: u32,
    done: bool,
}

impl<'a> Archive<'a> {
    /// An archive in memory.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            offset: 0,
            index: 0,
            done: false,
        }
    }

    /// The bytes of an entry of this archive.
    #[must_use]
    pub fn data(&self, entry: &Entry<'_>) -> &'a [u8] {
        self.bytes.get(entry.data.clone()).unwrap_or_default()
    }

    /// The first file whose stored path equals `name`, apart from a leading `/` or `./`.
    ///
    /// # Errors
    /// If the archive is malformed before such a file is found.
    pub fn find(&self, name: &[u8]) -> Result<Option<Entry<'a>>, CpioError> {
        let wanted = relative(name);
        for entry in Archive::new(self.bytes) {
            let entry = entry?;
            if relative(entry.name) == wanted {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The next entry or the trailer.
    fn read(&mut self) -> Result<Entry<'a>, Fault> {
        let rest = self.bytes.get(self.offset..).ok_or(Fault::NoTrailer)?;
        if rest.is_empty() {
            return Err(Fault::NoTrailer);
        }
        let with_sum = match rest.get(..6).ok_or(Fault::Truncated)? {
            b"070701" => false,
            b"070702" => true,
            _ => return Err(Fault::BadMagic),
        };
        let header = rest.get(6..HEADER_SIZE).ok_or(Fault::Truncated)?;
        let mut fields = [0u32; 13];
        for (field, digits) in fields.iter_mut().zip(header.chunks_exact(8)) {
            *field = number(digits).ok_or(Fault::BadNumber)?;
        }
        let [
            ino,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            size,
            major,
            minor,
            rmajor,
            rminor,
            name_size,
            sum,
        ] = fields;
        let name_start = self.offset + HEADER_SIZE;
        let name_end = advance(name_start, name_size)?;
        let name = self
            .bytes
            .get(name_start..name_end)
            .ok_or(Fault::Truncated)?;
        let data_start = align(name_end)?;
        let data_end = advance(data_start, size)?;
        if data_end > self.bytes.len() {
            return Err(Fault::Truncated);
        }
        self.offset = align(data_end)?;
        Ok(Entry {
            name: checked_name(name).ok_or(Fault::BadName)?,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            ino,
            dev: (major, minor),
            rdev: (rmajor, rminor),
            checksum: with_sum.then_some(sum),
            data: data_start..data_end,
            archive: self.index,
        })
    }

    /// After a trailer: whether another archive follows the padding.
    fn skip_to_next_archive(&mut self) -> bool {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let zeroes = rest.iter().take_while(|byte| **byte == 0).count();
        self.offset += zeroes;
        self.index = self.index.saturating_add(1);
        zeroes < rest.len()
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, CpioError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            let offset = self.offset;
            match self.read() {
                Ok(entry) if entry.name == TRAILER => self.done = !self.skip_to_next_archive(),
                Ok(entry) => return Some(Ok(entry)),
                Err(fault) => {
                    self.done = true;
                    return Some(Err(CpioError { fault, offset }));
                }
            }
        }
        None
    }
}

fn relative(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./")
        .or_else(|| name.strip_prefix(b"/"))
        .unwrap_or(name)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let nibble = (*digit as char).to_digit(16)?;
        Some(value << 4 | nibble)
    })
}

fn checked_name(name: &[u8]) -> Option<&[u8]> {
    let (last, name) = name.split_last()?;
    let good = *last == 0 && !name.is_empty() && name.len() < MAX_NAME && !name.contains(&0);
    good.then_some(name)
}

fn advance(offset: usize, by: u32) -> Result<usize, Fault> {
    usize::try_from(by)
        .ok()
        .and_then(|by| offset.checked_add(by))
        .ok_or(Fault::Truncated)
}

fn align(offset: usize) -> Result<usize, Fault> {
    offset.checked_next_multiple_of(4).ok_or(Fault::Truncated)
}
