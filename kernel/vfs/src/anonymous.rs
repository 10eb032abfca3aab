//! Places of files that have no name, such as pipes: what /proc/self/fd leads to,
//! so that `/dev/stdin` can be opened when it is one.

use crate::{
    Caller, Dentry, Errno, File, FileKind, FileSystem, FsStats, Inode, Location, Metadata, Mount,
    OpenFlags, Result,
};
use abi::fs::ANON_INODE_FS_MAGIC;
use alloc::sync::Arc;
use sync::Once;

/// The file system of what has no name. It is mounted nowhere.
struct Nowhere;

impl FileSystem for Nowhere {
    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(Directory)
    }
    fn name(&self) -> &str {
        "anon_inodefs"
    }
    fn stats(&self) -> FsStats {
        FsStats::anonymous(ANON_INODE_FS_MAGIC)
    }
}

/// Its root, in which nothing can be found.
struct Directory;

impl Inode for Directory {
    fn metadata(&self) -> Metadata {
        Metadata::anonymous(FileKind::Directory, 0)
    }
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn stats(&self) -> FsStats {
        FsStats::anonymous(ANON_INODE_FS_MAGIC)
    }
    fn open(
        self: Arc<Self>,
        _flags: OpenFlags,
        _caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>> {
        Err(Errno::ENXIO)
    }
}

/// The inode of an open file that has none.
struct Node(Arc<dyn File>);

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }
    fn kind(&self) -> FileKind {
        self.0.metadata().kind
    }
    fn stats(&self) -> FsStats {
        self.0.stats()
    }
    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        _caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>> {
        self.0.reopen(flags)
    }
    fn reopen(&self, flags: OpenFlags) -> Option<Result<Arc<dyn File>>> {
        Some(self.0.reopen(flags))
    }
}

impl Location {
    /// A place for a file that has none. Its path is the file's label.
    ///
    /// # Errors
    /// `ENXIO` for directories, which always have a name.
    pub fn anonymous(file: &Arc<dyn File>) -> Result<Self> {
        static MOUNT: Once<Arc<Mount>> = Once::new();
        if file.metadata().kind == FileKind::Directory {
            return Err(Errno::ENXIO);
        }
        let mount = match MOUNT.get() {
            Some(mount) => mount.clone(),
            None => {
                let made = Mount::nowhere(Arc::new(Nowhere));
                MOUNT
                    .set(made.clone())
                    .map_or_else(|spare| spare, Arc::clone)
            }
        };
        let inode = Arc::new(Node(file.clone()));
        let dentry = Dentry::alone(inode, file.label().as_bytes());
        Ok(Self { mount, dentry })
    }
}
