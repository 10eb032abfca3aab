//! [`Metadata`]: what stat(2) tells about a file, and [`FileKind`].

use abi::event::Timespec;
use abi::fs::{self, Stat, Statx, StatxTimestamp};
use core::sync::atomic::{AtomicU64, Ordering};

/// What a file is (inode(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// A path.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl FileKind {
    /// The type bits of a mode.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => fs::S_IFREG,
            Self::Directory => fs::S_IFDIR,
            Self::Symlink => fs::S_IFLNK,
            Self::Fifo => fs::S_IFIFO,
            Self::Socket => fs::S_IFSOCK,
            Self::Character => fs::S_IFCHR,
            Self::Block => fs::S_IFBLK,
        }
    }

    /// `DT_*` of getdents64(2).
    #[must_use]
    pub const fn dirent_kind(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }

    /// The kind that a mode's type bits say; 0 is a regular file.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & fs::S_IFMT {
            0 | fs::S_IFREG => Self::Regular,
            fs::S_IFDIR => Self::Directory,
            fs::S_IFLNK => Self::Symlink,
            fs::S_IFIFO => Self::Fifo,
            fs::S_IFSOCK => Self::Socket,
            fs::S_IFCHR => Self::Character,
            fs::S_IFBLK => Self::Block,
            _ => return None,
        })
    }
}

/// What is known about a file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Number of the file system.
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with set-id and sticky.
    pub permissions: u32,
    /// Names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Space used, in 512-byte blocks.
    pub blocks: u64,
    /// Good block size for I/O, in bytes.
    pub block_size: u32,
    /// Last access, ns since 1970.
    pub accessed_ns: u64,
    /// Last change of contents, ns since 1970.
    pub modified_ns: u64,
    /// Last change of the inode, ns since 1970.
    pub changed_ns: u64,
    /// Creation, ns since 1970.
    pub created_ns: u64,
}

/// Device number of files without a file system.
const ANONYMOUS_DEVICE: u64 = fs::makedev(0, 1);

/// A fresh inode number for files without a file system.
#[must_use]
pub fn next_inode_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Metadata {
    /// That of a file without a file system.
    #[must_use]
    pub const fn anonymous(kind: FileKind, permissions: u32) -> Self {
        Self {
            device: ANONYMOUS_DEVICE,
            inode: 1,
            kind,
            permissions,
            links: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            block_size: 4096,
            accessed_ns: 0,
            modified_ns: 0,
            changed_ns: 0,
            created_ns: 0,
        }
    }

    /// Type and permissions.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.permissions
    }

    /// For stat(2).
    #[must_use]
    pub fn to_stat(&self) -> Stat {
        Stat {
            dev: self.device,
            ino: self.inode,
            nlink: u64::from(self.links),
            mode: self.mode(),
            uid: self.uid,
            gid: self.gid,
            pad: 0,
            rdev: self.rdev,
            size: self.size as i64,
            blksize: i64::from(self.block_size),
            blocks: self.blocks as i64,
            atime: Timespec::from_ns(self.accessed_ns),
            mtime: Timespec::from_ns(self.modified_ns),
            ctime: Timespec::from_ns(self.changed_ns),
            unused: [0; 3],
        }
    }

    /// For statx(2); everything known is filled in, as it is cheap.
    #[must_use]
    pub fn to_statx(&self, mount_id: u64) -> Statx {
        let time = |ns| {
            let Timespec { sec, nsec } = Timespec::from_ns(ns);
            StatxTimestamp {
                sec,
                nsec: nsec as u32,
                pad: 0,
            }
        };
        Statx {
            mask: fs::STATX_BASIC_STATS | fs::STATX_BTIME | fs::STATX_MNT_ID,
            blksize: self.block_size,
            nlink: self.links,
            uid: self.uid,
            gid: self.gid,
            mode: self.mode() as u16,
            ino: self.inode,
            size: self.size,
            blocks: self.blocks,
            atime: time(self.accessed_ns),
            btime: time(self.created_ns),
            ctime: time(self.changed_ns),
            mtime: time(self.modified_ns),
            rdev_major: fs::major(self.rdev),
            rdev_minor: fs::minor(self.rdev),
            dev_major: fs::major(self.device),
            dev_minor: fs::minor(self.device),
            mnt_id: mount_id,
            ..Statx::default()
        }
    }
}
