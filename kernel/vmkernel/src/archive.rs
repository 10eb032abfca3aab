//! The boot archive becomes the root file system, its files' pages staying
//! where the loader put them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use cpio::{Archive, Entry, FileType};
use hal::mem::Account;
use mem::{FaultError, MemoryObject, PAGE};
use pages::{Frame, next_object_id};
use tmpfs::{Limits, TmpFs};
use vfs::{
    Credentials, Errno, Follow, FsContext, FsView, Location, MountFlags, Namespace, NodeContents,
    OpenFlags, SliceSource,
};

/// One file's pages in the archive.
struct ArchivePages {
    id: u64,
    /// Byte offset of the data in the archive.
    start: u64,
    len: u64,
}

impl MemoryObject for ArchivePages {
    fn page(&self, index: u64, write: bool) -> Result<Frame, FaultError> {
        if write {
            return Err(FaultError::Denied);
        }
        self.present(index).ok_or(FaultError::BusError)
    }

    fn present(&self, index: u64) -> Option<Frame> {
        (index < self.len_pages())
            .then(|| hal::mem::boot_frame(self.start + index * PAGE))
            .flatten()
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn len_pages(&self) -> u64 {
        self.len.div_ceil(PAGE)
    }
}

/// The root file system with all that the archive holds.
pub fn unpack(bytes: &'static [u8]) -> Arc<FsContext> {
    // What programs write is not the kernel's: its reserve stays free.
    let account = Account::new(u64::MAX).expect("invariant: the first account is free");
    let root = TmpFs::named("rootfs", &account, &Limits::none(), 0o755)
        .expect("invariant: a file system without limits has room for its root");
    let context = FsContext::new(Namespace::new(root, MountFlags::empty()));
    let archive = Archive::new(bytes);
    let credentials = Credentials::root();
    let view = context.view(&credentials, None);
    let mut links = BTreeMap::new();
    for entry in archive.clone() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                log::error!("the boot archive is damaged: {error}; the rest of it is not there");
                break;
            }
        };
        if let Err(error) = add(&view, &archive, &entry, &mut links) {
            log::error!("{} of the boot archive: {error}", name_of(&entry));
        }
    }
    drop(view);
    context
}

fn name_of<'a>(entry: &Entry<'a>) -> &'a str {
    core::str::from_utf8(entry.name).unwrap_or("a file")
}

type Links = BTreeMap<cpio::LinkKey, Vec<u8>>;

fn add(
    view: &FsView<'_>,
    archive: &Archive<'static>,
    entry: &Entry<'_>,
    links: &mut Links,
) -> vfs::Result<()> {
    let root = view.root.clone();
    let name = entry.name;
    if name == b"." || name == b"/" {
        return Ok(());
    }
    make_parents(view, &root, name)?;
    match entry.file_type() {
        FileType::Directory => match view.make_dir(&root, name, entry.permissions()) {
            Err(Errno::EEXIST) => Ok(()),
            other => other.map(|_| ()),
        },
        FileType::Symlink => view.symlink(archive.data(entry), &root, name),
        FileType::Regular => add_file(view, archive, entry, links),
        FileType::CharDevice | FileType::BlockDevice => {
            let contents = NodeContents::Device {
                block: entry.file_type() == FileType::BlockDevice,
                rdev: abi::fs::makedev(entry.rdev.0, entry.rdev.1),
            };
            view.make(&root, name, contents, entry.permissions())
                .map(|_| ())
        }
        FileType::Fifo => view
            .make(&root, name, NodeContents::Fifo, entry.permissions())
            .map(|_| ()),
        FileType::Socket | FileType::Unknown => Ok(()),
    }
}

/// Archives name files before their directories at times, or leave these out.
fn make_parents(view: &FsView<'_>, root: &Location, name: &[u8]) -> vfs::Result<()> {
    for (at, _) in name
        .iter()
        .enumerate()
        .filter(|&(at, &byte)| byte == b'/' && at != 0)
    {
        match view.make_dir(root, &name[..at], 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn add_file(
    view: &FsView<'_>,
    archive: &Archive<'static>,
    entry: &Entry<'_>,
    links: &mut Links,
) -> vfs::Result<()> {
    let root = view.root.clone();
    if let Some(key) = entry.link_key() {
        if let Some(first) = links.get(&key) {
            let place = view.resolve(&root, first, Follow::NotLast)?;
            return view.link(&place, &root, entry.name);
        }
        links.insert(key, entry.name.to_vec());
    }
    let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY;
    let file = view.open(&root, entry.name, flags, entry.permissions())?;
    let data = archive.data(entry);
    let start = entry.data.start as u64;
    if data.is_empty() {
        return Ok(());
    }
    if start.is_multiple_of(PAGE)
        && hal::mem::boot_frame(start + (data.len() as u64 - 1) / PAGE * PAGE).is_some()
    {
        let pages = ArchivePages {
            id: next_object_id(),
            start,
            len: data.len() as u64,
        };
        return tmpfs::set_backing(file.file(), Arc::new(pages), data.len() as u64);
    }
    let mut source = SliceSource::new(data);
    while vfs::Source::left(&source) > 0 {
        file.write(&mut source)?;
    }
    Ok(())
}
