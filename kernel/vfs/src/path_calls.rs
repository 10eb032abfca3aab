//! The calls that change the tree: mkdir, mknod, symlink, link, unlink, rmdir,
//! chmod, chown, utimensat, truncate, access; see their pages in section 2.
//! rename(2) has a file of its own.

use crate::open::check_writable_mount;
use crate::walk::{Last, MAY_EXECUTE, MAY_WRITE};
use crate::{
    Credentials, Errno, FileKind, Follow, FsView, Location, Metadata, MountFlags, NodeContents,
    Result, SetAttributes,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Sticky bit: only owners remove entries.
const STICKY: u32 = 0o1000;
/// Set-group-id bit.
const SET_GROUP: u32 = 0o2000;

impl FsView<'_> {
    /// mkdir(2).
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `EACCES`, `EROFS`, `ENOSPC`.
    pub fn make_dir(&self, at: &Location, path: &[u8], mode: u32) -> Result<Location> {
        self.make(at, path, NodeContents::Directory, mode)
    }

    /// mknod(2), symlink(2), and the name of a bound socket.
    ///
    /// # Errors
    /// As [`FsView::make_dir`]; `EPERM` for device nodes of ordinary users.
    pub fn make(
        &self,
        at: &Location,
        path: &[u8],
        contents: NodeContents,
        mode: u32,
    ) -> Result<Location> {
        let parent = self.resolve_parent(at, path)?;
        let name = parent.name(Errno::EEXIST)?;
        let privileged = matches!(contents, NodeContents::Device { .. });
        if privileged && !self.credentials.is_superuser() {
            return Err(Errno::EPERM);
        }
        let is_dir = matches!(contents, NodeContents::Directory);
        let mut locked = parent.dir.dentry.lock()?;
        match locked.lookup(name) {
            Ok(_) => return Err(Errno::EEXIST),
            Err(Errno::ENOENT) if parent.must_be_dir && !is_dir => return Err(Errno::ENOENT),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        self.may_change(&parent.dir)?;
        let mut node = self.new_node(contents, mode);
        if matches!(node.contents, NodeContents::Symlink(_)) {
            node.permissions = 0o777;
        }
        let dentry = locked.create(name, &node)?;
        Ok(Location {
            mount: parent.dir.mount.clone(),
            dentry,
        })
    }

    /// symlink(2).
    ///
    /// # Errors
    /// As [`FsView::make_dir`]; `ENOENT` for an empty target.
    pub fn symlink(&self, target: &[u8], at: &Location, path: &[u8]) -> Result<()> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= abi::fs::PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.make(at, path, NodeContents::Symlink(target.to_vec()), 0o777)
            .map(|_| ())
    }

    /// readlink(2).
    ///
    /// # Errors
    /// `EINVAL` where the path names no symbolic link.
    pub fn read_link(&self, at: &Location, path: &[u8]) -> Result<Vec<u8>> {
        let place = self.resolve(at, path, Follow::NotLast)?;
        place.inode().read_link()
    }

    /// link(2): another name for what is at `old`.
    ///
    /// # Errors
    /// `EXDEV`, `EPERM` for directories, `EEXIST`, ...
    pub fn link(&self, old: &Location, at: &Location, path: &[u8]) -> Result<()> {
        let parent = self.resolve_parent(at, path)?;
        let name = parent.name(Errno::EEXIST)?;
        let mut locked = parent.dir.dentry.lock()?;
        match locked.lookup(name) {
            Ok(_) => return Err(Errno::EEXIST),
            Err(Errno::ENOENT) if parent.must_be_dir => return Err(Errno::ENOENT),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        if !Arc::ptr_eq(&old.mount, &parent.dir.mount) {
            return Err(Errno::EXDEV);
        }
        if old.kind() == FileKind::Directory {
            return Err(Errno::EPERM);
        }
        self.may_change(&parent.dir)?;
        locked.link(name, old.inode())
    }

    /// unlink(2).
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EACCES`, `EPERM` by a sticky directory, `EBUSY`.
    pub fn unlink(&self, at: &Location, path: &[u8]) -> Result<()> {
        let parent = self.resolve_parent(at, path)?;
        let name = parent.name(Errno::EISDIR)?;
        let mut locked = parent.dir.dentry.lock()?;
        let victim = locked.lookup(name)?;
        if victim.inode().kind() == FileKind::Directory {
            return Err(Errno::EISDIR);
        }
        if parent.must_be_dir {
            return Err(Errno::ENOTDIR);
        }
        self.may_remove(&parent.dir, &victim.inode().metadata())?;
        locked.remove(name, &victim)
    }

    /// rmdir(2).
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOTEMPTY`, `EINVAL` for `.`, `EBUSY` for a mount point.
    pub fn remove_dir(&self, at: &Location, path: &[u8]) -> Result<()> {
        let parent = self.resolve_parent(at, path)?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        let mut locked = parent.dir.dentry.lock()?;
        let victim = locked.lookup(name)?;
        if victim.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.may_remove(&parent.dir, &victim.inode().metadata())?;
        if victim.is_mount_point() {
            return Err(Errno::EBUSY);
        }
        locked.remove(name, &victim)
    }

    /// chmod(2).
    ///
    /// # Errors
    /// `EPERM` where the process does not own the file, `EROFS`.
    pub fn set_permissions(&self, place: &Location, mode: u32) -> Result<()> {
        check_writable_mount(place)?;
        let metadata = place.inode().metadata();
        if metadata.kind == FileKind::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        self.must_own(&metadata)?;
        let mut permissions = mode & 0o7777;
        if !self.credentials.is_superuser() && !self.credentials.in_group(metadata.gid) {
            permissions &= !SET_GROUP;
        }
        let set = SetAttributes {
            permissions: Some(permissions),
            ..Default::default()
        };
        place.inode().set_attributes(&set)
    }

    /// chown(2); `None` leaves an id alone. Set-id bits of programs are cleared.
    ///
    /// # Errors
    /// `EPERM`, `EROFS`.
    pub fn set_owner(&self, place: &Location, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        check_writable_mount(place)?;
        let metadata = place.inode().metadata();
        if !self.credentials.is_superuser() {
            self.must_own(&metadata)?;
            let moves_user = uid.is_some_and(|uid| uid != metadata.uid);
            let foreign_group = gid.is_some_and(|gid| !self.credentials.in_group(gid));
            if moves_user || foreign_group {
                return Err(Errno::EPERM);
            }
        }
        let permissions = (metadata.kind == FileKind::Regular && metadata.permissions & 0o111 != 0)
            .then_some(metadata.permissions & 0o1777);
        place.inode().set_attributes(&SetAttributes {
            permissions,
            uid,
            gid,
            ..Default::default()
        })
    }

    /// utimensat(2), with times in ns since 1970; `None` leaves a time alone.
    /// `explicit`: some time is not the present one, which only owners may set.
    ///
    /// # Errors
    /// `EPERM`, `EACCES`, `EROFS`.
    pub fn set_times(
        &self,
        place: &Location,
        accessed_ns: Option<u64>,
        modified_ns: Option<u64>,
        explicit: bool,
    ) -> Result<()> {
        check_writable_mount(place)?;
        let metadata = place.inode().metadata();
        if explicit {
            self.must_own(&metadata)?;
        } else if self.must_own(&metadata).is_err() {
            self.check(&metadata, MAY_WRITE)?;
        }
        let set = SetAttributes {
            accessed_ns,
            modified_ns,
            ..Default::default()
        };
        place.inode().set_attributes(&set)
    }

    /// truncate(2).
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL`, `EACCES`, `EROFS`, `EFBIG`.
    pub fn truncate(&self, place: &Location, len: u64) -> Result<()> {
        let metadata = place.inode().metadata();
        match metadata.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        check_writable_mount(place)?;
        self.check(&metadata, MAY_WRITE)?;
        place.inode().truncate(len)
    }

    /// access(2): may the process's real user do `wanted` (bits 4, 2, 1)?
    ///
    /// # Errors
    /// `EACCES`, `EROFS`.
    pub fn access(&self, place: &Location, wanted: u32, effective: bool) -> Result<()> {
        let metadata = place.inode().metadata();
        let device = matches!(metadata.kind, FileKind::Character | FileKind::Block);
        if wanted & MAY_WRITE != 0 && !device {
            check_writable_mount(place)?;
        }
        if effective {
            return self.check(&metadata, wanted);
        }
        let real = Credentials {
            euid: self.credentials.uid,
            egid: self.credentials.gid,
            ..self.credentials.clone()
        };
        FsView {
            namespace: self.namespace,
            root: self.root.clone(),
            cwd: self.cwd.clone(),
            umask: self.umask,
            credentials: &real,
            caller: self.caller,
        }
        .check(&metadata, wanted)
    }

    /// The directory that chdir(2) goes to.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`.
    pub fn directory(&self, at: &Location, path: &[u8]) -> Result<Location> {
        let place = self.resolve(at, path, Follow::Last)?;
        self.may_enter(&place)?;
        Ok(place)
    }

    /// May the process make `place` its working directory?
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`.
    pub fn may_enter(&self, place: &Location) -> Result<()> {
        if place.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.check(&place.inode().metadata(), MAY_EXECUTE)
    }

    /// May the process execute the file there?
    ///
    /// # Errors
    /// `EACCES` for what is no executable regular file.
    pub fn may_execute(&self, place: &Location) -> Result<()> {
        let no_exec = place.mount.flags().contains(MountFlags::NO_EXEC);
        if place.kind() != FileKind::Regular || no_exec {
            return Err(Errno::EACCES);
        }
        self.check(&place.inode().metadata(), MAY_EXECUTE)
    }

    /// May the process add entries to this directory?
    pub(crate) fn may_change(&self, dir: &Location) -> Result<()> {
        check_writable_mount(dir)?;
        self.check(&dir.inode().metadata(), MAY_WRITE | MAY_EXECUTE)
    }

    /// May the process remove the entry `victim` from this directory?
    pub(crate) fn may_remove(&self, dir: &Location, victim: &Metadata) -> Result<()> {
        self.may_change(dir)?;
        if self.credentials.is_superuser() {
            return Ok(());
        }
        let directory = dir.inode().metadata();
        let owner = self.credentials.euid;
        if directory.permissions & STICKY != 0 && owner != victim.uid && owner != directory.uid {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    fn must_own(&self, metadata: &Metadata) -> Result<()> {
        if self.credentials.is_superuser() || self.credentials.euid == metadata.uid {
            return Ok(());
        }
        Err(Errno::EPERM)
    }
}
