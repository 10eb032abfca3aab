//! File locks: flock(2) and fcntl(2)'s record locks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// flock: shared.
pub const LOCK_SH: u32 = 1;
/// flock: exclusive.
pub const LOCK_EX: u32 = 2;
/// flock: do not block.
pub const LOCK_NB: u32 = 4;
/// flock: unlock.
pub const LOCK_UN: u32 = 8;

/// Record lock for reading.
pub const F_RDLCK: i16 = 0;
/// Record lock for writing.
pub const F_WRLCK: i16 = 1;
/// No record lock.
pub const F_UNLCK: i16 = 2;

/// fcntl: who holds a lock that conflicts?
pub const F_GETLK: u32 = 5;
/// fcntl: set a lock or fail.
pub const F_SETLK: u32 = 6;
/// fcntl: set a lock, waiting for it.
pub const F_SETLKW: u32 = 7;
/// As `F_GETLK`, owned by the open file.
pub const F_OFD_GETLK: u32 = 36;
/// As `F_SETLK`, owned by the open file.
pub const F_OFD_SETLK: u32 = 37;
/// As `F_SETLKW`, owned by the open file.
pub const F_OFD_SETLKW: u32 = 38;

/// fcntl's `struct flock`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flock {
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub kind: i16,
    /// `SEEK_SET`, `SEEK_CUR` or `SEEK_END`.
    pub whence: i16,
    /// Zero.
    pub pad1: i32,
    /// First byte.
    pub start: i64,
    /// Length in bytes; 0 means to the end of all files.
    pub len: i64,
    /// Holder's process id (`F_GETLK`), or -1 for an open file's lock.
    pub pid: i32,
    /// Zero.
    pub pad2: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn flock_is_that_of_libc() {
        assert_eq!(size_of::<Flock>(), size_of::<libc::flock>());
        assert_eq!(offset_of!(Flock, start), offset_of!(libc::flock, l_start));
        assert_eq!(offset_of!(Flock, pid), offset_of!(libc::flock, l_pid));
        assert_eq!(F_OFD_SETLKW, libc::F_OFD_SETLKW as u32);
        assert_eq!(LOCK_UN, libc::LOCK_UN as u32);
    }
}
