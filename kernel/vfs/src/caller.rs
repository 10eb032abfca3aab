//! [`Caller`]: what a file may ask of the process that calls it, and
//! [`Credentials`], in whose name (credentials(7)).

use crate::{Errno, FsView, OpenFile, Result, UserMemory};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use pages::Account;

/// In whose name a process acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective user, by which files are accessed.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
    /// Saved user.
    pub suid: u32,
    /// Saved group.
    pub sgid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Those of the superuser.
    #[must_use]
    pub const fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            euid: 0,
            egid: 0,
            suid: 0,
            sgid: 0,
            groups: Vec::new(),
        }
    }

    /// Is every file open to them?
    #[must_use]
    pub const fn is_superuser(&self) -> bool {
        self.euid == 0
    }

    /// Do they belong to `group`?
    #[must_use]
    pub fn in_group(&self, group: u32) -> bool {
        self.egid == group || self.groups.contains(&group)
    }
}

/// A process among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessIds {
    /// The process.
    pub pid: u32,
    /// Its group.
    pub group: u32,
    /// Its session.
    pub session: u32,
}

/// The process that calls a file: its memory, descriptors and name.
pub trait Caller: UserMemory {
    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    fn file(&self, fd: i32) -> Result<Arc<OpenFile>>;
    /// Gives the process a new descriptor.
    ///
    /// # Errors
    /// `EMFILE`.
    fn install(&self, file: Arc<OpenFile>, cloexec: bool) -> Result<i32>;
    /// The address space, to be downcast by who knows its type.
    fn space(&self) -> Arc<dyn Any + Send + Sync>;
    /// Who pays for what the call allocates.
    fn account(&self) -> &Account;
    /// In whose name.
    fn credentials(&self) -> &Credentials;
    /// Which process.
    fn ids(&self) -> ProcessIds;
    /// The tree of names as the process sees it.
    fn fs(&self) -> FsView<'_>;

    /// The session's controlling terminal.
    fn controlling_terminal(&self) -> Option<Arc<OpenFile>> {
        None
    }
    /// Makes `terminal` the session's controlling terminal, or takes it away.
    ///
    /// # Errors
    /// `EPERM` where the process does not lead its session.
    fn set_controlling_terminal(&self, _terminal: Option<Arc<dyn crate::File>>) -> Result<()> {
        Err(Errno::EPERM)
    }
}
