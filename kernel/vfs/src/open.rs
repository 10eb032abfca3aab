//! open(2) on an [`FsView`], and the files that directories and `O_PATH` give.

use crate::walk::{Last, MAY_READ, MAY_WRITE, Walk};
use crate::{
    Caller, DirEntry, DirSink, Errno, File, FileKind, Follow, FsStats, FsView, Inode, Io, Location,
    Metadata, MountFlags, NewNode, NodeContents, OpenFile, OpenFlags, Result, Sink, device,
};
use alloc::string::String;
use alloc::sync::Arc;
use pages::MemoryObject;

/// Flags that say how to open and mean nothing afterwards.
const ONCE: OpenFlags = OpenFlags::CREAT
    .union(OpenFlags::EXCL)
    .union(OpenFlags::NOCTTY)
    .union(OpenFlags::TRUNC)
    .union(OpenFlags::CLOEXEC);

const TMPFILE: OpenFlags = OpenFlags::TMPFILE_ONLY.union(OpenFlags::DIRECTORY);

impl FsView<'_> {
    /// Opens `path`, relative to `at`. `mode` is for what `CREAT` creates.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(
        &self,
        at: &Location,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::PATH) {
            return self.open_path(at, path, flags);
        }
        if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            // Neither a directory nor an unnamed file is created this way.
            return Err(Errno::EINVAL);
        }
        if flags.contains(TMPFILE) {
            return self.open_unnamed(at, path, flags, mode);
        }
        if flags.contains(OpenFlags::CREAT) {
            return self.open_or_create(at, path, flags, mode);
        }
        let follow = follow_unless(flags.contains(OpenFlags::NOFOLLOW));
        let place = self.resolve(at, path, follow)?;
        self.open_location(place, flags)
    }

    /// Opens what is at `place`.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open_location(&self, place: Location, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.check_open(&place, flags)?;
        self.finish_open(place, flags, flags.contains(OpenFlags::TRUNC))
    }

    fn check_open(&self, place: &Location, flags: OpenFlags) -> Result<()> {
        let metadata = place.inode().metadata();
        match metadata.kind {
            FileKind::Symlink if flags.contains(OpenFlags::DIRECTORY) => {
                return Err(Errno::ENOTDIR);
            }
            FileKind::Symlink => return Err(Errno::ELOOP),
            FileKind::Directory if flags.writes() || flags.contains(OpenFlags::CREAT) => {
                return Err(Errno::EISDIR);
            }
            FileKind::Directory => {}
            _ if flags.contains(OpenFlags::DIRECTORY) => return Err(Errno::ENOTDIR),
            FileKind::Character | FileKind::Block
                if place.mount.flags().contains(MountFlags::NO_DEVICES) =>
            {
                return Err(Errno::EACCES);
            }
            _ => {}
        }
        let mut wanted = 0;
        if flags.reads() {
            wanted |= MAY_READ;
        }
        if flags.writes() || flags.contains(OpenFlags::TRUNC) {
            wanted |= MAY_WRITE;
            if metadata.kind == FileKind::Regular {
                check_writable_mount(place)?;
            }
        }
        self.check(&metadata, wanted)?;
        let owns = self.credentials.is_superuser() || self.credentials.euid == metadata.uid;
        if flags.contains(OpenFlags::NOATIME) && !owns {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    fn finish_open(
        &self,
        place: Location,
        flags: OpenFlags,
        truncate: bool,
    ) -> Result<Arc<OpenFile>> {
        let inode = place.inode().clone();
        let file: Arc<dyn File> = match inode.kind() {
            _ if let Some(again) = inode.reopen(flags) => again?,
            FileKind::Directory => Arc::new(DirectoryFile {
                place: place.clone(),
            }),
            FileKind::Regular => {
                if truncate {
                    inode.truncate(0)?;
                }
                inode.open(flags, self.caller)?
            }
            _ => device::open_node(&inode, flags, self.caller)?,
        };
        Ok(OpenFile::at(file, flags.difference(ONCE), place))
    }

    fn open_path(&self, at: &Location, path: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let follow = follow_unless(flags.contains(OpenFlags::NOFOLLOW));
        let place = self.resolve(at, path, follow)?;
        let is_dir = place.kind() == FileKind::Directory;
        if flags.contains(OpenFlags::DIRECTORY) && !is_dir {
            return Err(Errno::ENOTDIR);
        }
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
        let file = Arc::new(PathFile {
            place: place.clone(),
        });
        Ok(OpenFile::at(file, flags.intersection(kept), place))
    }

    fn open_unnamed(
        &self,
        at: &Location,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Arc<OpenFile>> {
        if !flags.writes() {
            return Err(Errno::EINVAL);
        }
        let dir = self.resolve(at, path, Follow::Last)?;
        self.may_change(&dir)?;
        let node = self.new_node(NodeContents::Regular, mode);
        let inode = dir.inode().create_unnamed(&node)?;
        let dentry = crate::Dentry::unnamed(inode, &dir.dentry);
        let place = Location {
            mount: dir.mount.clone(),
            dentry,
        };
        self.finish_open(place, flags.difference(TMPFILE), false)
    }

    fn open_or_create(
        &self,
        at: &Location,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Arc<OpenFile>> {
        let exclusive = flags.contains(OpenFlags::EXCL);
        let mut walk = Walk::new(self, at, path)?;
        loop {
            let parent = walk.find_parent()?;
            let Last::Name(name) = &parent.last else {
                return Err(if exclusive {
                    Errno::EEXIST
                } else {
                    Errno::EISDIR
                });
            };
            if parent.must_be_dir {
                return Err(Errno::EISDIR);
            }
            let (dentry, created) = self.look_up_or_create(&parent.dir, name, mode)?;
            let place = Location {
                mount: parent.dir.mount.clone(),
                dentry,
            };
            if created {
                // Its mode may forbid what its creator opens it for.
                return self.finish_open(place, flags, false);
            }
            let place = self.namespace.enter(place);
            if exclusive {
                return Err(Errno::EEXIST);
            }
            if place.kind() != FileKind::Symlink || flags.contains(OpenFlags::NOFOLLOW) {
                return self.open_location(place, flags);
            }
            walk.expand(&place)?;
            if place.inode().jump().is_some() {
                return self.open_location(walk.finish(Follow::Last)?, flags);
            }
        }
    }

    /// The entry, and whether this call has made it.
    fn look_up_or_create(
        &self,
        dir: &Location,
        name: &[u8],
        mode: u32,
    ) -> Result<(Arc<crate::Dentry>, bool)> {
        let mut locked = dir.dentry.lock()?;
        match locked.lookup(name) {
            Err(Errno::ENOENT) => {}
            found => return found.map(|dentry| (dentry, false)),
        }
        self.may_change(dir)?;
        let node = self.new_node(NodeContents::Regular, mode);
        Ok((locked.create(name, &node)?, true))
    }

    pub(crate) fn new_node(&self, contents: NodeContents, mode: u32) -> NewNode {
        NewNode {
            contents,
            permissions: mode & 0o7777 & !self.umask,
            uid: self.credentials.euid,
            gid: self.credentials.egid,
        }
    }
}

pub(crate) fn follow_unless(no_follow: bool) -> Follow {
    if no_follow {
        Follow::NotLast
    } else {
        Follow::Last
    }
}

pub(crate) fn check_writable_mount(place: &Location) -> Result<()> {
    if place.mount.flags().contains(MountFlags::READ_ONLY) {
        return Err(Errno::EROFS);
    }
    Ok(())
}

/// An open directory.
struct DirectoryFile {
    place: Location,
}

/// Adds the two positions of `.` and `..` to those of the file system.
struct AfterDots<'a>(&'a mut dyn DirSink);

impl DirSink for AfterDots<'_> {
    fn entry(&mut self, entry: DirEntry<'_>) -> bool {
        self.0.entry(DirEntry {
            next: entry.next + 2,
            ..entry
        })
    }
}

impl File for DirectoryFile {
    fn is_seekable(&self) -> bool {
        true
    }
    fn read(&self, _io: &mut Io, _sink: &mut dyn Sink) -> Result<usize> {
        Err(Errno::EISDIR)
    }
    fn metadata(&self) -> Metadata {
        self.place.inode().metadata()
    }
    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.place.inode().clone())
    }
    fn stats(&self) -> FsStats {
        self.place.inode().stats()
    }
    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
    fn end(&self) -> u64 {
        i64::MAX as u64
    }
    fn read_dir(&self, position: u64, sink: &mut dyn DirSink) -> Result<()> {
        if self.place.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        let kind = FileKind::Directory;
        if position == 0 {
            let inode = self.metadata().inode;
            if !sink.entry(DirEntry {
                inode,
                next: 1,
                kind,
                name: b".",
            }) {
                return Ok(());
            }
        }
        if position <= 1 {
            let above = self.place.parent().unwrap_or_else(|| self.place.clone());
            let inode = above.inode().metadata().inode;
            if !sink.entry(DirEntry {
                inode,
                next: 2,
                kind,
                name: b"..",
            }) {
                return Ok(());
            }
        }
        self.place
            .inode()
            .read_dir(position.saturating_sub(2), &mut AfterDots(sink))
    }
}

/// A place held open by `O_PATH`: every use as a file is `EBADF`.
struct PathFile {
    place: Location,
}

impl File for PathFile {
    fn read(&self, _io: &mut Io, _sink: &mut dyn Sink) -> Result<usize> {
        Err(Errno::EBADF)
    }
    fn poll(&self) -> abi::event::Events {
        abi::event::Events::NVAL
    }
    fn ioctl(&self, _caller: &dyn Caller, _command: u32, _argument: u64) -> Result<u64> {
        Err(Errno::EBADF)
    }
    fn mmap(&self) -> Result<Arc<dyn MemoryObject>> {
        Err(Errno::EBADF)
    }
    fn metadata(&self) -> Metadata {
        self.place.inode().metadata()
    }
    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.place.inode().clone())
    }
    fn stats(&self) -> FsStats {
        self.place.inode().stats()
    }
    fn truncate(&self, _len: u64) -> Result<()> {
        Err(Errno::EBADF)
    }
    fn sync(&self, _data_only: bool) -> Result<()> {
        Err(Errno::EBADF)
    }
    fn label(&self) -> String {
        String::from("path")
    }
}
