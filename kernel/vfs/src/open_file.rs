//! [`OpenFile`]: one open(2) of a [`File`]: its flags, position and place.
//! Descriptors that were duplicated or inherited share it.

use crate::{
    Caller, DirentWriter, Errno, File, FileKind, FsStats, Io, Location, Metadata, OpenFlags,
    Result, Sink, Source, file_as, locks,
};
use abi::event::Events;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use sync::SpinLock;
use wait::Mutex;

/// What an epoll set hears when a file that it watches is closed for good.
pub trait CloseWatcher: Send + Sync {
    /// The open file `id` is going; `file` still exists during the call.
    fn closed(&self, id: u64, file: &dyn File);
}

/// One open of a file.
pub struct OpenFile {
    file: Arc<dyn File>,
    flags: AtomicU32,
    /// `None` where the file has no positions.
    position: Option<Mutex<u64>>,
    place: Option<Location>,
    id: u64,
    watchers: SpinLock<Vec<Weak<dyn CloseWatcher>>>,
    /// Has it ever held a lock of its own (flock, OFD)?
    pub(crate) has_locks: AtomicBool,
}

/// Flags that fcntl(F_SETFL) may change.
const CHANGEABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME);

impl OpenFile {
    /// Opens an object that has no path.
    #[must_use]
    pub fn new(file: Arc<dyn File>, flags: OpenFlags) -> Arc<Self> {
        Self::build(file, flags, None)
    }

    /// Opens what was found at `place`.
    #[must_use]
    pub fn at(file: Arc<dyn File>, flags: OpenFlags, place: Location) -> Arc<Self> {
        Self::build(file, flags, Some(place))
    }

    fn build(file: Arc<dyn File>, flags: OpenFlags, place: Option<Location>) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let position = file.is_seekable().then(Mutex::default);
        Arc::new(Self {
            file,
            flags: AtomicU32::new(flags.difference(OpenFlags::CLOEXEC).bits()),
            position,
            place,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            watchers: SpinLock::new(Vec::new()),
            has_locks: AtomicBool::new(false),
        })
    }

    /// The object.
    #[inline]
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The object as a `T`, if it is one.
    #[must_use]
    pub fn file_as<T: File>(&self) -> Option<Arc<T>> {
        file_as(&self.file)
    }

    /// Where it was opened.
    #[must_use]
    pub fn place(&self) -> Option<&Location> {
        self.place.as_ref()
    }

    /// A number that no other open file ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Access mode and status flags (`F_GETFL`).
    #[inline]
    #[must_use]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Sets the flags that can change (`F_SETFL`); others are ignored.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags().difference(CHANGEABLE);
        self.flags.store(
            (kept | flags.intersection(CHANGEABLE)).bits(),
            Ordering::Relaxed,
        );
    }

    #[inline]
    fn io(&self, flags: OpenFlags) -> Io {
        Io {
            offset: 0,
            nonblock: flags.contains(OpenFlags::NONBLOCK),
            append: flags.contains(OpenFlags::APPEND),
        }
    }

    /// read(2).
    ///
    /// # Errors
    /// `EBADF` where it was not opened for reading; those of the file.
    #[inline(always)]
    pub fn read(&self, sink: &mut dyn Sink) -> Result<usize> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        let mut io = self.io(flags);
        match &self.position {
            None => self.file.read(&mut io, sink),
            Some(position) => self.read_on(position, io, sink),
        }
    }

    /// Reads at the position and moves it.
    #[inline(never)]
    fn read_on(&self, position: &Mutex<u64>, mut io: Io, sink: &mut dyn Sink) -> Result<usize> {
        let mut position = position.lock();
        io.offset = *position;
        let count = self.file.read(&mut io, sink)?;
        *position = io.offset + count as u64;
        Ok(count)
    }

    /// write(2).
    ///
    /// # Errors
    /// `EBADF` where it was not opened for writing; those of the file.
    #[inline(always)]
    pub fn write(&self, source: &mut dyn Source) -> Result<usize> {
        let flags = self.flags();
        if !flags.writes() {
            return Err(Errno::EBADF);
        }
        let mut io = self.io(flags);
        match &self.position {
            None => self.file.write(&mut io, source),
            Some(position) => self.write_on(position, io, source),
        }
    }

    /// Writes at the position and moves it.
    #[inline(never)]
    fn write_on(
        &self,
        position: &Mutex<u64>,
        mut io: Io,
        source: &mut dyn Source,
    ) -> Result<usize> {
        let mut position = position.lock();
        io.offset = *position;
        let count = self.file.write(&mut io, source)?;
        *position = io.offset + count as u64;
        Ok(count)
    }

    /// pread(2).
    ///
    /// # Errors
    /// As [`OpenFile::read`]; `ESPIPE` where the file has no positions.
    pub fn read_at(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        let flags = self.flags();
        if !flags.reads() {
            return Err(Errno::EBADF);
        }
        if self.position.is_none() {
            return Err(Errno::ESPIPE);
        }
        self.file.read(
            &mut Io {
                offset,
                ..self.io(flags)
            },
            sink,
        )
    }

    /// pwrite(2). As on Linux, an appending file appends all the same.
    ///
    /// # Errors
    /// As [`OpenFile::write`]; `ESPIPE` where the file has no positions.
    pub fn write_at(&self, offset: u64, source: &mut dyn Source) -> Result<usize> {
        let flags = self.flags();
        if !flags.writes() {
            return Err(Errno::EBADF);
        }
        if self.position.is_none() {
            return Err(Errno::ESPIPE);
        }
        self.file.write(
            &mut Io {
                offset,
                ..self.io(flags)
            },
            source,
        )
    }

    /// lseek(2).
    ///
    /// # Errors
    /// `ESPIPE`, `EINVAL`, `ENXIO`, `EOVERFLOW`.
    pub fn seek(&self, offset: i64, whence: u32) -> Result<u64> {
        use abi::fs::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let mut position = self.position.as_ref().ok_or(Errno::ESPIPE)?.lock();
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *position as i64,
            SEEK_END => self.file.end() as i64,
            SEEK_DATA | SEEK_HOLE => {
                let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                *position = self.file.seek_region(from, whence == SEEK_HOLE)?;
                return Ok(*position);
            }
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add(offset).ok_or(Errno::EOVERFLOW)?;
        *position = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
        Ok(*position)
    }

    /// The position, 0 where there is none.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
            .as_ref()
            .map_or(0, |position| *position.lock())
    }

    /// getdents64(2).
    ///
    /// # Errors
    /// `ENOTDIR`, `EINVAL` where not one entry fits, `EFAULT`.
    pub fn read_dir(&self, sink: &mut dyn Sink) -> Result<usize> {
        if !self.flags().reads() {
            return Err(Errno::EBADF);
        }
        let mut position = self.position.as_ref().ok_or(Errno::ENOTDIR)?.lock();
        let mut writer = DirentWriter::new(sink, *position);
        self.file.read_dir(*position, &mut writer)?;
        let (written, next) = writer.finish()?;
        *position = next;
        Ok(written)
    }

    /// fstat(2).
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        // The name's node, not the device or pipe that stands behind it.
        match &self.place {
            Some(place) => place.inode().metadata(),
            None => self.file.metadata(),
        }
    }

    /// fstatfs(2).
    #[must_use]
    pub fn stats(&self) -> FsStats {
        match &self.place {
            Some(place) => place.inode().stats(),
            None => self.file.stats(),
        }
    }

    /// ftruncate(2).
    ///
    /// # Errors
    /// `EINVAL` where it was not opened for writing or has no size; `EFBIG`.
    pub fn truncate(&self, len: u64) -> Result<()> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if !self.flags().writes() {
            return Err(Errno::EINVAL);
        }
        self.file.truncate(len)
    }

    /// fallocate(2).
    ///
    /// # Errors
    /// `EBADF` where it was not opened for writing, `EINVAL`, `EFBIG`, `ESPIPE`,
    /// `ENODEV`; those of the file.
    pub fn allocate(&self, mode: u32, offset: i64, len: i64) -> Result<()> {
        if !self.flags().writes() {
            return Err(Errno::EBADF);
        }
        if offset < 0 || len <= 0 {
            return Err(Errno::EINVAL);
        }
        offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if self.metadata().kind == FileKind::Fifo {
            return Err(Errno::ESPIPE);
        }
        self.file.allocate(mode, offset as u64, len as u64)
    }

    /// ioctl(2), with the command that every file knows (`FIONBIO`).
    ///
    /// # Errors
    /// Those of the file.
    pub fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64> {
        if command != abi::fs::FIONBIO {
            return self.file.ioctl(caller, command, argument);
        }
        let mut on = [0; 4];
        caller.read_user(argument, &mut on)?;
        let mut flags = self.flags();
        flags.set(OpenFlags::NONBLOCK, on != [0; 4]);
        self.set_flags(flags);
        Ok(0)
    }

    /// What the file is ready for now.
    #[inline]
    #[must_use]
    pub fn poll(&self) -> Events {
        self.file.poll()
    }

    /// Has `watcher` told of the end of this open file.
    pub fn watch_close(&self, watcher: Weak<dyn CloseWatcher>) {
        let mut watchers = self.watchers.lock();
        watchers.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&watcher));
        watchers.push(watcher);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        for watcher in core::mem::take(self.watchers.get_mut()) {
            if let Some(watcher) = watcher.upgrade() {
                watcher.closed(self.id, &*self.file);
            }
        }
        if *self.has_locks.get_mut() {
            locks::release_open_file(self);
        }
    }
}
