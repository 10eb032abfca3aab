//! [`FsContext`]: a process's root, working directory and umask; [`FsView`]: the
//! tree as seen with them, on which the calls of `walk`, `open`, `path_calls` and
//! `rename` are.

use crate::{Caller, Credentials, Location, Namespace};
use alloc::sync::Arc;
use sync::SpinLock;

#[derive(Clone)]
struct State {
    root: Location,
    cwd: Location,
    umask: u32,
}

/// What threads share with `CLONE_FS`.
pub struct FsContext {
    namespace: Arc<Namespace>,
    state: SpinLock<State>,
}

impl FsContext {
    /// At the top of the tree, with umask 022.
    #[must_use]
    pub fn new(namespace: Arc<Namespace>) -> Arc<Self> {
        let root = namespace.root();
        let state = State {
            cwd: root.clone(),
            root,
            umask: 0o022,
        };
        Arc::new(Self {
            namespace,
            state: SpinLock::new(state),
        })
    }

    /// A copy of its own, for fork.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        let state = self.state.lock().clone();
        Arc::new(Self {
            namespace: self.namespace.clone(),
            state: SpinLock::new(state),
        })
    }

    /// The tree as seen now. `caller` is `None` for the kernel's own work.
    #[must_use]
    pub fn view<'a>(
        &'a self,
        credentials: &'a Credentials,
        caller: Option<&'a dyn Caller>,
    ) -> FsView<'a> {
        let State { root, cwd, umask } = self.state.lock().clone();
        FsView {
            namespace: &self.namespace,
            root,
            cwd,
            umask,
            credentials,
            caller,
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Location {
        self.state.lock().root.clone()
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(&self) -> Location {
        self.state.lock().cwd.clone()
    }

    /// Sets the root (chroot(2)).
    pub fn set_root(&self, root: Location) {
        let old = core::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// Sets the working directory (chdir(2)).
    pub fn set_cwd(&self, cwd: Location) {
        let old = core::mem::replace(&mut self.state.lock().cwd, cwd);
        drop(old);
    }

    /// Sets the umask and returns the old one (umask(2)).
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }

    /// The mounts.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }
}

/// The tree as one process sees it during one call.
pub struct FsView<'a> {
    /// The mounts.
    pub namespace: &'a Namespace,
    /// Where `/` is.
    pub root: Location,
    /// Where relative paths start, unless the call says otherwise.
    pub cwd: Location,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// In whose name.
    pub credentials: &'a Credentials,
    /// The process; `None` for the kernel's own work.
    pub caller: Option<&'a dyn Caller>,
}
