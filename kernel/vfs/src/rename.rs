//! rename(2) and renameat2(2).

use crate::dentry::LockedDir;
use crate::{Dentry, Errno, FileKind, FsView, Location, Parent, Result};
use alloc::sync::Arc;

bitflags::bitflags! {
    /// What renameat2(2) may be told.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RenameFlags: u32 {
        /// Fail where the new name exists.
        const NO_REPLACE = 1;
        /// Swap the two names.
        const EXCHANGE = 2;
    }
}

impl FsView<'_> {
    /// Moves `old` to `new`, replacing what is there.
    ///
    /// # Errors
    /// `EXDEV`, `EBUSY`, `EINVAL` for a move into itself, `EEXIST`, `ENOTEMPTY`,
    /// `EISDIR`, `ENOTDIR`, and those of the walk.
    pub fn rename(
        &self,
        old: (&Location, &[u8]),
        new: (&Location, &[u8]),
        flags: RenameFlags,
    ) -> Result<()> {
        if flags.contains(RenameFlags::NO_REPLACE | RenameFlags::EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        let from = self.resolve_parent(old.0, old.1)?;
        let to = self.resolve_parent(new.0, new.1)?;
        if !Arc::ptr_eq(&from.dir.mount, &to.dir.mount) {
            return Err(Errno::EXDEV);
        }
        from.name(Errno::EBUSY)?;
        let exists = flags.contains(RenameFlags::NO_REPLACE);
        to.name(if exists { Errno::EEXIST } else { Errno::EBUSY })?;
        if Arc::ptr_eq(&from.dir.dentry, &to.dir.dentry) {
            let mut dir = from.dir.dentry.lock()?;
            return Move::plan(self, &from, &to, flags, &mut dir, None)?.run(&mut dir, None);
        }
        // One rename at a time locks two directories, in whatever order.
        let _one = self.namespace.rename.lock();
        let mut dir = from.dir.dentry.lock()?;
        let mut target = to.dir.dentry.lock()?;
        let plan = Move::plan(self, &from, &to, flags, &mut dir, Some(&mut target))?;
        plan.run(&mut dir, Some(&mut target))
    }
}

/// A rename that may go ahead.
struct Move<'a> {
    from: &'a Parent,
    to: &'a Parent,
    old_name: &'a [u8],
    new_name: &'a [u8],
    source: Arc<Dentry>,
    target: Option<Arc<Dentry>>,
    flags: RenameFlags,
}

impl<'a> Move<'a> {
    fn plan<'d>(
        view: &FsView<'_>,
        from: &'a Parent,
        to: &'a Parent,
        flags: RenameFlags,
        dir: &mut LockedDir<'d>,
        target_dir: Option<&mut LockedDir<'d>>,
    ) -> Result<Self> {
        let (old_name, new_name) = (from.name(Errno::EBUSY)?, to.name(Errno::EBUSY)?);
        let source = dir.lookup(old_name)?;
        let target = match target_dir.unwrap_or(dir).lookup(new_name) {
            Ok(found) => Some(found),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        let plan = Self {
            from,
            to,
            old_name,
            new_name,
            source,
            target,
            flags,
        };
        plan.check(view)?;
        Ok(plan)
    }

    fn check(&self, view: &FsView<'_>) -> Result<()> {
        let source_is_dir = is_dir(&self.source);
        let exchange = self.flags.contains(RenameFlags::EXCHANGE);
        if !source_is_dir && (self.from.must_be_dir || self.to.must_be_dir && !exchange) {
            return Err(Errno::ENOTDIR);
        }
        if source_is_dir && self.to.dir.dentry.is_within(&self.source) {
            return Err(Errno::EINVAL);
        }
        view.may_remove(&self.from.dir, &self.source.inode().metadata())?;
        view.may_change(&self.to.dir)?;
        let Some(target) = &self.target else {
            return if exchange {
                Err(Errno::ENOENT)
            } else {
                self.check_mounts()
            };
        };
        if self.flags.contains(RenameFlags::NO_REPLACE) {
            return Err(Errno::EEXIST);
        }
        view.may_remove(&self.to.dir, &target.inode().metadata())?;
        let target_is_dir = is_dir(target);
        if exchange {
            if target_is_dir && self.from.dir.dentry.is_within(target) {
                return Err(Errno::EINVAL);
            }
        } else if self.from.dir.dentry.is_within(target) {
            return Err(Errno::ENOTEMPTY);
        } else if source_is_dir && !target_is_dir {
            return Err(Errno::ENOTDIR);
        } else if target_is_dir && !source_is_dir {
            return Err(Errno::EISDIR);
        }
        self.check_mounts()
    }

    fn check_mounts(&self) -> Result<()> {
        let mounted = self
            .target
            .as_ref()
            .is_some_and(|target| target.is_mount_point());
        if mounted || self.source.is_mount_point() {
            Err(Errno::EBUSY)
        } else {
            Ok(())
        }
    }

    fn run<'d>(
        self,
        dir: &mut LockedDir<'d>,
        mut target_dir: Option<&mut LockedDir<'d>>,
    ) -> Result<()> {
        if let Some(target) = &self.target
            && Arc::ptr_eq(target.inode(), self.source.inode())
        {
            // Two names of one file: nothing to do.
            return Ok(());
        }
        self.from.dir.inode().rename(
            self.old_name,
            self.to.dir.inode(),
            self.new_name,
            self.flags,
        )?;
        dir.detach(self.old_name);
        let exchange = self.flags.contains(RenameFlags::EXCHANGE);
        if let Some(target) = &self.target {
            let new_dir = match target_dir.as_deref_mut() {
                Some(new_dir) => new_dir,
                None => &mut *dir,
            };
            if exchange {
                new_dir.detach(self.new_name);
            } else {
                new_dir.forget(self.new_name, target);
            }
        }
        target_dir
            .unwrap_or(dir)
            .attach(self.new_name, &self.source);
        if let Some(target) = self.target.as_ref().filter(|_| exchange) {
            dir.attach(self.old_name, target);
        }
        Ok(())
    }
}

fn is_dir(dentry: &Dentry) -> bool {
    dentry.inode().kind() == FileKind::Directory
}
