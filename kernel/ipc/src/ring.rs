//! [`Ring`]: a queue of bytes that grows to a limit, charged to an account.

use alloc::vec::Vec;
use pages::{Account, Charge, PAGE_SIZE};
use vfs::{Result, Sink, Source};

/// A queue of bytes.
pub(crate) struct Ring {
    /// Its length is zero or a power of two, at least a page.
    bytes: Vec<u8>,
    /// Index of the first byte, not reduced to the length of `bytes`.
    start: usize,
    len: usize,
    capacity: usize,
    account: Account,
    charge: Option<Charge>,
}

impl Ring {
    /// An empty ring for up to `capacity` bytes, a power of two.
    pub fn new(capacity: usize, account: Account) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            len: 0,
            capacity,
            account,
            charge: None,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Changes the limit; `false` where more is in the ring.
    pub fn set_capacity(&mut self, capacity: usize) -> Result<bool> {
        if capacity < self.len {
            return Ok(false);
        }
        if capacity < self.bytes.len() {
            self.resize(capacity.max(PAGE_SIZE))?;
        }
        self.capacity = capacity;
        Ok(true)
    }

    /// Makes room for `more` bytes, which fit the capacity.
    #[inline]
    fn reserve(&mut self, more: usize) -> Result<()> {
        if self.len + more <= self.bytes.len() {
            return Ok(());
        }
        let size = (self.len + more).next_power_of_two().max(PAGE_SIZE);
        self.resize(size.min(self.capacity.max(PAGE_SIZE)))
    }

    #[cold]
    fn resize(&mut self, size: usize) -> Result<()> {
        // The old charge goes only after the new one has succeeded.
        let charge = self.account.charge((size / PAGE_SIZE) as u64)?;
        let mut bytes = alloc::vec![0; size];
        let (first, second) = self.filled(self.len);
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..self.len].copy_from_slice(second);
        self.bytes = bytes;
        self.start = 0;
        self.charge = Some(charge);
        Ok(())
    }

    /// The first `count` bytes, in up to two pieces.
    fn filled(&self, count: usize) -> (&[u8], &[u8]) {
        let size = self.bytes.len();
        if size == 0 {
            return (&[], &[]);
        }
        let at = self.start & (size - 1);
        let first = count.min(size - at);
        (&self.bytes[at..at + first], &self.bytes[..count - first])
    }

    /// Appends up to `count` bytes of `source`, which fit. A fault after some
    /// bytes is forgiven: they are in.
    #[inline]
    pub fn push(&mut self, source: &mut dyn Source, count: usize) -> Result<usize> {
        self.reserve(count)?;
        let at = (self.start + self.len) & (self.bytes.len().wrapping_sub(1));
        // Short messages lie in one piece.
        match self.bytes.get_mut(at..at + count) {
            Some(piece) => {
                let taken = source.take(piece)?;
                self.len += taken;
                Ok(taken)
            }
            None => self.push_pieces(source, count),
        }
    }

    #[cold]
    fn push_pieces(&mut self, source: &mut dyn Source, count: usize) -> Result<usize> {
        let size = self.bytes.len();
        let mut done = 0;
        while done < count {
            let at = (self.start + self.len) & (size - 1);
            let piece = (count - done).min(size - at);
            match source.take(&mut self.bytes[at..at + piece]) {
                Ok(0) => break,
                Ok(taken) => {
                    self.len += taken;
                    done += taken;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// As [`Ring::push`], but a fault takes everything back.
    pub fn push_all(&mut self, source: &mut dyn Source, count: usize) -> Result<()> {
        let done = self.push(source, count)?;
        if done < count {
            self.len -= done;
            return Err(abi::Errno::EFAULT);
        }
        Ok(())
    }

    /// Gives `sink` bytes from the front, leaving them there.
    #[inline]
    pub fn peek(&self, sink: &mut dyn Sink, count: usize) -> Result<usize> {
        let count = count.min(self.len).min(sink.room());
        let at = self.start & self.bytes.len().wrapping_sub(1);
        match self.bytes.get(at..at + count) {
            Some(piece) => sink.put(piece),
            None => self.peek_pieces(sink, count),
        }
    }

    #[cold]
    fn peek_pieces(&self, sink: &mut dyn Sink, count: usize) -> Result<usize> {
        let (first, second) = self.filled(count);
        let done = sink.put(first)?;
        Ok(done + sink.put(second).unwrap_or(0))
    }

    /// Drops bytes from the front.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.wrapping_add(count);
        self.len -= count;
        if self.len == 0 {
            // Short messages then stay in one piece, and in one cache line.
            self.start = 0;
        }
    }

    /// Gives `sink` bytes from the front.
    pub fn pop(&mut self, sink: &mut dyn Sink, count: usize) -> Result<usize> {
        let done = self.peek(sink, count)?;
        self.consume(done);
        Ok(done)
    }
}
