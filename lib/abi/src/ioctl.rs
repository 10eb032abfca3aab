//! How an ioctl(2) request number is put together: direction, argument size,
//! device letter, ordinal (ioctl_list(2)). Neighbours: the request tables of
//! each device, such as [`crate::kvm`].

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ: u32 = 2;

const fn request(direction: u32, letter: u8, ordinal: u8, size: usize) -> u32 {
    assert!(size < 1 << 14, "an ioctl argument has at most 16383 bytes");
    direction << 30 | (size as u32) << 16 | (letter as u32) << 8 | ordinal as u32
}

/// A request whose argument is a plain number or absent.
#[must_use]
pub const fn io(letter: u8, ordinal: u8) -> u32 {
    request(NONE, letter, ordinal, 0)
}

/// A request that fills a `T` for the caller.
#[must_use]
pub const fn ior<T>(letter: u8, ordinal: u8) -> u32 {
    request(READ, letter, ordinal, size_of::<T>())
}

/// A request that takes a `T` from the caller.
#[must_use]
pub const fn iow<T>(letter: u8, ordinal: u8) -> u32 {
    request(WRITE, letter, ordinal, size_of::<T>())
}

/// A request that takes a `T` and changes it.
#[must_use]
pub const fn iowr<T>(letter: u8, ordinal: u8) -> u32 {
    request(READ | WRITE, letter, ordinal, size_of::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_the_libc_crate() {
        // TIOCGPTN is _IOR('T', 0x30, unsigned int); TUNSETIFF _IOW('T', 202, int).
        assert_eq!(u64::from(ior::<u32>(b'T', 0x30)), libc::TIOCGPTN);
        assert_eq!(u64::from(iow::<u32>(b'T', 202)), libc::TUNSETIFF);
    }
}
