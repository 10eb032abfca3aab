//! [`Sink`] and [`Source`]: where a read puts its bytes and a write takes them
//! from, and [`Io`], how it is to be done.
//!
//! The bytes of programs are reached through `user_memory`; a kernel caller uses
//! the slices here.

use crate::Result;
use alloc::vec::Vec;
use pages::Frame;

/// How one read or write is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Io {
    /// Position in a seekable file, in bytes. The file does not advance it; an
    /// appending write sets it to where the bytes went.
    pub offset: u64,
    /// Fail with `EAGAIN` instead of blocking.
    pub nonblock: bool,
    /// Write to the end.
    pub append: bool,
}

/// Bytes copied at once where memory has no slice.
const BOUNCE: usize = 256;

/// Where read bytes go. Never used with a spin lock held: it may fault and block.
pub trait Sink {
    /// Bytes that still fit.
    fn room(&self) -> usize;

    /// Appends what fits of `bytes` and returns how many those were.
    ///
    /// # Errors
    /// `EFAULT` where the memory is bad; what of `bytes` was copied is not known.
    fn put(&mut self, bytes: &[u8]) -> Result<usize>;

    /// Appends up to `len` bytes of a page.
    ///
    /// # Errors
    /// As [`Sink::put`].
    fn put_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> Result<usize> {
        let mut bounce = [0; BOUNCE];
        let len = len.min(self.room());
        let mut done = 0;
        while done < len {
            let part = &mut bounce[..(len - done).min(BOUNCE)];
            frame.read(offset + done, part);
            done += self.put(part)?;
        }
        Ok(done)
    }

    /// Appends up to `len` zeros.
    ///
    /// # Errors
    /// As [`Sink::put`].
    fn put_zeros(&mut self, len: usize) -> Result<usize> {
        let zeros = [0; BOUNCE];
        let len = len.min(self.room());
        let mut done = 0;
        while done < len {
            done += self.put(&zeros[..(len - done).min(BOUNCE)])?;
        }
        Ok(done)
    }
}

/// Where written bytes come from. Never used with a spin lock held.
pub trait Source {
    /// Bytes that are left.
    fn left(&self) -> usize;

    /// Fills the front of `into` with the next bytes and returns how many.
    ///
    /// # Errors
    /// `EFAULT` where the memory is bad.
    fn take(&mut self, into: &mut [u8]) -> Result<usize>;

    /// Takes up to `len` bytes into a page.
    ///
    /// # Errors
    /// As [`Source::take`]. What came before the bad memory is in the page.
    fn take_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> Result<usize> {
        let mut bounce = [0; BOUNCE];
        let len = len.min(self.left());
        let mut done = 0;
        while done < len {
            let part = &mut bounce[..(len - done).min(BOUNCE)];
            let taken = self.take(part)?;
            frame.write(offset + done, &part[..taken]);
            done += taken;
        }
        Ok(done)
    }
}

/// A sink that fills a slice.
pub struct SliceSink<'a> {
    rest: &'a mut [u8],
}

impl<'a> SliceSink<'a> {
    /// Fills `bytes` from its front.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Sink for SliceSink<'_> {
    fn room(&self) -> usize {
        self.rest.len()
    }
    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(self.rest.len());
        let (front, rest) = core::mem::take(&mut self.rest).split_at_mut(count);
        front.copy_from_slice(&bytes[..count]);
        self.rest = rest;
        Ok(count)
    }
}

/// A source that reads a slice.
pub struct SliceSource<'a> {
    rest: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// Gives `bytes` from its front.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Source for SliceSource<'_> {
    fn left(&self) -> usize {
        self.rest.len()
    }
    fn take(&mut self, into: &mut [u8]) -> Result<usize> {
        let count = into.len().min(self.rest.len());
        let (front, rest) = self.rest.split_at(count);
        into[..count].copy_from_slice(front);
        self.rest = rest;
        Ok(count)
    }
}

/// A sink that grows a vector up to a limit.
pub struct VecSink {
    /// The bytes so far.
    pub bytes: Vec<u8>,
    limit: usize,
}

impl VecSink {
    /// Takes up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }
}

impl Sink for VecSink {
    fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }
    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(self.room());
        self.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}
