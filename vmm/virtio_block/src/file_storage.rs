//! A raw file or block node as storage: [`FileStorage`].
//!
//! The file is locked while it is open, exclusively if it can be written, so
//! that two VMs never write one disk. The lock is advisory (`flock`) and ends
//! with the process.

use crate::storage::{SECTOR, Storage};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use virtio_device::Buffer;
use vm_memory::{ReadVolatile, WriteVolatile};
use vmm_sys_util::fallocate::{FallocateMode, fallocate};

static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Why a file cannot be a disk. The caller adds which file.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot be opened.
    Open(io::Error),
    /// Another process has it as a disk.
    InUse {
        /// It was to be opened read-only here.
        readonly: bool,
    },
    /// Its size is not a multiple of the sector size.
    BadSize(u64),
    /// It is neither a file nor a block node.
    NotADisk,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "{error}"),
            Self::InUse { readonly: false } => write!(
                f,
                "another VM uses this disk; a disk that is written belongs to one VM at a time"
            ),
            Self::InUse { readonly: true } => write!(
                f,
                "another VM writes this disk; it can be shared only if every VM has it read-only"
            ),
            Self::BadSize(len) => write!(
                f,
                "it has {len} bytes; a disk has a multiple of {SECTOR} bytes, at least {SECTOR}"
            ),
            Self::NotADisk => write!(f, "it is neither a regular file nor a block node"),
        }
    }
}

impl std::error::Error for OpenError {}

/// A raw disk in a file or on a block node.
pub struct FileStorage {
    file: File,
    len: u64,
    can_punch: bool,
}

impl FileStorage {
    /// Opens and locks the disk at `path`.
    ///
    /// # Errors
    /// It is no disk, or another VM has it.
    pub fn open(path: &Path, readonly: bool) -> Result<Self, OpenError> {
        use std::os::unix::fs::FileTypeExt;
        let options = OpenOptions::new().read(true).write(!readonly).open(path);
        let mut file = options.map_err(OpenError::Open)?;
        let kind = file.metadata().map_err(OpenError::Open)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(OpenError::NotADisk);
        }
        match if readonly {
            file.try_lock_shared()
        } else {
            file.try_lock()
        } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { readonly }),
            Err(TryLockError::Error(error)) => return Err(OpenError::Open(error)),
        }
        let len = file.seek(SeekFrom::End(0)).map_err(OpenError::Open)?;
        if len == 0 || len % SECTOR != 0 {
            return Err(OpenError::BadSize(len));
        }
        Ok(Self {
            file,
            len,
            can_punch: true,
        })
    }

    /// The same disk once more, under the same lock.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            len: self.len,
            can_punch: self.can_punch,
        })
    }

    fn punch(&mut self, offset: u64, len: u64) -> bool {
        if self.can_punch {
            // A medium without holes stays without: do not ask again.
            self.can_punch =
                fallocate(&self.file, FallocateMode::PunchHole, true, offset, len).is_ok();
        }
        self.can_punch
    }
}

impl Storage for FileStorage {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, offset: u64, buffer: &Buffer<'_>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        for slice in buffer.slices() {
            let mut slice = *slice;
            self.file
                .read_exact_volatile(&mut slice)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, buffer: &Buffer<'_>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        for slice in buffer.slices() {
            self.file
                .write_all_volatile(slice)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives up the space where the medium can; nothing elsewhere.
    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.punch(offset, len);
        Ok(())
    }

    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        // A hole reads zeroes.
        if may_unmap && self.punch(offset, len) {
            return Ok(());
        }
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(ZEROES.len() as u64) as usize;
            self.file.write_all_at(&ZEROES[..piece], offset + done)?;
            done += piece as u64;
        }
        Ok(())
    }
}
