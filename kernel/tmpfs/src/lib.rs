//! A file system in memory: [`TmpFs`] (tmpfs(5)).
//!
//! [`node`] is the inode, [`contents`] the pages of a file, [`directory`] the
//! names. A file may start with pages of somebody else (the boot archive), which
//! are taken over or copied when they are first written to. Access times are not
//! kept up, as if mounted `noatime`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod contents;
mod directory;
mod node;

use abi::Errno;
use abi::fs::TMPFS_MAGIC;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use node::Node;
use pages::{Account, Frame, MemoryObject, PAGE_SIZE};
use vfs::{File, FileSystem, FsStats, Inode, NewNode, NodeContents, Result};

/// What a file system may use.
pub struct Limits {
    /// Pages of file contents.
    pub pages: u64,
    /// Files, directories and other nodes.
    pub inodes: u64,
}

impl Limits {
    /// No limits but those of the account.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            pages: u64::MAX,
            inodes: u64::MAX,
        }
    }
}

/// A counter that stops at a limit.
struct Quota {
    used: AtomicU64,
    limit: u64,
}

impl Quota {
    fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    fn take(&self) -> Result<()> {
        let more = |used: u64| (used < self.limit).then_some(used + 1);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| Errno::ENOSPC)
    }

    fn give_back(&self, count: u64) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What all nodes of a file system share.
pub(crate) struct Store {
    device: u64,
    next_inode: AtomicU64,
    account: Account,
    pages: Quota,
    inodes: Quota,
}

impl Store {
    /// A page of zeros, within the limits.
    pub fn new_page(&self) -> Result<Frame> {
        self.pages.take()?;
        Frame::zeroed(&self.account).map_err(|error| {
            self.pages.give_back(1);
            error.into()
        })
    }

    /// Counts a page that came from elsewhere.
    pub fn adopt_page(&self) -> Result<()> {
        self.pages.take()
    }

    pub fn pages_freed(&self, count: u64) {
        self.pages.give_back(count);
    }

    pub fn inode_freed(&self) {
        self.inodes.give_back(1);
    }

    pub fn new_inode(&self) -> Result<u64> {
        self.inodes.take()?;
        Ok(self.next_inode.fetch_add(1, Ordering::Relaxed))
    }

    pub fn stats(&self) -> FsStats {
        let (pages, inodes) = (self.pages.limit, self.inodes.limit);
        let free = |limit: u64, used: u64| limit.saturating_sub(used);
        FsStats {
            magic: TMPFS_MAGIC,
            block_size: PAGE_SIZE as u64,
            // Without a limit statfs shows zeros, as Linux does.
            blocks: if pages == u64::MAX { 0 } else { pages },
            free_blocks: if pages == u64::MAX {
                0
            } else {
                free(pages, self.pages.used())
            },
            inodes: if inodes == u64::MAX { 0 } else { inodes },
            free_inodes: if inodes == u64::MAX {
                0
            } else {
                free(inodes, self.inodes.used())
            },
        }
    }
}

/// A file system in memory.
pub struct TmpFs {
    store: Arc<Store>,
    root: Arc<Node>,
    name: &'static str,
}

impl TmpFs {
    /// An empty file system whose pages `account` pays for; its root belongs to
    /// the superuser and has permissions `permissions`.
    ///
    /// # Errors
    /// `ENOSPC` where the limits allow no root.
    pub fn new(account: &Account, limits: &Limits, permissions: u32) -> Result<Arc<Self>> {
        Self::named("tmpfs", account, limits, permissions)
    }

    /// As [`TmpFs::new`], shown under another name (`rootfs`, `devtmpfs`).
    ///
    /// # Errors
    /// As [`TmpFs::new`].
    pub fn named(
        name: &'static str,
        account: &Account,
        limits: &Limits,
        permissions: u32,
    ) -> Result<Arc<Self>> {
        static NEXT_DEVICE: AtomicU64 = AtomicU64::new(16);
        let minor = NEXT_DEVICE.fetch_add(1, Ordering::Relaxed) as u32;
        let store = Arc::new(Store {
            device: abi::fs::makedev(0, minor),
            next_inode: AtomicU64::new(1),
            account: account.clone(),
            pages: Quota::new(limits.pages),
            inodes: Quota::new(limits.inodes),
        });
        let new = NewNode {
            contents: NodeContents::Directory,
            permissions,
            uid: 0,
            gid: 0,
        };
        let root = Node::new(&store, &new)?;
        Ok(Arc::new(Self { store, root, name }))
    }

    /// A file without a name (memfd_create(2)).
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn unnamed_file(&self, permissions: u32) -> Result<Arc<dyn File>> {
        let new = NewNode {
            contents: NodeContents::Regular,
            permissions,
            uid: 0,
            gid: 0,
        };
        Ok(Node::new(&self.store, &new)?)
    }

    /// Pages of file contents in use.
    #[must_use]
    pub fn pages_used(&self) -> u64 {
        self.store.pages.used()
    }

    /// Nodes in use.
    #[must_use]
    pub fn inodes_used(&self) -> u64 {
        self.store.inodes.used()
    }
}

/// Gives an empty tmpfs file its first `len` bytes from `source`, whose pages
/// are shared until they are written to. What the source has in its last page
/// beyond `len` is never seen.
///
/// When a page is first written to, or mapped to be, it is asked for with
/// `write`; if the source then gives a frame, that frame becomes the file's own,
/// and if it answers [`vfs::FaultError::Denied`], it is copied.
///
/// # Errors
/// `EINVAL` where `file` is no empty tmpfs file.
pub fn set_backing(file: &Arc<dyn File>, source: Arc<dyn MemoryObject>, len: u64) -> Result<()> {
    vfs::file_as::<Node>(file)
        .ok_or(Errno::EINVAL)?
        .set_backing(source, len)
}

impl FileSystem for TmpFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }
    fn name(&self) -> &str {
        self.name
    }
    fn stats(&self) -> FsStats {
        self.store.stats()
    }
    fn options(&self) -> String {
        match self.store.pages.limit {
            u64::MAX => String::from("noatime"),
            pages => format!("noatime,size={}k", pages.saturating_mul(4)),
        }
    }
}
