//! Files and directories: open(2), stat(2), statx(2), statfs(2), getdents64(2).
//!
//! The main types are [`OpenFlags`] and [`Stat`].

use crate::event::Timespec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags::bitflags! {
    /// The flags of open(2) and of fcntl(F_GETFL).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Writing only.
        const WRONLY = 0o1;
        /// Reading and writing.
        const RDWR = 0o2;
        /// Create what is not there.
        const CREAT = 0o100;
        /// Fail where it is there.
        const EXCL = 0o200;
        /// Do not become the controlling terminal.
        const NOCTTY = 0o400;
        /// Empty the file.
        const TRUNC = 0o1000;
        /// Each write goes to the end.
        const APPEND = 0o2000;
        /// Do not block.
        const NONBLOCK = 0o4000;
        /// Data is durable when write returns.
        const DSYNC = 0o10000;
        /// Signal-driven I/O; accepted, no effect.
        const ASYNC = 0o20000;
        /// Bypass caches.
        const DIRECT = 0o40000;
        /// Sizes above 2 GiB; always on.
        const LARGEFILE = 0o100000;
        /// Only a directory will do.
        const DIRECTORY = 0o200000;
        /// The last component must not be a symbolic link.
        const NOFOLLOW = 0o400000;
        /// Leave the access time alone.
        const NOATIME = 0o1000000;
        /// Close on exec.
        const CLOEXEC = 0o2000000;
        /// File and metadata are durable when write returns (with `DSYNC`).
        const SYNC_META = 0o4000000;
        /// A place in the tree only; no reading or writing.
        const PATH = 0o10000000;
        /// A file without a name (with `DIRECTORY`).
        const TMPFILE_ONLY = 0o20000000;
    }
}

impl OpenFlags {
    /// The two bits that say what the file is opened for.
    pub const ACCESS: u32 = 0o3;

    /// Opened for reading?
    #[must_use]
    pub const fn reads(self) -> bool {
        self.bits() & Self::ACCESS != 1 && !self.contains(Self::PATH)
    }

    /// Opened for writing?
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self.bits() & Self::ACCESS, 1 | 2) && !self.contains(Self::PATH)
    }
}

/// "Relative to the working directory" in the *at calls.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a symbolic link at the end.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// unlinkat: remove a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// faccessat: by the effective ids.
pub const AT_EACCESS: u32 = 0x200;
/// linkat: follow a symbolic link at the end.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// An empty path means the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;

/// renameat2: fail where the new name exists.
pub const RENAME_NOREPLACE: u32 = 1;
/// renameat2: swap the two.
pub const RENAME_EXCHANGE: u32 = 2;

/// Mask of the file type in a mode.
pub const S_IFMT: u32 = 0o170000;
/// Socket.
pub const S_IFSOCK: u32 = 0o140000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0o120000;
/// Regular file.
pub const S_IFREG: u32 = 0o100000;
/// Block device.
pub const S_IFBLK: u32 = 0o060000;
/// Directory.
pub const S_IFDIR: u32 = 0o040000;
/// Character device.
pub const S_IFCHR: u32 = 0o020000;
/// Named pipe.
pub const S_IFIFO: u32 = 0o010000;

/// lseek: from the start.
pub const SEEK_SET: u32 = 0;
/// lseek: from where it is.
pub const SEEK_CUR: u32 = 1;
/// lseek: from the end.
pub const SEEK_END: u32 = 2;
/// lseek: the next data.
pub const SEEK_DATA: u32 = 3;
/// lseek: the next hole.
pub const SEEK_HOLE: u32 = 4;

/// fallocate: do not change the size.
pub const FALLOC_FL_KEEP_SIZE: u32 = 1;
/// fallocate: make a hole.
pub const FALLOC_FL_PUNCH_HOLE: u32 = 2;
/// fallocate: make it read as zeros.
pub const FALLOC_FL_ZERO_RANGE: u32 = 0x10;

/// Longest name of one directory entry, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest path, with its final zero, in bytes.
pub const PATH_MAX: usize = 4096;

/// ioctl: bytes that can be read now.
pub const FIONREAD: u32 = 0x541B;
/// ioctl: set or clear `O_NONBLOCK`.
pub const FIONBIO: u32 = 0x5421;
/// ioctl: set close-on-exec.
pub const FIOCLEX: u32 = 0x5451;
/// ioctl: clear close-on-exec.
pub const FIONCLEX: u32 = 0x5450;

/// Magic of tmpfs in statfs.
pub const TMPFS_MAGIC: i64 = 0x0102_1994;
/// Magic of procfs in statfs.
pub const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// Magic of sysfs in statfs.
pub const SYSFS_MAGIC: i64 = 0x6265_6572;
/// Magic of pipes in statfs.
pub const PIPEFS_MAGIC: i64 = 0x5049_5045;
/// Magic of anonymous inodes in statfs.
pub const ANON_INODE_FS_MAGIC: i64 = 0x0904_1934;

/// What stat(2) gives on x86-64.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stat {
    /// Device that holds the file.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Hard links.
    pub nlink: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Zero.
    pub pad: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Size in bytes.
    pub size: i64,
    /// Good block size for I/O.
    pub blksize: i64,
    /// Space used, in 512-byte blocks.
    pub blocks: i64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of contents.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
    /// Zero.
    pub unused: [i64; 3],
}

/// A time in statx(2).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StatxTimestamp {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: u32,
    /// Zero.
    pub pad: i32,
}

/// What statx(2) gives.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statx {
    /// Which fields are filled.
    pub mask: u32,
    /// Good block size for I/O.
    pub blksize: u32,
    /// File attributes.
    pub attributes: u64,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u16,
    /// Zero.
    pub pad1: u16,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Space used, in 512-byte blocks.
    pub blocks: u64,
    /// Which attributes are known.
    pub attributes_mask: u64,
    /// Last access.
    pub atime: StatxTimestamp,
    /// Creation.
    pub btime: StatxTimestamp,
    /// Last change of the inode.
    pub ctime: StatxTimestamp,
    /// Last change of contents.
    pub mtime: StatxTimestamp,
    /// Device number of a device node.
    pub rdev_major: u32,
    /// Device number of a device node.
    pub rdev_minor: u32,
    /// Device that holds the file.
    pub dev_major: u32,
    /// Device that holds the file.
    pub dev_minor: u32,
    /// Mount that the file was reached by.
    pub mnt_id: u64,
    /// Zero.
    pub spare: [u64; 13],
}

/// statx mask: all that stat(2) has.
pub const STATX_BASIC_STATS: u32 = 0x7ff;
/// statx mask: the creation time.
pub const STATX_BTIME: u32 = 0x800;
/// statx mask: the mount's id.
pub const STATX_MNT_ID: u32 = 0x1000;

/// What statfs(2) gives.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statfs {
    /// Magic number of the file system.
    pub kind: i64,
    /// Block size in bytes.
    pub bsize: i64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// File system id.
    pub fsid: [i32; 2],
    /// Longest name.
    pub namelen: i64,
    /// Fragment size.
    pub frsize: i64,
    /// Mount flags.
    pub flags: i64,
    /// Zero.
    pub spare: [i64; 4],
}

/// The fixed head of one entry of getdents64(2); the name follows at byte 19,
/// zero-terminated, and the whole is padded to 8 bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct DirentHead {
    /// Inode number.
    pub ino: u64,
    /// Position of the next entry.
    pub off: i64,
    /// Length of this entry in bytes.
    pub reclen: u16,
    /// `DT_*`: the file type of a mode, shifted right by 12.
    pub kind: u8,
}

/// One piece of a scatter list (readv(2)).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Iovec {
    /// Address.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Packs a device number as stat(2) shows it.
#[must_use]
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    ((major & 0xffff_f000) << 32)
        | ((major & 0xfff) << 8)
        | ((minor & 0xffff_ff00) << 12)
        | (minor & 0xff)
}

/// The major part of a device number.
#[must_use]
pub const fn major(dev: u64) -> u32 {
    (((dev >> 32) & 0xffff_f000) | ((dev >> 8) & 0xfff)) as u32
}

/// The minor part of a device number.
#[must_use]
pub const fn minor(dev: u64) -> u32 {
    (((dev >> 12) & 0xffff_ff00) | (dev & 0xff)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn stat_is_that_of_libc() {
        assert_eq!(size_of::<Stat>(), size_of::<libc::stat>());
        assert_eq!(offset_of!(Stat, mode), offset_of!(libc::stat, st_mode));
        assert_eq!(offset_of!(Stat, rdev), offset_of!(libc::stat, st_rdev));
        assert_eq!(offset_of!(Stat, size), offset_of!(libc::stat, st_size));
        assert_eq!(offset_of!(Stat, blocks), offset_of!(libc::stat, st_blocks));
        assert_eq!(offset_of!(Stat, ctime), offset_of!(libc::stat, st_ctime));
    }

    #[test]
    fn statx_and_statfs_are_those_of_libc() {
        assert_eq!(size_of::<Statx>(), size_of::<libc::statx>());
        assert_eq!(offset_of!(Statx, ino), offset_of!(libc::statx, stx_ino));
        assert_eq!(offset_of!(Statx, btime), offset_of!(libc::statx, stx_btime));
        assert_eq!(
            offset_of!(Statx, dev_minor),
            offset_of!(libc::statx, stx_dev_minor)
        );
        assert_eq!(
            offset_of!(Statx, mnt_id),
            offset_of!(libc::statx, stx_mnt_id)
        );
        assert_eq!(size_of::<Statfs>(), size_of::<libc::statfs>());
        assert_eq!(
            offset_of!(Statfs, namelen),
            offset_of!(libc::statfs, f_namelen)
        );
        assert_eq!(offset_of!(Statfs, flags), offset_of!(Statfs, frsize) + 8);
        assert_eq!(size_of::<DirentHead>(), offset_of!(libc::dirent64, d_name));
        assert_eq!(
            offset_of!(DirentHead, kind),
            offset_of!(libc::dirent64, d_type)
        );
        assert_eq!(size_of::<Iovec>(), size_of::<libc::iovec>());
    }

    #[test]
    fn open_flags_are_those_of_libc() {
        let pairs = [
            (OpenFlags::CREAT, libc::O_CREAT),
            (OpenFlags::EXCL, libc::O_EXCL),
            (OpenFlags::NOCTTY, libc::O_NOCTTY),
            (OpenFlags::TRUNC, libc::O_TRUNC),
            (OpenFlags::APPEND, libc::O_APPEND),
            (OpenFlags::NONBLOCK, libc::O_NONBLOCK),
            (OpenFlags::DSYNC, libc::O_DSYNC),
            (OpenFlags::DIRECT, libc::O_DIRECT),
            (OpenFlags::DIRECTORY, libc::O_DIRECTORY),
            (OpenFlags::NOFOLLOW, libc::O_NOFOLLOW),
            (OpenFlags::NOATIME, libc::O_NOATIME),
            (OpenFlags::CLOEXEC, libc::O_CLOEXEC),
            (OpenFlags::PATH, libc::O_PATH),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.bits(), theirs as u32);
        }
        let tmpfile = OpenFlags::TMPFILE_ONLY | OpenFlags::DIRECTORY;
        assert_eq!(tmpfile.bits(), libc::O_TMPFILE as u32);
    }

    #[test]
    fn device_numbers_are_packed_as_libc_does() {
        for (ma, mi) in [(1, 3), (5, 1), (259, 70_000), (70_000, 255)] {
            let dev = makedev(ma, mi);
            assert_eq!(dev, libc::makedev(ma, mi));
            assert_eq!((major(dev), minor(dev)), (ma, mi));
        }
    }
}
