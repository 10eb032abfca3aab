//! [`Pipe`]: bytes from writers to readers (pipe(7)); [`PipeEnd`] is what a
//! descriptor stands for.
//!
//! The bytes are in a ring under a sleeping lock, since copies from and to
//! programs happen with it held. What poll asks is kept beside it in atomic words.

use crate::ring::Ring;
use abi::Errno;
use abi::event::Events;
use abi::fs::{FIONREAD, OpenFlags, PIPEFS_MAGIC};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use pages::Account;
use vfs::{Caller, File, FileKind, FsStats, Io, Metadata, PollHead, Result, Sink, Source};
use wait::Mutex;

/// Writes up to this size are not mixed with others.
pub const PIPE_BUF: usize = 4096;
/// Size of a new pipe.
const CAPACITY: usize = 64 * 1024;
/// Largest size that `F_SETPIPE_SZ` grants.
const MAX_CAPACITY: usize = 1024 * 1024;

/// The bytes between readers and writers.
pub struct Pipe {
    ring: Mutex<Ring>,
    /// Copies of the ring's length and capacity, for poll.
    len: AtomicUsize,
    capacity: AtomicUsize,
    pub(crate) readers: AtomicU32,
    pub(crate) writers: AtomicU32,
    /// How often each side was opened; for those who wait for the other side.
    pub(crate) reader_opens: AtomicU32,
    pub(crate) writer_opens: AtomicU32,
    pub(crate) head: PollHead,
    inode: u64,
}

/// One end of a pipe; a named pipe can be opened as both at once.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// A named pipe's node, shown instead of the pipe's own metadata.
    named: bool,
}

impl Pipe {
    pub(crate) fn bare(account: &Account) -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(Ring::new(CAPACITY, account.clone())),
            len: AtomicUsize::new(0),
            capacity: AtomicUsize::new(CAPACITY),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            head: PollHead::new(),
            inode: vfs::next_inode_number(),
        })
    }

    /// A pipe's reading and writing end. `account` pays for the bytes in it.
    #[must_use]
    pub fn ends(account: &Account) -> (Arc<PipeEnd>, Arc<PipeEnd>) {
        let pipe = Self::bare(account);
        (
            PipeEnd::new(&pipe, true, false, false),
            PipeEnd::new(&pipe, false, true, false),
        )
    }

    /// Bytes that can be read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Is nothing there to be read?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its size (`F_GETPIPE_SZ`).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Acquire)
    }

    /// Sets the size (`F_SETPIPE_SZ`); returns what it became.
    ///
    /// # Errors
    /// `EBUSY` where more is in it, `EPERM` beyond 1 MiB.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize> {
        if wanted > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let capacity = wanted.max(PIPE_BUF).next_power_of_two();
        let mut ring = self.ring.lock();
        if !ring.set_capacity(capacity)? {
            return Err(Errno::EBUSY);
        }
        self.capacity.store(capacity, Ordering::Release);
        drop(ring);
        self.head.notify(Events::OUT);
        Ok(capacity)
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Acquire) != 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) != 0
    }

    /// `None` where nothing is there yet.
    fn try_read(&self, sink: &mut dyn Sink) -> Option<Result<usize>> {
        // The common reason to wait needs no lock. Only with it held is it sure
        // that nothing was written before the last writer left.
        if self.is_empty() && self.has_writers() {
            return None;
        }
        let mut ring = self.ring.lock();
        if ring.len() == 0 {
            return if self.has_writers() {
                None
            } else {
                Some(Ok(0))
            };
        }
        let result = ring.pop(sink, usize::MAX);
        self.len.store(ring.len(), Ordering::Release);
        drop(ring);
        self.head.notify(Events::OUT | Events::WRNORM);
        Some(result)
    }

    /// Writes some of `source`; `None` where that must wait.
    fn try_write(&self, source: &mut dyn Source) -> Option<Result<usize>> {
        if !self.has_readers() {
            return Some(Err(Errno::EPIPE));
        }
        let mut ring = self.ring.lock();
        let (left, room) = (source.left(), ring.room());
        let result = if left <= room && left <= PIPE_BUF {
            ring.push_all(source, left).map(|()| left)
        } else if left <= PIPE_BUF || room == 0 {
            return None;
        } else {
            ring.push(source, left.min(room))
        };
        self.len.store(ring.len(), Ordering::Release);
        drop(ring);
        self.head.notify(Events::IN | Events::RDNORM);
        Some(result)
    }

    fn can_write(&self) -> bool {
        // A ring smaller than PIPE_BUF does not exist.
        self.capacity() - self.len().min(self.capacity()) >= PIPE_BUF
    }
}

impl PipeEnd {
    pub(crate) fn new(pipe: &Arc<Pipe>, reads: bool, writes: bool, named: bool) -> Arc<Self> {
        if reads {
            pipe.readers.fetch_add(1, Ordering::AcqRel);
            pipe.reader_opens.fetch_add(1, Ordering::AcqRel);
        }
        if writes {
            pipe.writers.fetch_add(1, Ordering::AcqRel);
            pipe.writer_opens.fetch_add(1, Ordering::AcqRel);
        }
        Arc::new(Self {
            pipe: pipe.clone(),
            reads,
            writes,
            named,
        })
    }

    /// The pipe that this is an end of.
    #[must_use]
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    fn write_rest(&self, io: &Io, source: &mut dyn Source, mut done: usize) -> Result<usize> {
        while source.left() > 0 {
            let step = match self.pipe.try_write(source) {
                Some(step) => step,
                None if io.nonblock => Err(Errno::EAGAIN),
                None => {
                    let wait = self
                        .pipe
                        .head
                        .wait(Events::OUT, None, || self.pipe.try_write(source));
                    wait.unwrap_or_else(|error| Err(error.into()))
                }
            };
            match step {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let pipe = &self.pipe;
        if self.reads && pipe.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            pipe.head.notify(Events::OUT | Events::ERR);
        }
        if self.writes && pipe.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            pipe.head.notify(Events::IN | Events::HUP);
        }
    }
}

impl File for PipeEnd {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        if !self.reads {
            return Err(Errno::EBADF);
        }
        if sink.room() == 0 {
            return Ok(0);
        }
        if io.nonblock {
            return self.pipe.try_read(sink).unwrap_or(Err(Errno::EAGAIN));
        }
        let head = &self.pipe.head;
        head.wait(Events::IN, None, || self.pipe.try_read(sink))?
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        if source.left() == 0 {
            return Ok(0);
        }
        match self.pipe.try_write(source) {
            Some(Ok(done)) if source.left() > 0 && done > 0 => self.write_rest(io, source, done),
            Some(result) => result,
            None => self.write_rest(io, source, 0),
        }
    }

    fn poll(&self) -> Events {
        let mut events = Events::empty();
        if self.reads {
            events.set(Events::IN | Events::RDNORM, !self.pipe.is_empty());
            let had_writer = self.pipe.writer_opens.load(Ordering::Acquire) != 0;
            events.set(Events::HUP, had_writer && !self.pipe.has_writers());
        }
        if self.writes {
            events.set(Events::OUT | Events::WRNORM, self.pipe.can_write());
            events.set(Events::ERR, !self.pipe.has_readers());
        }
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.pipe.head)
    }

    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        caller.write_user(argument, &(self.pipe.len() as i32).to_ne_bytes())?;
        Ok(0)
    }

    fn reopen(&self, flags: OpenFlags) -> Result<Arc<dyn File>> {
        Ok(Self::new(
            &self.pipe,
            flags.reads(),
            flags.writes(),
            self.named,
        ))
    }

    fn metadata(&self) -> Metadata {
        let inode = self.pipe.inode;
        Metadata {
            inode,
            ..Metadata::anonymous(FileKind::Fifo, 0o600)
        }
    }

    fn stats(&self) -> FsStats {
        FsStats::anonymous(PIPEFS_MAGIC)
    }

    fn label(&self) -> String {
        let kind = if self.named { "fifo" } else { "pipe" };
        format!("{kind}:[{}]", self.pipe.inode)
    }
}
