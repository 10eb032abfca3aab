//! One file of an archive.

use core::ops::Range;

/// What an entry is, from its mode as stat(2) encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link; the data is its target.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// None of these; the mode is malformed.
    Unknown,
}

/// Entries with equal keys are names of one file. The data is with one of
/// them, usually the last; the others are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    /// Which of several concatenated archives; inode numbers are per archive.
    pub archive: u32,
    /// Device number, major and minor.
    pub dev: (u32, u32),
    /// Inode number.
    pub ino: u32,
}

/// One file; `data` lies within the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path as stored, without its terminating zero; it may begin with `/` or `./`
    /// and may hold `..`.
    pub name: &'a [u8],
    /// File type and permissions as in stat(2).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names of the file.
    pub nlink: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
    /// Inode number.
    pub ino: u32,
    /// Device that held the file, major and minor.
    pub dev: (u32, u32),
    /// For device nodes: which device, major and minor.
    pub rdev: (u32, u32),
    /// Sum of the data's bytes, modulo 2^32, where the archive has one.
    pub checksum: Option<u32>,
    /// Where in the archive the data is.
    pub data: Range<usize>,
    /// Which of several concatenated archives this is from.
    pub archive: u32,
}

impl Entry<'_> {
    /// What the entry is.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        match self.mode & 0o170_000 {
            0o100_000 => FileType::Regular,
            0o040_000 => FileType::Directory,
            0o120_000 => FileType::Symlink,
            0o020_000 => FileType::CharDevice,
            0o060_000 => FileType::BlockDevice,
            0o010_000 => FileType::Fifo,
            0o140_000 => FileType::Socket,
            _ => FileType::Unknown,
        }
    }

    /// The permission bits, set-id and sticky bits included.
    #[must_use]
    pub const fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// The identity of a file with several names; none for files with one
    /// and for directories.
    #[must_use]
    pub fn link_key(&self) -> Option<LinkKey> {
        let several = self.nlink > 1 && self.file_type() != FileType::Directory;
        several.then_some(LinkKey {
            archive: self.archive,
            dev: self.dev,
            ino: self.ino,
        })
    }

    /// Whether `data`, this entry's bytes, has the sum that the archive
    /// states; true where it states none.
    #[must_use]
    pub fn checksum_matches(&self, data: &[u8]) -> bool {
        let sum = data
            .iter()
            .fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        self.checksum.is_none_or(|stated| stated == sum)
    }
}
