//! Names of Unix sockets: paths, which are nodes of the file system, and abstract
//! names, which are a table of their own.

use super::{FAMILY, UnixSocket};
use abi::Errno;
use abi::socket::{AF_UNIX, UNIX_PATH_MAX, Ucred};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use sync::SpinLock;
use vfs::{Address, Caller, FileKind, Follow, NodeContents, Result};

static ABSTRACT: SpinLock<BTreeMap<Vec<u8>, Weak<UnixSocket>>> = SpinLock::new(BTreeMap::new());

/// What an address names.
enum Name<'a> {
    /// Nothing: bind picks a name.
    Unnamed,
    Path(&'a [u8]),
    Abstract(&'a [u8]),
}

fn parse(address: &[u8]) -> Result<Name<'_>> {
    let (family, name) = address.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
    if *family != FAMILY || name.len() > UNIX_PATH_MAX {
        return Err(Errno::EINVAL);
    }
    match name {
        [] => Ok(Name::Unnamed),
        [0, name @ ..] => Ok(Name::Abstract(name)),
        path => {
            let end = path
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(path.len());
            Ok(Name::Path(&path[..end]))
        }
    }
}

fn abstract_address(name: &[u8]) -> Address {
    let mut address = FAMILY.to_vec();
    address.push(0);
    address.extend_from_slice(name);
    address
}

fn path_address(path: &[u8]) -> Address {
    let mut address = FAMILY.to_vec();
    address.extend_from_slice(path);
    address.push(0);
    address
}

/// Who a calling process is to its peers.
pub(super) fn owner_of(caller: &dyn Caller) -> Ucred {
    let credentials = caller.credentials();
    Ucred {
        pid: caller.ids().pid,
        uid: credentials.euid,
        gid: credentials.egid,
    }
}

impl UnixSocket {
    fn has_name(&self) -> bool {
        self.port.name().len() > FAMILY.len()
    }

    pub(super) fn bind_name(&self, caller: &dyn Caller, address: &[u8]) -> Result<()> {
        debug_assert_eq!(AF_UNIX, 1);
        let name = parse(address)?;
        if self.has_name() {
            return Err(Errno::EINVAL);
        }
        match name {
            Name::Unnamed => self.bind_any(),
            Name::Abstract(name) => self.bind_abstract(name),
            Name::Path(path) => self.bind_path(caller, path),
        }
    }

    fn bind_abstract(&self, name: &[u8]) -> Result<()> {
        let mut table = ABSTRACT.lock();
        if table
            .get(name)
            .is_some_and(|known| known.strong_count() > 0)
        {
            return Err(Errno::EADDRINUSE);
        }
        table.insert(name.to_vec(), self.me.clone());
        drop(table);
        self.port.set_name(abstract_address(name));
        Ok(())
    }

    /// Five hexadecimal digits that nobody has (autobind).
    pub(super) fn bind_any(&self) -> Result<()> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.has_name() {
            return Ok(());
        }
        for _ in 0..=0xf_ffff {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
            match self.bind_abstract(format!("{number:05x}").as_bytes()) {
                Err(Errno::EADDRINUSE) => {}
                result => return result,
            }
        }
        Err(Errno::ENOSPC)
    }

    fn bind_path(&self, caller: &dyn Caller, path: &[u8]) -> Result<()> {
        let view = caller.fs();
        let made = view.make(&view.cwd, path, NodeContents::Socket, 0o777);
        let place = made.map_err(|error| match error {
            Errno::EEXIST => Errno::EADDRINUSE,
            error => error,
        })?;
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        place.inode().attachment().ok_or(Errno::EPERM)?.set(&me);
        *self.node.lock() = Some(place);
        self.port.set_name(path_address(path));
        Ok(())
    }

    /// The socket of a name.
    pub(super) fn find(&self, caller: &dyn Caller, address: &[u8]) -> Result<Arc<UnixSocket>> {
        let found = match parse(address)? {
            Name::Unnamed => return Err(Errno::EINVAL),
            Name::Abstract(name) => ABSTRACT.lock().get(name).and_then(Weak::upgrade),
            Name::Path(path) => {
                let view = caller.fs();
                let place = view.resolve(&view.cwd, path, Follow::Last)?;
                view.access(&place, 2, true)?;
                if place.kind() != FileKind::Socket {
                    return Err(Errno::ECONNREFUSED);
                }
                place
                    .inode()
                    .attachment()
                    .and_then(|attachment| attachment.get())
            }
        };
        let found = found.ok_or(Errno::ECONNREFUSED)?;
        if found.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        Ok(found)
    }

    /// Gives an abstract name free.
    pub(super) fn forget_name(&mut self) {
        let name = self.port.name();
        if let Some([0, name @ ..]) = name.get(FAMILY.len()..) {
            let mut table = ABSTRACT.lock();
            if table.get(name).is_some_and(|known| known.ptr_eq(&self.me)) {
                table.remove(name);
            }
        }
    }
}
