//! The VM's place among the running ones: [`RuntimeDir`], a folder with its
//! sockets, `<runtime dir>/<name>/`.
//!
//! A lock on the file `lock` says that the VM runs; it ends with the process,
//! however that ends, so what a dead monitor left behind is simply replaced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;

/// Where runtime folders are unless the command line says otherwise.
pub const DEFAULT_ROOT: &str = "/run/alster/vms";
/// Name of the console's socket.
pub const CONSOLE: &str = "console";
/// Name of the control socket.
pub const CONTROL: &str = "control";
const LOCK: &str = "lock";

/// The folder of a running VM; its sockets vanish when it is dropped.
pub struct RuntimeDir {
    path: PathBuf,
    _lock: File,
}

impl RuntimeDir {
    /// Makes the folder of the VM called `name` under `root`.
    ///
    /// # Errors
    /// A sentence: the folder cannot be made, or a VM of that name runs.
    pub fn claim(root: &Path, name: &str) -> Result<Self, String> {
        let path = root.join(name);
        let fail = |error: io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(&path).map_err(fail)?;
        let mut lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "a VM named \"{name}\" is running already; a name is used once per host"
                ));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", process::id()))
            .map_err(fail)?;
        Ok(Self { path, _lock: lock })
    }

    /// Listens on the socket called `name`.
    ///
    /// # Errors
    /// A sentence naming the socket.
    pub fn listen(&self, name: &str) -> Result<UnixListener, String> {
        let path = self.path.join(name);
        // What is there was left by a dead monitor: the lock is ours.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map_err(|error| format!("socket {}: {error}", path.display()))
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        for name in [CONSOLE, CONTROL, LOCK] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_sys_util::tempdir::TempDir;

    #[test]
    fn a_name_is_claimed_once_and_freed_at_the_end() {
        let root = TempDir::new().unwrap();
        let first = RuntimeDir::claim(root.as_path(), "web").unwrap();
        let listener = first.listen(CONTROL).unwrap();
        let error = RuntimeDir::claim(root.as_path(), "web").err().unwrap();
        assert!(error.contains("\"web\" is running already"), "{error}");
        drop((listener, first));
        assert!(!root.as_path().join("web").exists());
        RuntimeDir::claim(root.as_path(), "web").unwrap();
    }

    #[test]
    fn sockets_of_a_dead_monitor_are_replaced() {
        let root = TempDir::new().unwrap();
        let path = root.as_path().join("web");
        fs::create_dir_all(&path).unwrap();
        drop(UnixListener::bind(path.join(CONSOLE)).unwrap());
        let claimed = RuntimeDir::claim(root.as_path(), "web").unwrap();
        claimed.listen(CONSOLE).unwrap();
    }
}
