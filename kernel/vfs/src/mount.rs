//! [`Mount`]: a file system in the tree; [`Namespace`]: all of them;
//! [`Location`]: a place in the tree (mount_namespaces(7)).

use crate::{Dentry, Errno, FileKind, FileSystem, Inode, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;
use wait::Mutex;

bitflags::bitflags! {
    /// How a file system is mounted; the values of mount(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountFlags: u64 {
        /// No changes.
        const READ_ONLY = 1;
        /// Set-id bits have no effect.
        const NO_SETUID = 2;
        /// Device nodes cannot be opened.
        const NO_DEVICES = 4;
        /// Programs cannot be executed.
        const NO_EXEC = 8;
    }
}

/// A file system at a place in the tree.
pub struct Mount {
    id: u64,
    fs: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    /// What it covers; `None` for the root of all.
    covers: Option<Location>,
    flags: MountFlags,
}

impl Mount {
    /// For files without a place; part of no namespace.
    pub(crate) fn nowhere(fs: Arc<dyn FileSystem>) -> Arc<Self> {
        let root = Dentry::root(fs.root());
        Arc::new(Self {
            id: next_mount_id(),
            fs,
            root,
            covers: None,
            flags: MountFlags::empty(),
        })
    }

    /// Its number in /proc/self/mountinfo.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
    /// The file system.
    #[must_use]
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }
    /// How it is mounted.
    #[must_use]
    pub fn flags(&self) -> MountFlags {
        self.flags
    }
    /// What it covers; `None` for the root of all.
    #[must_use]
    pub fn covers(&self) -> Option<&Location> {
        self.covers.as_ref()
    }
    /// The place of its own root.
    #[must_use]
    pub fn root(self: &Arc<Self>) -> Location {
        Location {
            mount: self.clone(),
            dentry: self.root.clone(),
        }
    }
}

/// A place in the tree.
#[derive(Clone)]
pub struct Location {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The name within it.
    pub dentry: Arc<Dentry>,
}

impl Location {
    /// What is there.
    #[must_use]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// What kind of file is there.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.inode().kind()
    }

    /// Are both the same place?
    #[must_use]
    pub fn is_same(&self, other: &Location) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// The directory above, across mounts; `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<Location> {
        if Arc::ptr_eq(&self.dentry, &self.mount.root) {
            return self.mount.covers.as_ref()?.parent();
        }
        let dentry = self.dentry.parent()?;
        Some(Location {
            mount: self.mount.clone(),
            dentry,
        })
    }

    /// The path from `root`; without a leading slash where `root` is not above.
    /// A removed name ends in ` (deleted)`, as /proc shows it.
    #[must_use]
    pub fn path(&self, root: &Location) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self.clone();
        let reached = loop {
            if at.is_same(root) {
                break true;
            }
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                match &at.mount.covers {
                    Some(covers) => at = covers.clone(),
                    None => break false,
                }
                continue;
            }
            names.push(at.dentry.name());
            if at.dentry.parent().is_none() {
                // A file without a place has only its label.
                return at.dentry.name();
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => break false,
            }
        };
        let mut path = Vec::new();
        if !reached {
            path.extend_from_slice(b"(unreachable)");
        }
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if self.dentry.is_removed() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}

/// All mounts of the host. There is one tree for all processes.
pub struct Namespace {
    mounts: SpinLock<Vec<Arc<Mount>>>,
    /// Held by a rename between directories, which locks two of them.
    pub(crate) rename: Mutex<()>,
}

fn next_mount_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Namespace {
    /// A tree that is `fs` alone.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>, flags: MountFlags) -> Arc<Self> {
        let root = Dentry::root(fs.root());
        let mount = Mount {
            id: next_mount_id(),
            fs,
            root,
            covers: None,
            flags,
        };
        Arc::new(Self {
            mounts: SpinLock::new(alloc::vec![Arc::new(mount)]),
            rename: Mutex::new(()),
        })
    }

    /// The top of the tree, with what is mounted over it.
    #[must_use]
    pub fn root(&self) -> Location {
        let bottom = self.mounts.lock()[0].clone();
        self.enter(bottom.root())
    }

    /// Every mount, in the order of mounting.
    #[must_use]
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().clone()
    }

    /// Mounts `fs` over `place`.
    ///
    /// # Errors
    /// `ENOTDIR` where either is no directory.
    pub fn mount(
        &self,
        fs: Arc<dyn FileSystem>,
        place: Location,
        flags: MountFlags,
    ) -> Result<Arc<Mount>> {
        let root = Dentry::root(fs.root());
        let kinds = (root.inode().kind(), place.kind());
        if kinds != (FileKind::Directory, FileKind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let dentry = place.dentry.clone();
        let mount = Arc::new(Mount {
            id: next_mount_id(),
            fs,
            root,
            covers: Some(place),
            flags,
        });
        self.mounts.lock().push(mount.clone());
        dentry.add_mount();
        Ok(mount)
    }

    /// Takes a mount away. `lazy` leaves it to those who are in it.
    ///
    /// # Errors
    /// `EINVAL` where `place` is no root of a mount, `EBUSY` while it is in use.
    pub fn unmount(&self, place: &Location, lazy: bool) -> Result<()> {
        if !Arc::ptr_eq(&place.dentry, &place.mount.root) {
            return Err(Errno::EINVAL);
        }
        let covers = place.mount.covers.as_ref().ok_or(Errno::EBUSY)?;
        let removed = {
            let mut mounts = self.mounts.lock();
            let index = mounts
                .iter()
                .position(|mount| Arc::ptr_eq(mount, &place.mount))
                .ok_or(Errno::EINVAL)?;
            // The list and `place` hold it once each.
            if !lazy && Arc::strong_count(&place.mount) > 2 {
                return Err(Errno::EBUSY);
            }
            mounts.remove(index)
        };
        covers.dentry.remove_mount();
        drop(removed);
        Ok(())
    }

    /// What is seen at `place`: the topmost mount over it.
    #[must_use]
    #[inline]
    pub fn enter(&self, mut place: Location) -> Location {
        while place.dentry.is_mount_point() {
            let over = self.mounts.lock().iter().rev().find_map(|mount| {
                mount
                    .covers
                    .as_ref()
                    .filter(|covers| covers.is_same(&place))?;
                Some(mount.clone())
            });
            match over {
                Some(mount) => place = mount.root(),
                None => break,
            }
        }
        place
    }
}
