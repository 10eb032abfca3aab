//! [`Inode`] and [`FileSystem`]: what a file system implements.
//!
//! The callers are `walk` and `path_calls`: they check permissions and names,
//! and hold the directory's lock (see `dentry`) across each change, so that an
//! implementation needs no order of locks between inodes of its own.

use crate::{
    Caller, DirSink, Errno, File, FileKind, Location, Metadata, OpenFlags, RenameFlags, Result,
};
use abi::fs::Statfs;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use sync::SpinLock;

/// What a new directory entry is to be.
#[derive(Clone, Debug)]
pub enum NodeContents {
    /// An empty file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this path.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A device node.
    Device {
        /// Block or character.
        block: bool,
        /// Its number.
        rdev: u64,
    },
}

/// A node to be created.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// What it is.
    pub contents: NodeContents,
    /// Permission bits, the umask already applied.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Attributes to be set; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttributes {
    /// Permission bits.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access, ns since 1970.
    pub accessed_ns: Option<u64>,
    /// Last change of contents, ns since 1970.
    pub modified_ns: Option<u64>,
}

/// What statfs(2) shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsStats {
    /// Magic number.
    pub magic: i64,
    /// Block size in bytes.
    pub block_size: u64,
    /// Blocks in all; 0 without a limit.
    pub blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

impl FsStats {
    /// For files without storage.
    #[must_use]
    pub const fn anonymous(magic: i64) -> Self {
        Self {
            magic,
            block_size: 4096,
            blocks: 0,
            free_blocks: 0,
            inodes: 0,
            free_inodes: 0,
        }
    }

    /// For statfs(2).
    #[must_use]
    pub fn to_statfs(&self) -> Statfs {
        Statfs {
            kind: self.magic,
            bsize: self.block_size as i64,
            blocks: self.blocks,
            bfree: self.free_blocks,
            bavail: self.free_blocks,
            files: self.inodes,
            ffree: self.free_inodes,
            namelen: abi::fs::NAME_MAX as i64,
            frsize: self.block_size as i64,
            ..Statfs::default()
        }
    }
}

/// What hangs at an inode without being part of its file system: the pipe of a
/// named pipe, the socket of a bound name.
#[derive(Default)]
pub struct Attachment(SpinLock<Option<Weak<dyn Any + Send + Sync>>>);

impl Attachment {
    /// Nothing attached.
    #[must_use]
    pub const fn new() -> Self {
        Self(SpinLock::new(None))
    }

    /// What is attached, if it still exists and is a `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let strong = self.0.lock().as_ref()?.upgrade()?;
        strong.downcast().ok()
    }

    /// Attaches `object`, in place of what was there.
    pub fn set<T: Any + Send + Sync>(&self, object: &Arc<T>) {
        let weak: Weak<T> = Arc::downgrade(object);
        let old = self.0.lock().replace(weak);
        drop(old);
    }

    /// The attached `T`, or a new one.
    pub fn get_or_attach<T: Any + Send + Sync>(&self, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        if let Some(found) = self.get() {
            return found;
        }
        let made = make();
        let weak: Weak<T> = Arc::downgrade(&made);
        let mut slot = self.0.lock();
        let raced = slot.as_ref().and_then(Weak::upgrade);
        if let Some(found) = raced.and_then(|strong| strong.downcast().ok()) {
            drop(slot);
            return found;
        }
        let old = slot.replace(weak);
        drop(slot);
        drop(old);
        made
    }
}

/// A mounted file system.
pub trait FileSystem: Send + Sync {
    /// Its root directory.
    fn root(&self) -> Arc<dyn Inode>;
    /// Its type, as /proc/mounts names it.
    fn name(&self) -> &str;
    /// What statfs(2) shows.
    fn stats(&self) -> FsStats;
    /// Mount options for /proc/mounts, without `rw`.
    fn options(&self) -> String {
        String::new()
    }
}

/// A file, directory or other node of a file system.
///
/// Names are single components: not empty, no `/`, neither `.` nor `..`, at most
/// 255 bytes.
pub trait Inode: Any + Send + Sync {
    /// What stat(2) shows.
    fn metadata(&self) -> Metadata;
    /// What it is; never changes.
    fn kind(&self) -> FileKind;
    /// What statfs(2) shows of its file system.
    fn stats(&self) -> FsStats;

    /// May a name, once looked up, be kept? Not for trees that come and go by
    /// themselves.
    fn is_stable(&self) -> bool {
        true
    }

    /// The entry `name` of a directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOTDIR)
    }

    /// Creates an entry.
    ///
    /// # Errors
    /// `EEXIST`, `EPERM` where the file system cannot, `ENOSPC`, `ENOENT` in a
    /// removed directory.
    fn create(&self, _name: &[u8], _node: &NewNode) -> Result<Arc<dyn Inode>> {
        Err(Errno::EPERM)
    }

    /// Creates a file without a name (`O_TMPFILE`), which `link` may name later.
    ///
    /// # Errors
    /// `EOPNOTSUPP`.
    fn create_unnamed(&self, _node: &NewNode) -> Result<Arc<dyn Inode>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Adds a name for `inode`, which is of the same mount and no directory.
    ///
    /// # Errors
    /// `EEXIST`, `EPERM`, `EMLINK`, `ENOSPC`.
    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes a name of what is no directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EPERM`.
    fn unlink(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EPERM`.
    fn remove_dir(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Moves the entry `name` to `new_name` of `new_dir`, an inode of the same
    /// mount, replacing what is there unless `flags` say otherwise. The caller
    /// has excluded a move into itself.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`, `ENOTDIR`, `EISDIR`, `ENOTEMPTY`, `EPERM`.
    fn rename(
        &self,
        _name: &[u8],
        _new_dir: &Arc<dyn Inode>,
        _new_name: &[u8],
        _flags: RenameFlags,
    ) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// The path in a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` where it is none.
    fn read_link(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    /// Where a symbolic link leads that is more than its text, as
    /// /proc/self/fd/0 does; `None` for ordinary ones.
    fn jump(&self) -> Option<Result<Location>> {
        None
    }

    /// The file behind an open. Permissions were checked; truncation follows.
    ///
    /// # Errors
    /// `ENXIO` where nothing stands behind the node.
    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>>;

    /// For the inode of a file that has no name of its own: opens that file once
    /// more. `None` for all others.
    fn reopen(&self, _flags: OpenFlags) -> Option<Result<Arc<dyn File>>> {
        None
    }

    /// Sets attributes; permission to do so was checked.
    ///
    /// # Errors
    /// `EPERM`, `EROFS`.
    fn set_attributes(&self, _attributes: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Sets the size of a regular file.
    ///
    /// # Errors
    /// `EINVAL`, `EFBIG`, `ENOSPC`.
    fn truncate(&self, _len: u64) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Lists a directory; see [`File::read_dir`]. `.` and `..` are the caller's.
    ///
    /// # Errors
    /// `ENOTDIR`.
    fn read_dir(&self, _position: u64, _sink: &mut dyn DirSink) -> Result<()> {
        Err(Errno::ENOTDIR)
    }

    /// Where a pipe or a bound socket hangs.
    fn attachment(&self) -> Option<&Attachment> {
        None
    }
}
