//! A program's memory as [`Sink`] and [`Source`]: one range, or a scatter list.

use crate::{Result, Sink, Source};
use abi::fs::Iovec;

/// A program's memory, reached by address. Address spaces implement it.
pub trait UserMemory {
    /// Copies from the program.
    ///
    /// # Errors
    /// `EFAULT` where any byte is not readable.
    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<()>;
    /// Copies to the program.
    ///
    /// # Errors
    /// `EFAULT` where any byte is not writable.
    fn write_user(&self, address: u64, from: &[u8]) -> Result<()>;
}

/// A position in a scatter list.
struct Cursor<'a> {
    current: Iovec,
    rest: &'a [Iovec],
    left: usize,
}

impl<'a> Cursor<'a> {
    fn range(base: u64, len: usize) -> Self {
        Self {
            current: Iovec {
                base,
                len: len as u64,
            },
            rest: &[],
            left: len,
        }
    }

    fn list(list: &'a [Iovec]) -> Self {
        let left = list
            .iter()
            .fold(0, |sum: u64, piece| sum.saturating_add(piece.len));
        Self {
            current: Iovec::default(),
            rest: list,
            left: left as usize,
        }
    }

    /// The piece at the front, up to `len` bytes; `None` at the end.
    #[inline]
    fn front(&mut self, len: usize) -> Option<(u64, usize)> {
        while self.current.len == 0 {
            let (first, rest) = self.rest.split_first()?;
            self.current = *first;
            self.rest = rest;
        }
        Some((self.current.base, len.min(self.current.len as usize)))
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        self.current.base = self.current.base.wrapping_add(len as u64);
        self.current.len -= len as u64;
        self.left -= len;
    }
}

/// A program's buffer that a read fills.
pub struct UserSink<'a, M: UserMemory + ?Sized> {
    memory: &'a M,
    cursor: Cursor<'a>,
}

impl<'a, M: UserMemory + ?Sized> UserSink<'a, M> {
    /// One range.
    pub fn new(memory: &'a M, address: u64, len: usize) -> Self {
        Self {
            memory,
            cursor: Cursor::range(address, len),
        }
    }

    /// A scatter list, whose length the caller has checked to fit `isize`.
    pub fn scattered(memory: &'a M, list: &'a [Iovec]) -> Self {
        Self {
            memory,
            cursor: Cursor::list(list),
        }
    }
}

impl<M: UserMemory + ?Sized> Sink for UserSink<'_, M> {
    #[inline]
    fn room(&self) -> usize {
        self.cursor.left
    }
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        // Nearly always one piece takes it all.
        if bytes.len() as u64 <= self.cursor.current.len {
            self.memory.write_user(self.cursor.current.base, bytes)?;
            self.cursor.advance(bytes.len());
            return Ok(bytes.len());
        }
        self.put_pieces(bytes)
    }
}

impl<M: UserMemory + ?Sized> UserSink<'_, M> {
    #[cold]
    fn put_pieces(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let Some((address, len)) = self.cursor.front(bytes.len() - done) else {
                break;
            };
            self.memory.write_user(address, &bytes[done..done + len])?;
            self.cursor.advance(len);
            done += len;
        }
        Ok(done)
    }
}

/// A program's buffer that a write reads.
pub struct UserSource<'a, M: UserMemory + ?Sized> {
    memory: &'a M,
    cursor: Cursor<'a>,
}

impl<'a, M: UserMemory + ?Sized> UserSource<'a, M> {
    /// One range.
    pub fn new(memory: &'a M, address: u64, len: usize) -> Self {
        Self {
            memory,
            cursor: Cursor::range(address, len),
        }
    }

    /// A scatter list, whose length the caller has checked to fit `isize`.
    pub fn scattered(memory: &'a M, list: &'a [Iovec]) -> Self {
        Self {
            memory,
            cursor: Cursor::list(list),
        }
    }
}

impl<M: UserMemory + ?Sized> Source for UserSource<'_, M> {
    #[inline]
    fn left(&self) -> usize {
        self.cursor.left
    }
    #[inline]
    fn take(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.len() as u64 <= self.cursor.current.len {
            self.memory.read_user(self.cursor.current.base, into)?;
            self.cursor.advance(into.len());
            return Ok(into.len());
        }
        self.take_pieces(into)
    }
}

impl<M: UserMemory + ?Sized> UserSource<'_, M> {
    #[cold]
    fn take_pieces(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < into.len() {
            let Some((address, len)) = self.cursor.front(into.len() - done) else {
                break;
            };
            self.memory
                .read_user(address, &mut into[done..done + len])?;
            self.cursor.advance(len);
            done += len;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;
    use alloc::vec;
    use alloc::vec::Vec;
    use sync::SpinLock;

    /// Memory of 100 bytes from address 1000.
    struct Memory(SpinLock<Vec<u8>>);

    impl Memory {
        fn range(address: u64, len: usize) -> Result<core::ops::Range<usize>> {
            let start = address.checked_sub(1000).ok_or(Errno::EFAULT)? as usize;
            if start + len > 100 {
                Err(Errno::EFAULT)
            } else {
                Ok(start..start + len)
            }
        }
    }

    impl UserMemory for Memory {
        fn read_user(&self, address: u64, into: &mut [u8]) -> Result<()> {
            let range = Self::range(address, into.len())?;
            into.copy_from_slice(&self.0.lock()[range]);
            Ok(())
        }
        fn write_user(&self, address: u64, from: &[u8]) -> Result<()> {
            let range = Self::range(address, from.len())?;
            self.0.lock()[range].copy_from_slice(from);
            Ok(())
        }
    }

    #[test]
    fn scatter_lists_are_filled_and_read_in_order() {
        let memory = Memory(SpinLock::new(vec![0; 100]));
        let list = [(1000, 2), (0, 0), (1010, 3)].map(|(base, len)| Iovec { base, len });
        let mut sink = UserSink::scattered(&memory, &list);
        assert_eq!(
            (sink.room(), sink.put(b"abc"), sink.put(b"defg")),
            (5, Ok(3), Ok(2))
        );
        assert_eq!(&memory.0.lock()[..13], b"ab\0\0\0\0\0\0\0\0cde");
        let mut source = UserSource::scattered(&memory, &list);
        let mut bytes = [0; 8];
        assert_eq!((source.take(&mut bytes), source.left()), (Ok(5), 0));
        assert_eq!(&bytes[..5], b"abcde");
    }

    #[test]
    fn bad_memory_is_efault() {
        let memory = Memory(SpinLock::new(vec![0; 100]));
        assert_eq!(
            UserSink::new(&memory, 1098, 4).put(b"abcd"),
            Err(Errno::EFAULT)
        );
        assert_eq!(
            UserSource::new(&memory, 5, 4).take(&mut [0; 4]),
            Err(Errno::EFAULT)
        );
    }
}
