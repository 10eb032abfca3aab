//! The nodes under /dev open what is registered.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::{OpenFlags, makedev};
use devfs::{Nodes, NullDevice, SharedFile, populate};
use pages::Account;
use std::sync::Arc;
use tmpfs::{Limits, TmpFs};
use vfs::{Credentials, FileKind, FsContext, MountFlags, Namespace, SliceSource};

#[test]
fn nodes_lead_to_devices() {
    let fs = TmpFs::named("devtmpfs", &Account::kernel(), &Limits::none(), 0o755).unwrap();
    let context = FsContext::new(Namespace::new(fs, MountFlags::empty()));
    let root = Credentials::root();
    let view = context.view(&root, None);
    populate(&view, &view.cwd).unwrap();
    vfs::device::register(
        false,
        devfs::NULL,
        Arc::new(SharedFile(Arc::new(NullDevice))),
    );
    let null = view
        .open(&view.cwd, b"null", OpenFlags::RDWR | OpenFlags::TRUNC, 0)
        .unwrap();
    assert_eq!(null.write(&mut SliceSource::new(b"gone")), Ok(4));
    let metadata = null.metadata();
    assert_eq!(
        (metadata.kind, metadata.rdev),
        (FileKind::Character, makedev(1, 3))
    );
    assert_eq!(metadata.permissions, 0o666);
    let nodes = Nodes::new(&view, view.cwd.clone());
    nodes
        .add("net/tun", false, makedev(10, 200), 0o600)
        .unwrap();
    nodes
        .add("net/tun", false, makedev(10, 200), 0o600)
        .unwrap();
    let open = view.open(&view.cwd, b"net/tun", OpenFlags::RDWR, 0);
    assert_eq!(open.err(), Some(Errno::ENXIO));
    assert_eq!(
        view.read_link(&view.cwd, b"stdin"),
        Ok(b"/proc/self/fd/0".to_vec())
    );
}
