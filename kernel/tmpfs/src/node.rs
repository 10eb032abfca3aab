//! [`Node`]: the inode, which also serves as the open file, and as the memory
//! object where it is a regular file.

use crate::Store;
use crate::contents::Contents;
use crate::directory::{Directory, list};
use abi::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use pages::{FaultError, Frame, MemoryObject, PAGE_SIZE, next_object_id};
use sync::SpinLock;
use vfs::{
    Attachment, Caller, DirSink, File, FileKind, FsStats, Inode, Io, Metadata, NewNode,
    NodeContents, OpenFlags, RenameFlags, Result, SetAttributes, Sink, Source,
};

enum Body {
    Regular(Contents),
    Directory(SpinLock<Directory>),
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    Device { block: bool, rdev: u64 },
}

struct Attributes {
    permissions: u32,
    uid: u32,
    gid: u32,
    links: u32,
    accessed_ns: u64,
    modified_ns: u64,
    changed_ns: u64,
    created_ns: u64,
}

/// A node of the tree.
pub(crate) struct Node {
    store: Arc<Store>,
    number: u64,
    object_id: u64,
    body: Body,
    attributes: SpinLock<Attributes>,
    attachment: Attachment,
    me: Weak<Node>,
}

fn as_node(inode: &Arc<dyn Inode>) -> Result<Arc<Node>> {
    let any: Arc<dyn core::any::Any + Send + Sync> = inode.clone();
    any.downcast().map_err(|_| Errno::EXDEV)
}

impl Node {
    pub fn new(store: &Arc<Store>, new: &NewNode) -> Result<Arc<Self>> {
        let number = store.new_inode()?;
        let body = match &new.contents {
            NodeContents::Regular => Body::Regular(Contents::new()),
            NodeContents::Directory => Body::Directory(SpinLock::new(Directory::default())),
            NodeContents::Symlink(target) => Body::Symlink(target.clone()),
            NodeContents::Fifo => Body::Fifo,
            NodeContents::Socket => Body::Socket,
            NodeContents::Device { block, rdev } => Body::Device {
                block: *block,
                rdev: *rdev,
            },
        };
        let now = wait::realtime_ns();
        let attributes = SpinLock::new(Attributes {
            permissions: new.permissions,
            uid: new.uid,
            gid: new.gid,
            // A directory has a name and its own `.`.
            links: if matches!(body, Body::Directory(_)) {
                2
            } else {
                1
            },
            accessed_ns: now,
            modified_ns: now,
            changed_ns: now,
            created_ns: now,
        });
        Ok(Arc::new_cyclic(|me| Self {
            store: store.clone(),
            number,
            object_id: next_object_id(),
            body,
            attributes,
            attachment: Attachment::new(),
            me: me.clone(),
        }))
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn file_kind(&self) -> FileKind {
        match &self.body {
            Body::Regular(_) => FileKind::Regular,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
            Body::Device { block: true, .. } => FileKind::Block,
            Body::Device { block: false, .. } => FileKind::Character,
        }
    }

    pub fn set_backing(&self, source: Arc<dyn MemoryObject>, len: u64) -> Result<()> {
        self.contents()?.set_backing(source, len)
    }

    fn contents(&self) -> Result<&Contents> {
        match &self.body {
            Body::Regular(contents) => Ok(contents),
            Body::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn directory(&self) -> Result<&SpinLock<Directory>> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    /// The contents have changed.
    fn touch(&self) {
        let now = wait::realtime_ns();
        let mut attributes = self.attributes.lock();
        attributes.modified_ns = now;
        attributes.changed_ns = now;
    }

    /// Adds to the number of names.
    fn relink(&self, change: i32) {
        let now = wait::realtime_ns();
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(change);
        attributes.changed_ns = now;
    }

    /// An entry came (1) or went (-1).
    fn entry_changed(&self, entry: &Node, change: i32) {
        if entry.is_dir() {
            self.relink(change);
        }
        self.touch();
    }

    /// A name of this node is gone.
    fn name_removed(&self) {
        self.relink(if self.is_dir() { -2 } else { -1 });
    }

    fn size_and_blocks(&self) -> (u64, u64) {
        match &self.body {
            Body::Regular(contents) => {
                let (len, pages) = contents.usage();
                (len, pages * (PAGE_SIZE as u64 / 512))
            }
            Body::Directory(directory) => (directory.lock().len() * 20 + 40, 0),
            Body::Symlink(target) => (target.len() as u64, 0),
            _ => (0, 0),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.store.inode_freed();
        match &mut self.body {
            Body::Regular(contents) => {
                let pages = contents.own_pages();
                self.store.pages_freed(pages);
            }
            Body::Directory(directory) => drop_tree(directory.get_mut().take_nodes()),
            _ => {}
        }
    }
}

/// Drops nodes and what is below them without a deep stack.
fn drop_tree(mut nodes: Vec<Arc<Node>>) {
    while let Some(node) = nodes.pop() {
        if let Some(mut last) = Arc::into_inner(node)
            && let Body::Directory(directory) = &mut last.body
        {
            nodes.append(&mut directory.get_mut().take_nodes());
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let (size, blocks) = self.size_and_blocks();
        let rdev = if let Body::Device { rdev, .. } = self.body {
            rdev
        } else {
            0
        };
        let attributes = self.attributes.lock();
        Metadata {
            device: self.store.device,
            inode: self.number,
            kind: self.file_kind(),
            permissions: attributes.permissions,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev,
            size,
            blocks,
            block_size: PAGE_SIZE as u32,
            accessed_ns: attributes.accessed_ns,
            modified_ns: attributes.modified_ns,
            changed_ns: attributes.changed_ns,
            created_ns: attributes.created_ns,
        }
    }

    fn kind(&self) -> FileKind {
        self.file_kind()
    }

    fn stats(&self) -> FsStats {
        self.store.stats()
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.directory()?.lock().get(name)?)
    }

    fn create(&self, name: &[u8], new: &NewNode) -> Result<Arc<dyn Inode>> {
        let node = Node::new(&self.store, new)?;
        self.directory()?.lock().insert(name, node.clone())?;
        self.entry_changed(&node, 1);
        Ok(node)
    }

    fn create_unnamed(&self, new: &NewNode) -> Result<Arc<dyn Inode>> {
        let node = Node::new(&self.store, new)?;
        node.name_removed();
        Ok(node)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        let node = as_node(inode)?;
        self.directory()?.lock().insert(name, node.clone())?;
        node.relink(1);
        self.touch();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let node = {
            let mut directory = self.directory()?.lock();
            if directory.get(name)?.is_dir() {
                return Err(Errno::EISDIR);
            }
            directory.remove(name)?
        };
        node.name_removed();
        self.touch();
        Ok(())
    }

    fn remove_dir(&self, name: &[u8]) -> Result<()> {
        let node = self.directory()?.lock().get(name)?;
        node.directory()?.lock().kill()?;
        self.directory()?.lock().remove(name)?;
        node.name_removed();
        self.entry_changed(&node, -1);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let new_dir = as_node(new_dir)?;
        let node = self.directory()?.lock().get(name)?;
        let target = match new_dir.directory()?.lock().get(new_name) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        match target {
            Some(target) if flags.contains(RenameFlags::EXCHANGE) => {
                self.exchange(name, &node, &new_dir, new_name, target)?;
            }
            Some(_) if flags.contains(RenameFlags::NO_REPLACE) => return Err(Errno::EEXIST),
            target => self.move_entry(name, &node, &new_dir, new_name, target)?,
        }
        node.relink(0);
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(
        self: Arc<Self>,
        _flags: OpenFlags,
        _caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>> {
        self.contents().map_err(|_| Errno::ENXIO)?;
        Ok(self)
    }

    fn set_attributes(&self, set: &SetAttributes) -> Result<()> {
        let now = wait::realtime_ns();
        let mut attributes = self.attributes.lock();
        let known = &mut *attributes;
        known.permissions = set.permissions.unwrap_or(known.permissions);
        known.uid = set.uid.unwrap_or(known.uid);
        known.gid = set.gid.unwrap_or(known.gid);
        known.accessed_ns = set.accessed_ns.unwrap_or(known.accessed_ns);
        known.modified_ns = set.modified_ns.unwrap_or(known.modified_ns);
        known.changed_ns = now;
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.contents()?.truncate(len, &self.store)?;
        self.touch();
        Ok(())
    }

    fn read_dir(&self, mut position: u64, sink: &mut dyn DirSink) -> Result<()> {
        loop {
            let batch = self.directory()?.lock().batch(position);
            match list(&batch, sink) {
                Some(last) if last > 0 => position = last,
                _ => return Ok(()),
            }
        }
    }

    fn attachment(&self) -> Option<&Attachment> {
        Some(&self.attachment)
    }
}

impl Node {
    fn exchange(
        &self,
        name: &[u8],
        node: &Arc<Node>,
        new_dir: &Node,
        new_name: &[u8],
        target: Arc<Node>,
    ) -> Result<()> {
        new_dir
            .directory()?
            .lock()
            .replace(new_name, node.clone())?;
        self.directory()?.lock().replace(name, target.clone())?;
        self.entry_changed(node, -1);
        self.entry_changed(&target, 1);
        new_dir.entry_changed(&target, -1);
        new_dir.entry_changed(node, 1);
        Ok(())
    }

    fn move_entry(
        &self,
        name: &[u8],
        node: &Arc<Node>,
        new_dir: &Node,
        new_name: &[u8],
        target: Option<Arc<Node>>,
    ) -> Result<()> {
        if new_dir.directory()?.lock().is_dead() {
            return Err(Errno::ENOENT);
        }
        if let Some(target) = target {
            match (node.is_dir(), target.is_dir()) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                (true, true) => target.directory()?.lock().kill()?,
                (false, false) => {}
            }
            let old = new_dir
                .directory()?
                .lock()
                .replace(new_name, node.clone())?;
            new_dir.entry_changed(&old, -1);
            old.name_removed();
        } else {
            new_dir.directory()?.lock().insert(new_name, node.clone())?;
        }
        self.directory()?.lock().remove(name)?;
        self.entry_changed(node, -1);
        new_dir.entry_changed(node, 1);
        Ok(())
    }
}

impl File for Node {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        self.contents()?.read(io.offset, sink, &self.store)
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let offset = (!io.append).then_some(io.offset);
        let (offset, count) = self.contents()?.write(offset, source, &self.store)?;
        io.offset = offset;
        if count > 0 {
            self.touch();
        }
        Ok(count)
    }

    fn mmap(&self) -> Result<Arc<dyn MemoryObject>> {
        self.contents().map_err(|_| Errno::ENODEV)?;
        let me = self.me.upgrade().ok_or(Errno::ENODEV)?;
        Ok(me)
    }

    fn metadata(&self) -> Metadata {
        Inode::metadata(self)
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        let me = self.me.upgrade()?;
        Some(me)
    }

    fn stats(&self) -> FsStats {
        self.store.stats()
    }

    fn reopen(&self, _flags: OpenFlags) -> Result<Arc<dyn File>> {
        let me: Arc<dyn File> = self.me.upgrade().ok_or(Errno::EIO)?;
        Ok(me)
    }

    fn truncate(&self, len: u64) -> Result<()> {
        Inode::truncate(self, len)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<()> {
        self.contents()?.allocate(mode, offset, len, &self.store)?;
        self.touch();
        Ok(())
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn end(&self) -> u64 {
        self.contents().map_or(0, Contents::len)
    }

    fn seek_region(&self, offset: u64, hole: bool) -> Result<u64> {
        self.contents()?.seek_region(offset, hole)
    }
}

impl MemoryObject for Node {
    fn page(&self, index: u64, write: bool) -> core::result::Result<Frame, FaultError> {
        self.contents()
            .map_err(|_| FaultError::BusError)?
            .page(index, write, &self.store)
    }
    fn present(&self, index: u64) -> Option<Frame> {
        self.contents().ok()?.present(index)
    }
    fn writes_in_place(&self) -> bool {
        self.contents().is_ok_and(Contents::is_all_own)
    }
    fn id(&self) -> u64 {
        self.object_id
    }
    fn len_pages(&self) -> u64 {
        self.contents()
            .map_or(0, |contents| contents.len().div_ceil(PAGE_SIZE as u64))
    }
}
