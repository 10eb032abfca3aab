//! Listing directories: [`DirSink`], and [`DirentWriter`], which lays entries
//! out as getdents64(2) does.

use crate::{Errno, FileKind, Result, Sink};
use abi::fs::DirentHead;
use zerocopy::IntoBytes;

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub inode: u64,
    /// Where a listing goes on after this entry.
    pub next: u64,
    /// What it is.
    pub kind: FileKind,
    /// Its name.
    pub name: &'a [u8],
}

/// What a listing goes to. Called without locks that a reader's memory needs.
pub trait DirSink {
    /// Takes an entry; `false` where it does not fit, which ends the listing.
    fn entry(&mut self, entry: DirEntry<'_>) -> bool;
}

/// Lays out `struct linux_dirent64`.
pub struct DirentWriter<'a> {
    sink: &'a mut dyn Sink,
    written: usize,
    /// Position after the last entry taken.
    position: u64,
    error: Option<Errno>,
}

/// Largest entry: head, 255 bytes of name, a zero, padding.
const MAX_ENTRY: usize = 280;

impl<'a> DirentWriter<'a> {
    /// Writes to `sink`, for a listing that starts at `position`.
    pub fn new(sink: &'a mut dyn Sink, position: u64) -> Self {
        Self {
            sink,
            written: 0,
            position,
            error: None,
        }
    }

    /// Bytes written, and where the next listing starts.
    ///
    /// # Errors
    /// `EINVAL` where not even one entry fitted, `EFAULT`.
    pub fn finish(self) -> Result<(usize, u64)> {
        match self.error {
            Some(error) if self.written == 0 => Err(error),
            _ => Ok((self.written, self.position)),
        }
    }
}

impl DirSink for DirentWriter<'_> {
    fn entry(&mut self, entry: DirEntry<'_>) -> bool {
        let head_len = size_of::<DirentHead>();
        let len = (head_len + entry.name.len() + 1).next_multiple_of(8);
        if len > self.sink.room() || len > MAX_ENTRY {
            self.error = Some(Errno::EINVAL);
            return false;
        }
        let head = DirentHead {
            ino: entry.inode,
            off: entry.next as i64,
            reclen: len as u16,
            kind: entry.kind.dirent_kind(),
        };
        let mut bytes = [0; MAX_ENTRY];
        bytes[..head_len].copy_from_slice(head.as_bytes());
        bytes[head_len..head_len + entry.name.len()].copy_from_slice(entry.name);
        if let Err(error) = self.sink.put(&bytes[..len]) {
            self.error = Some(error);
            return false;
        }
        self.written += len;
        self.position = entry.next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VecSink;

    #[test]
    fn entries_are_padded_and_the_last_that_fits_ends_it() {
        let mut sink = VecSink::new(60);
        let mut writer = DirentWriter::new(&mut sink, 0);
        let entry = |next, name| DirEntry {
            inode: 7,
            next,
            kind: FileKind::Directory,
            name,
        };
        assert!(writer.entry(entry(1, b"a")));
        assert!(writer.entry(entry(2, b"abcd")));
        assert!(!writer.entry(entry(3, b"b")));
        assert_eq!(writer.finish(), Ok((48, 2)));
        assert_eq!(&sink.bytes[16..24], &[24, 0, 4, b'a', 0, 0, 0, 0]);
        let mut small = VecSink::new(10);
        let mut writer = DirentWriter::new(&mut small, 0);
        assert!(!writer.entry(entry(1, b"a")));
        assert_eq!(writer.finish(), Err(Errno::EINVAL));
    }
}
