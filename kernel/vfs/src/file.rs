//! [`File`]: what an object behind a descriptor can do.
//!
//! Each method's default is the error that Linux gives where an object cannot
//! do it. One `File` may stand behind many [`crate::OpenFile`]s; it ends by Drop.

use crate::{
    Caller, DirSink, Errno, FileKind, FsStats, Inode, Io, Metadata, Result, Sink, Socket, Source,
};
use abi::event::Events;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use pages::MemoryObject;
use wait::PollHead;

/// An object behind a descriptor.
///
/// Blocking methods honour [`Io::nonblock`] and return `ERESTART` when a signal
/// ends the wait. `EPIPE` from a write is accompanied by SIGPIPE, which the
/// system call layer sends.
pub trait File: Any + Send + Sync {
    /// Has the file positions? Asked once per open.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Reads into `sink`; 0 means the end.
    ///
    /// # Errors
    /// `EINVAL` where it cannot be read; `EAGAIN`, `EFAULT`, `EISDIR`, ...
    fn read(&self, _io: &mut Io, _sink: &mut dyn Sink) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// Writes from `source`.
    ///
    /// # Errors
    /// `EINVAL` where it cannot be written; `EAGAIN`, `EPIPE`, `ENOSPC`, ...
    fn write(&self, _io: &mut Io, _source: &mut dyn Source) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    /// What the file is ready for now. Does not block. Files without a poll head
    /// are always ready.
    fn poll(&self) -> Events {
        Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
    }

    /// Who waits for the file; `None` where its readiness never changes (such a
    /// file cannot be put into an epoll set).
    fn poll_head(&self) -> Option<&PollHead> {
        None
    }

    /// ioctl(2).
    ///
    /// # Errors
    /// `ENOTTY` where the command is not known to the file.
    fn ioctl(&self, _caller: &dyn Caller, _command: u32, _argument: u64) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    /// The pages to be mapped by mmap(2).
    ///
    /// # Errors
    /// `ENODEV` where the file cannot be mapped.
    fn mmap(&self) -> Result<Arc<dyn MemoryObject>> {
        Err(Errno::ENODEV)
    }

    /// What fstat(2) shows.
    fn metadata(&self) -> Metadata {
        Metadata::anonymous(FileKind::Regular, 0o600)
    }

    /// The inode, where the file has one.
    fn inode(&self) -> Option<Arc<dyn Inode>> {
        None
    }

    /// What fstatfs(2) shows, for files without an inode.
    fn stats(&self) -> FsStats {
        FsStats::anonymous(abi::fs::ANON_INODE_FS_MAGIC)
    }

    /// ftruncate(2).
    ///
    /// # Errors
    /// `EINVAL` where the file has no size to set.
    fn truncate(&self, _len: u64) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// fallocate(2); `mode` are `FALLOC_FL_*`.
    ///
    /// # Errors
    /// `ENODEV`, `EOPNOTSUPP`, `ENOSPC`.
    fn allocate(&self, _mode: u32, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::ENODEV)
    }

    /// fsync(2) and fdatasync(2).
    ///
    /// # Errors
    /// `EINVAL` where there is nothing to synchronise; `EIO`.
    fn sync(&self, _data_only: bool) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Length for `SEEK_END` of a seekable file.
    fn end(&self) -> u64 {
        self.metadata().size
    }

    /// `SEEK_DATA` (`hole` false) and `SEEK_HOLE`, from `offset`.
    ///
    /// # Errors
    /// `ENXIO` from the end on.
    fn seek_region(&self, offset: u64, hole: bool) -> Result<u64> {
        let end = self.end();
        if offset >= end {
            return Err(Errno::ENXIO);
        }
        Ok(if hole { end } else { offset })
    }

    /// Lists a directory from `position` on, until `sink` refuses an entry.
    /// Positions are what earlier entries gave as their `next`; 0 is the start.
    ///
    /// # Errors
    /// `ENOTDIR`.
    fn read_dir(&self, _position: u64, _sink: &mut dyn DirSink) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// The socket, if it is one.
    fn socket(&self) -> Option<&dyn Socket> {
        None
    }

    /// Opens the object once more, through /proc/self/fd.
    ///
    /// # Errors
    /// `ENXIO` where it cannot be, as with sockets.
    fn reopen(&self, _flags: crate::OpenFlags) -> Result<Arc<dyn File>> {
        Err(Errno::ENXIO)
    }

    /// What /proc/self/fd shows for a file that has no path, such as
    /// `anon_inode:[eventfd]`.
    fn label(&self) -> String {
        String::from("anon_inode:[file]")
    }

    /// One descriptor of a process was closed (of perhaps several); close(2)'s
    /// errors come from here.
    ///
    /// # Errors
    /// `EIO`.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// The file as a `T`, if it is one.
#[must_use]
pub fn file_as<T: File>(file: &Arc<dyn File>) -> Option<Arc<T>> {
    let any: Arc<dyn Any + Send + Sync> = file.clone();
    any.downcast().ok()
}
