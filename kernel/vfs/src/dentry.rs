//! [`Dentry`]: a name in use, between its parent and its inode.
//!
//! Dentries exist while somebody holds them (an open file, a working directory,
//! a walk in progress). A directory knows the living ones below it, so that one
//! name has one dentry and follows renames. Each directory has one sleeping
//! lock, held across every lookup and change of its entries.

use crate::{Errno, FileKind, Inode, NewNode, Result};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use sync::SpinLock;
use wait::{Mutex, MutexGuard};

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    removed: bool,
}

/// The living dentries of a directory.
#[derive(Default)]
pub(crate) struct Children {
    map: BTreeMap<Box<[u8]>, Weak<Dentry>>,
    /// Size at which dead entries are swept out.
    sweep_at: usize,
}

impl Children {
    fn insert(&mut self, name: &[u8], dentry: &Arc<Dentry>) {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, weak| weak.strong_count() > 0);
            self.sweep_at = 2 * self.map.len() + 16;
        }
        self.map.insert(name.into(), Arc::downgrade(dentry));
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        self.map.remove(name)?.upgrade()
    }
}

/// A name in use.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    /// `None` below what is no directory.
    children: Option<Mutex<Children>>,
    /// Mounts on this name.
    mounts: AtomicU32,
}

impl Dentry {
    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: &[u8]) -> Arc<Self> {
        let is_dir = inode.kind() == FileKind::Directory;
        let place = Place {
            parent,
            name: name.into(),
            removed: false,
        };
        Arc::new(Self {
            inode,
            place: SpinLock::new(place),
            children: is_dir.then(Mutex::default),
            mounts: AtomicU32::new(0),
        })
    }

    /// The root of a file system.
    pub(crate) fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(inode, None, b"")
    }

    /// A file that has no name yet (`O_TMPFILE`).
    pub(crate) fn unnamed(inode: Arc<dyn Inode>, directory: &Arc<Dentry>) -> Arc<Self> {
        let name = alloc::format!("#{}", inode.metadata().inode);
        let dentry = Self::new(inode, Some(directory.clone()), name.as_bytes());
        dentry.place.lock().removed = true;
        dentry
    }

    /// A file without any name; `label` is shown in its place.
    pub(crate) fn alone(inode: Arc<dyn Inode>, label: &[u8]) -> Arc<Self> {
        Self::new(inode, None, label)
    }

    /// What the name stands for.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory that the name is in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// The name.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.to_vec()
    }

    /// Was the name removed meanwhile?
    pub fn is_removed(&self) -> bool {
        self.place.lock().removed
    }

    pub(crate) fn is_mount_point(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    pub(crate) fn add_mount(&self) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::AcqRel);
    }

    /// Is `self` the directory `other` or in it, however deep?
    pub(crate) fn is_within(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = Some(self.clone());
        while let Some(dentry) = at {
            if Arc::ptr_eq(&dentry, other) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }

    /// Takes the directory's lock.
    pub(crate) fn lock(self: &Arc<Self>) -> Result<LockedDir<'_>> {
        let children = self.children.as_ref().ok_or(Errno::ENOTDIR)?.lock();
        Ok(LockedDir {
            dir: self,
            children,
        })
    }
}

impl Drop for Dentry {
    /// Gives up the chain of parents one by one: a deep tree must not need a
    /// deep stack.
    fn drop(&mut self) {
        let mut parent = self.place.get_mut().parent.take();
        while let Some(dentry) = parent.and_then(Arc::into_inner) {
            parent = dentry.place.lock().parent.take();
        }
    }
}

/// A directory whose entries do not change under the holder.
pub(crate) struct LockedDir<'a> {
    dir: &'a Arc<Dentry>,
    children: MutexGuard<'a, Children>,
}

impl LockedDir<'_> {
    /// The entry `name`.
    pub fn lookup(&mut self, name: &[u8]) -> Result<Arc<Dentry>> {
        if let Some(found) = self.children.map.get(name).and_then(Weak::upgrade) {
            return Ok(found);
        }
        if self.dir.is_removed() {
            return Err(Errno::ENOENT);
        }
        let inode = self.dir.inode.lookup(name)?;
        Ok(self.instantiate(name, inode))
    }

    fn instantiate(&mut self, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let keep = inode.is_stable();
        let dentry = Dentry::new(inode, Some(self.dir.clone()), name);
        if keep {
            self.children.insert(name, &dentry);
        }
        dentry
    }

    pub fn create(&mut self, name: &[u8], node: &NewNode) -> Result<Arc<Dentry>> {
        if self.dir.is_removed() {
            return Err(Errno::ENOENT);
        }
        let inode = self.dir.inode.create(name, node)?;
        Ok(self.instantiate(name, inode))
    }

    pub fn link(&mut self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        if self.dir.is_removed() {
            return Err(Errno::ENOENT);
        }
        self.dir.inode.link(name, inode)
    }

    /// Removes `victim`, which [`LockedDir::lookup`] gave for `name`.
    pub fn remove(&mut self, name: &[u8], victim: &Arc<Dentry>) -> Result<()> {
        // The file system sees to it that nothing is created in a directory that
        // it has removed, so its own lock is not needed.
        if victim.inode.kind() == FileKind::Directory {
            self.dir.inode.remove_dir(name)?;
        } else {
            self.dir.inode.unlink(name)?;
        }
        victim.place.lock().removed = true;
        drop(self.children.remove(name));
        Ok(())
    }

    /// The name `name` is gone or now means something else.
    pub fn forget(&mut self, name: &[u8], dentry: &Arc<Dentry>) {
        dentry.place.lock().removed = true;
        drop(self.children.remove(name));
    }

    /// Takes `dentry` off its name, to be put elsewhere.
    pub fn detach(&mut self, name: &[u8]) {
        drop(self.children.remove(name));
    }

    /// Puts `dentry` here, under `name`.
    pub fn attach(&mut self, name: &[u8], dentry: &Arc<Dentry>) {
        let old_parent = {
            let mut place = dentry.place.lock();
            place.name = name.into();
            place.parent.replace(self.dir.clone())
        };
        self.children.insert(name, dentry);
        drop(old_parent);
    }
}
