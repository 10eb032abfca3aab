//! [`BlockFile`]: a disk as a file, such as `/dev/vda`; [`BlockNode`] opens it.
//!
//! Reads and writes may begin and end anywhere: parts of blocks are read,
//! changed and written back under the file's lock. Nothing is cached, so a
//! write is on the disk's side when it returns, and durable after fsync(2).

use alloc::string::String;
use alloc::sync::Arc;

use abi::Errno;
use device::Platform;
use vfs::{Caller, Device, File, FileKind, Io, Metadata, OpenFlags, Sink, Source};
use wait::Mutex;

use crate::bounce::{BOUNCE, Bounce};
use crate::{BlockDevice, BlockError, Operation};

/// Bytes copied at once between a program and DMA memory.
const COPY: usize = 512;

/// `ioctl` commands of block devices (the system call ABI's `_IO(0x12, n)`).
mod command {
    /// Flush.
    pub const FLUSH: u32 = 0x1261;
    /// Bytes of a logical block, as a 32-bit number.
    pub const BLOCK_SIZE: u32 = 0x1268;
    /// Discard the range that two 64-bit numbers give.
    pub const DISCARD: u32 = 0x1277;
    /// Bytes of the disk, as a 64-bit number.
    pub const SIZE: u32 = 0x8008_1272;
}

/// A disk as a file.
pub struct BlockFile<P: Platform> {
    device: Arc<dyn BlockDevice>,
    rdev: u64,
    bounce: Mutex<Bounce<P::Dma>>,
}

/// Whole blocks around a part of a request.
struct Span {
    /// First byte on the disk.
    start: u64,
    /// Bytes.
    length: usize,
    /// Where in it the wanted bytes begin.
    skip: usize,
    /// How many are wanted.
    wanted: usize,
}

impl Span {
    /// The first of the bytes `at..at + left`, as far as they fit.
    fn first(at: u64, left: u64, block: u32) -> Self {
        let block = u64::from(block);
        let start = at & !(block - 1);
        let end = (at + left)
            .next_multiple_of(block)
            .min(start + BOUNCE as u64);
        let skip = at - start;
        let wanted = left.min(end - at);
        Self {
            start,
            length: (end - start) as usize,
            skip: skip as usize,
            wanted: wanted as usize,
        }
    }

    fn is_whole(&self) -> bool {
        self.skip == 0 && self.wanted == self.length
    }
}

/// What a read or write returns that did `done` bytes before it failed.
fn partly(done: u64, error: Errno) -> Result<usize, Errno> {
    if done > 0 {
        Ok(done as usize)
    } else {
        Err(error)
    }
}

impl<P: Platform + 'static> BlockFile<P> {
    /// A file for `device` with device number `rdev`; `None` if there is no
    /// memory left to reach it through.
    pub fn new(platform: &P, device: Arc<dyn BlockDevice>, rdev: u64) -> Option<Self> {
        let bounce = Mutex::new(Bounce::new(platform.allocate_dma(BOUNCE)?));
        Some(Self {
            device,
            rdev,
            bounce,
        })
    }

    fn read_span(
        &self,
        bounce: &mut Bounce<P::Dma>,
        span: &Span,
        sink: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        bounce.transfer(&*self.device, Operation::Read, span.start, span.length)?;
        let mut done = 0;
        while done < span.wanted {
            let mut part = [0; COPY];
            let part = &mut part[..COPY.min(span.wanted - done)];
            bounce.read(span.skip + done, part);
            let put = sink.put(part)?;
            done += put;
            if put < part.len() {
                break;
            }
        }
        Ok(done)
    }

    fn write_span(
        &self,
        bounce: &mut Bounce<P::Dma>,
        span: &Span,
        source: &mut dyn Source,
    ) -> Result<usize, Errno> {
        if !span.is_whole() {
            bounce.transfer(&*self.device, Operation::Read, span.start, span.length)?;
        }
        let mut done = 0;
        while done < span.wanted {
            let mut part = [0; COPY];
            let part = &mut part[..COPY.min(span.wanted - done)];
            let taken = source.take(part)?;
            if taken == 0 {
                // The program's memory ended early: nothing is written.
                return Err(Errno::EFAULT);
            }
            bounce.write(span.skip + done, &part[..taken]);
            done += taken;
        }
        bounce.transfer(&*self.device, Operation::Write, span.start, span.length)?;
        Ok(done)
    }

    fn simple(&self, operation: Operation, start: u64, length: u64) -> Result<(), Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        let mut bounce = self.bounce.lock();
        Ok(bounce.transfer(&*self.device, operation, start, length)?)
    }
}

impl<P: Platform + 'static> File for BlockFile<P> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let geometry = self.device.geometry();
        let total = geometry
            .capacity
            .saturating_sub(io.offset)
            .min(sink.room() as u64);
        let mut bounce = self.bounce.lock();
        let mut done = 0;
        while done < total {
            let span = Span::first(io.offset + done, total - done, geometry.block);
            match self.read_span(&mut bounce, &span, sink) {
                Ok(read) => done += read as u64,
                Err(error) => return partly(done, error),
            }
        }
        Ok(done as usize)
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize, Errno> {
        let geometry = self.device.geometry();
        if geometry.is_read_only {
            return Err(BlockError::ReadOnly.into());
        }
        let left = source.left() as u64;
        let total = geometry.capacity.saturating_sub(io.offset).min(left);
        if total == 0 && left > 0 {
            return Err(Errno::ENOSPC);
        }
        let mut bounce = self.bounce.lock();
        let mut done = 0;
        while done < total {
            let span = Span::first(io.offset + done, total - done, geometry.block);
            match self.write_span(&mut bounce, &span, source) {
                Ok(written) => done += written as u64,
                Err(error) => return partly(done, error),
            }
        }
        Ok(done as usize)
    }

    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        let geometry = self.device.geometry();
        match command {
            command::SIZE => caller.write_user(argument, &geometry.capacity.to_le_bytes())?,
            command::BLOCK_SIZE => caller.write_user(argument, &geometry.block.to_le_bytes())?,
            command::FLUSH => self.simple(Operation::Flush, 0, 0)?,
            command::DISCARD => {
                let mut range = [[0; 8]; 2];
                caller.read_user(argument, range.as_flattened_mut())?;
                let [start, length] = range.map(u64::from_le_bytes);
                self.simple(Operation::Discard, start, length)?;
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn metadata(&self) -> Metadata {
        let block_size = self.device.geometry().block.max(4096);
        let metadata = Metadata::anonymous(FileKind::Block, 0o600);
        Metadata {
            rdev: self.rdev,
            block_size,
            ..metadata
        }
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        self.simple(Operation::Flush, 0, 0)
    }

    fn end(&self) -> u64 {
        self.device.geometry().capacity
    }

    fn label(&self) -> String {
        String::from("block device")
    }
}

/// What opening a disk's node does: all who open it share one file.
pub struct BlockNode<P: Platform>(pub Arc<BlockFile<P>>);

impl<P: Platform + 'static> Device for BlockNode<P> {
    fn open(&self, flags: OpenFlags, _caller: Option<&dyn Caller>) -> vfs::Result<Arc<dyn File>> {
        if flags.writes() && self.0.device.geometry().is_read_only {
            return Err(Errno::EROFS);
        }
        Ok(self.0.clone())
    }
}
