//! [`Nodes`]: making the tree under /dev.

use crate::{CONSOLE, FULL, KMSG, NULL, RANDOM, TTY, URANDOM, ZERO};
use vfs::{Errno, FsView, Location, NodeContents, Result};

/// A directory of device nodes.
pub struct Nodes<'a> {
    view: &'a FsView<'a>,
    dir: Location,
}

impl<'a> Nodes<'a> {
    /// Those in `dir`, made in the name of `view`, which is the superuser's.
    #[must_use]
    pub fn new(view: &'a FsView<'a>, dir: Location) -> Self {
        Self { view, dir }
    }

    /// Makes a node `path` (with its directories), replacing an old one.
    ///
    /// # Errors
    /// Those of mknod(2).
    pub fn add(&self, path: &str, block: bool, rdev: u64, permissions: u32) -> Result<()> {
        for (slash, _) in path.match_indices('/') {
            self.make_dir(&path[..slash])?;
        }
        match self.remove(path) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let contents = NodeContents::Device { block, rdev };
        let place = self
            .view
            .make(&self.dir, path.as_bytes(), contents, permissions)?;
        // Not as the umask of whoever this is would have it.
        self.view.set_permissions(&place, permissions)
    }

    /// Removes a node.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove(&self, path: &str) -> Result<()> {
        self.view.unlink(&self.dir, path.as_bytes())
    }

    fn make_dir(&self, path: &str) -> Result<()> {
        match self.view.make_dir(&self.dir, path.as_bytes(), 0o755) {
            Ok(_) | Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Makes the nodes, links and directories that programs expect in `dir`.
///
/// # Errors
/// Those of mknod(2).
pub fn populate(view: &FsView<'_>, dir: &Location) -> Result<()> {
    let nodes = Nodes::new(view, dir.clone());
    let list = [
        ("null", NULL, 0o666),
        ("zero", ZERO, 0o666),
        ("full", FULL, 0o666),
        ("random", RANDOM, 0o666),
        ("urandom", URANDOM, 0o666),
        ("kmsg", KMSG, 0o644),
        ("tty", TTY, 0o666),
        ("console", CONSOLE, 0o600),
    ];
    for (name, rdev, permissions) in list {
        nodes.add(name, false, rdev, permissions)?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        view.symlink(target.as_bytes(), dir, name.as_bytes())?;
    }
    let shared = view.make_dir(dir, b"shm", 0o1777)?;
    view.set_permissions(&shared, 0o1777)
}
