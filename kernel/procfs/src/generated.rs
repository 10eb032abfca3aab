//! [`GeneratedFs`]: a file system without storage.
//!
//! A [`Tree`] is a directory of fixed names, to which anybody may add. A
//! [`Directory`] makes its entries when it is asked. An [`Entry`] is a directory,
//! a text, or a link.

use abi::Errno;
use abi::fs::makedev;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;
use vfs::{
    Caller, DirEntry, DirSink, File, FileKind, FileSystem, FsStats, Inode, Io, Location, Metadata,
    OpenFlags, Result, SetAttributes, Sink, Source,
};
use wait::Mutex;

/// Makes a text.
pub type MakeText = Box<dyn Fn() -> Result<Vec<u8>> + Send + Sync>;
/// Takes what was written in one go.
pub type TakeText = Box<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;
/// Finds where a link leads.
pub type MakeJump = Box<dyn Fn() -> Result<Location> + Send + Sync>;

/// A directory that makes its entries when asked.
pub trait Directory: Send + Sync {
    /// The entry of a name.
    ///
    /// # Errors
    /// `ENOENT`.
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>>;
    /// All names, in an order that only grows at its end.
    fn list(&self) -> Vec<(Vec<u8>, FileKind)>;
}

enum Content {
    Directory(Arc<dyn Directory>),
    Text {
        make: MakeText,
        take: Option<TakeText>,
    },
    Link {
        text: MakeText,
        jump: Option<MakeJump>,
    },
}

/// A file, link or directory that is made up.
pub struct Entry {
    content: Content,
    permissions: u32,
    owner: (u32, u32),
    inode: u64,
    stable: bool,
}

fn next_inode() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Entry {
    fn new(content: Content, permissions: u32) -> Self {
        let inode = next_inode();
        Self {
            content,
            permissions,
            owner: (0, 0),
            inode,
            stable: false,
        }
    }

    /// A directory.
    #[must_use]
    pub fn directory(directory: Arc<dyn Directory>) -> Self {
        Self::new(Content::Directory(directory), 0o555)
    }

    /// A text that is made anew each time it is read from its start.
    #[must_use]
    pub fn text(make: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::new(
            Content::Text {
                make: Box::new(make),
                take: None,
            },
            0o444,
        )
    }

    /// A text that can be written to.
    #[must_use]
    pub fn writable(
        make: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static,
        take: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::new(
            Content::Text {
                make: Box::new(make),
                take: Some(Box::new(take)),
            },
            0o644,
        )
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(text: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::new(
            Content::Link {
                text: Box::new(text),
                jump: None,
            },
            0o777,
        )
    }

    /// A link that leads to a place whatever its text says.
    #[must_use]
    pub fn jump(
        text: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static,
        jump: impl Fn() -> Result<Location> + Send + Sync + 'static,
    ) -> Self {
        let content = Content::Link {
            text: Box::new(text),
            jump: Some(Box::new(jump)),
        };
        Self::new(content, 0o777)
    }

    /// With other permissions and owner.
    #[must_use]
    pub fn owned(mut self, permissions: u32, uid: u32, gid: u32) -> Self {
        self.permissions = permissions;
        self.owner = (uid, gid);
        self
    }

    fn kind(&self) -> FileKind {
        match self.content {
            Content::Directory(_) => FileKind::Directory,
            Content::Text { .. } => FileKind::Regular,
            Content::Link { .. } => FileKind::Symlink,
        }
    }
}

/// A directory of fixed names.
#[derive(Default)]
pub struct Tree {
    entries: SpinLock<BTreeMap<Vec<u8>, Arc<Entry>>>,
    trees: SpinLock<BTreeMap<Vec<u8>, Arc<Tree>>>,
    /// What else is in it; asked for names that are not fixed.
    more: SpinLock<Option<Arc<dyn Directory>>>,
}

impl Tree {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Adds an entry at `path`, making directories on the way. An old entry of
    /// that name is replaced.
    pub fn add(self: &Arc<Self>, path: &str, mut entry: Entry) {
        entry.stable = true;
        match path.split_once('/') {
            Some((first, rest)) => self.subtree(first).add(rest, entry),
            None => drop(self.entries.lock().insert(path.into(), Arc::new(entry))),
        }
    }

    /// Adds a text at `path`.
    pub fn add_text(
        self: &Arc<Self>,
        path: &str,
        make: impl Fn() -> String + Send + Sync + 'static,
    ) {
        self.add(path, Entry::text(move || Ok(make().into_bytes())));
    }

    /// Adds a text that never changes.
    pub fn add_fixed(self: &Arc<Self>, path: &str, text: &str) {
        let text = Vec::from(text);
        self.add(path, Entry::text(move || Ok(text.clone())));
    }

    /// Removes the entry at `path`.
    pub fn remove(self: &Arc<Self>, path: &str) {
        match path.split_once('/') {
            Some((first, rest)) => self.subtree(first).remove(rest),
            None => {
                let tree = self.trees.lock().remove(path.as_bytes());
                let entry = self.entries.lock().remove(path.as_bytes());
                drop((tree, entry));
            }
        }
    }

    /// The directory `name` in this one, made if need be.
    pub fn subtree(self: &Arc<Self>, name: &str) -> Arc<Tree> {
        let mut trees = self.trees.lock();
        if let Some(tree) = trees.get(name.as_bytes()) {
            return tree.clone();
        }
        let tree = Tree::new();
        trees.insert(name.into(), tree.clone());
        drop(trees);
        self.add(name, Entry::directory(tree.clone()));
        tree
    }

    /// Names that are not fixed are asked of `directory`.
    pub fn set_more(&self, directory: Arc<dyn Directory>) {
        let old = self.more.lock().replace(directory);
        drop(old);
    }
}

impl Directory for Tree {
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>> {
        if let Some(entry) = self.entries.lock().get(name) {
            return Ok(entry.clone());
        }
        let more = self.more.lock().clone();
        more.ok_or(Errno::ENOENT)?.lookup(name)
    }

    fn list(&self) -> Vec<(Vec<u8>, FileKind)> {
        let mut names: Vec<_> = {
            let entries = self.entries.lock();
            entries
                .iter()
                .map(|(name, entry)| (name.clone(), entry.kind()))
                .collect()
        };
        let more = self.more.lock().clone();
        names.extend(more.into_iter().flat_map(|more| more.list()));
        names
    }
}

/// What the nodes of one file system share.
struct Identity {
    device: u64,
    magic: i64,
}

/// A file system without storage.
pub struct GeneratedFs {
    name: &'static str,
    identity: Arc<Identity>,
    root: Arc<Entry>,
}

impl GeneratedFs {
    /// Over a tree, under the name `name`.
    #[must_use]
    pub fn new(name: &'static str, magic: i64, tree: &Arc<Tree>) -> Arc<Self> {
        static NEXT_DEVICE: AtomicU64 = AtomicU64::new(4096);
        let minor = NEXT_DEVICE.fetch_add(1, Ordering::Relaxed) as u32;
        let root = Entry {
            inode: 1,
            ..Entry::directory(tree.clone())
        };
        let identity = Arc::new(Identity {
            device: makedev(0, minor),
            magic,
        });
        Arc::new(Self {
            name,
            identity,
            root: Arc::new(root),
        })
    }
}

impl FileSystem for GeneratedFs {
    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(Node {
            identity: self.identity.clone(),
            entry: self.root.clone(),
        })
    }
    fn name(&self) -> &str {
        self.name
    }
    fn stats(&self) -> FsStats {
        FsStats::anonymous(self.identity.magic)
    }
}

/// The inode of an entry.
#[derive(Clone)]
struct Node {
    identity: Arc<Identity>,
    entry: Arc<Entry>,
}

impl Node {
    fn metadata(&self) -> Metadata {
        let kind = self.entry.kind();
        Metadata {
            device: self.identity.device,
            inode: self.entry.inode,
            links: if kind == FileKind::Directory { 2 } else { 1 },
            uid: self.entry.owner.0,
            gid: self.entry.owner.1,
            block_size: 1024,
            ..Metadata::anonymous(kind, self.entry.permissions)
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        self.metadata()
    }
    fn kind(&self) -> FileKind {
        self.entry.kind()
    }
    fn stats(&self) -> FsStats {
        FsStats::anonymous(self.identity.magic)
    }
    fn is_stable(&self) -> bool {
        // A mount may be put only on what keeps its identity.
        self.entry.stable && self.entry.kind() == FileKind::Directory
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let Content::Directory(directory) = &self.entry.content else {
            return Err(Errno::ENOTDIR);
        };
        let entry = directory.lookup(name)?;
        Ok(Arc::new(Node {
            identity: self.identity.clone(),
            entry,
        }))
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match &self.entry.content {
            Content::Link { text, .. } => text(),
            _ => Err(Errno::EINVAL),
        }
    }

    fn jump(&self) -> Option<Result<Location>> {
        match &self.entry.content {
            Content::Link {
                jump: Some(jump), ..
            } => Some(jump()),
            _ => None,
        }
    }

    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        _caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>> {
        match &self.entry.content {
            Content::Text { take: None, .. } if flags.writes() => Err(Errno::EACCES),
            Content::Text { .. } => {
                let node = Node::clone(&self);
                Ok(Arc::new(TextFile {
                    node,
                    text: Mutex::new(None),
                }))
            }
            _ => Err(Errno::ENXIO),
        }
    }

    fn set_attributes(&self, _attributes: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM)
    }

    fn truncate(&self, _len: u64) -> Result<()> {
        // `echo x > file` truncates first.
        match &self.entry.content {
            Content::Text { take: Some(_), .. } => Ok(()),
            _ => Err(Errno::EACCES),
        }
    }

    fn read_dir(&self, position: u64, sink: &mut dyn DirSink) -> Result<()> {
        let Content::Directory(directory) = &self.entry.content else {
            return Err(Errno::ENOTDIR);
        };
        let names = directory.list();
        for (index, (name, kind)) in names.iter().enumerate().skip(position as usize) {
            let inode = 1_000_000 + index as u64;
            if !sink.entry(DirEntry {
                inode,
                next: index as u64 + 1,
                kind: *kind,
                name,
            }) {
                break;
            }
        }
        Ok(())
    }
}

/// Longest text that may be written.
const MAX_WRITE: usize = 4096;

/// An open text. What it says is kept from the read at its start on.
struct TextFile {
    node: Node,
    text: Mutex<Option<Vec<u8>>>,
}

impl File for TextFile {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        let Content::Text { make, .. } = &self.node.entry.content else {
            return Err(Errno::EINVAL);
        };
        let mut text = self.text.lock();
        if io.offset == 0 || text.is_none() {
            *text = Some(make()?);
        }
        let bytes = text.as_deref().unwrap_or_default();
        let start = usize::try_from(io.offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        sink.put(&bytes[start..])
    }

    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let Content::Text {
            take: Some(take), ..
        } = &self.node.entry.content
        else {
            return Err(Errno::EINVAL);
        };
        let len = source.left();
        if len > MAX_WRITE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; len];
        source.take(&mut bytes)?;
        take(&bytes)?;
        Ok(len)
    }

    fn metadata(&self) -> Metadata {
        self.node.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(Arc::new(self.node.clone()))
    }

    fn truncate(&self, len: u64) -> Result<()> {
        Inode::truncate(&self.node, len)
    }
}
