//! Reading what arguments point to.

use crate::{Context, Result};
use abi::Errno;
use abi::event::Timespec;
use abi::fs::{AT_FDCWD, Iovec, PATH_MAX};
use alloc::vec::Vec;
use vfs::{Caller, Location, UserMemory};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Most pieces of a scatter list.
pub(crate) const IOV_MAX: u64 = 1024;
/// The most bytes that one call moves, as on Linux.
const COUNT_MAX: u64 = 0x7fff_f000;

/// What is moved of `count` bytes asked for.
#[inline]
pub(crate) fn clamp(count: u64) -> usize {
    count.min(COUNT_MAX) as usize
}

/// Reads a time, or nothing at a null pointer, in nanoseconds.
pub(crate) fn time_ns(context: &Context<'_>, address: u64) -> Result<Option<u64>> {
    if address == 0 {
        return Ok(None);
    }
    let time: Timespec = read(context, address)?;
    time.to_ns().map(Some).ok_or(Errno::EINVAL)
}

/// The monotonic time `ns` from now; `None` stays for ever.
pub(crate) fn deadline_in(ns: Option<u64>) -> wait::Deadline {
    ns.map(|ns| wait::now_ns().saturating_add(ns))
}

/// Reads a value.
pub(crate) fn read<T: FromBytes + IntoBytes>(context: &Context<'_>, address: u64) -> Result<T> {
    let mut value = T::new_zeroed();
    context.read_user(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a value.
pub(crate) fn write<T: IntoBytes + Immutable>(
    context: &Context<'_>,
    address: u64,
    value: &T,
) -> Result<()> {
    context.write_user(address, value.as_bytes())
}

/// Writes a value unless the pointer is null.
pub(crate) fn write_if<T: IntoBytes + Immutable>(
    context: &Context<'_>,
    address: u64,
    value: &T,
) -> Result<()> {
    if address == 0 {
        Ok(())
    } else {
        write(context, address, value)
    }
}

/// Reads a path.
pub(crate) fn path(context: &Context<'_>, address: u64) -> Result<Vec<u8>> {
    match context.read_string(address, PATH_MAX) {
        Err(Errno::E2BIG | Errno::ENAMETOOLONG) => Err(Errno::ENAMETOOLONG),
        other => other,
    }
}

/// Where a relative path of an `*at` call starts.
pub(crate) fn start_of(context: &Context<'_>, fd: u64, path: &[u8]) -> Result<Location> {
    if fd as i32 == AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(context.fs_context().cwd());
    }
    let file = context.file(fd as i32)?;
    file.place().cloned().ok_or(Errno::ENOTDIR)
}

/// Reads element `index` of an array of the program's.
pub(crate) fn element<T: FromBytes + IntoBytes>(
    context: &Context<'_>,
    array: u64,
    index: u64,
) -> Result<T> {
    read(context, element_at::<T>(array, index))
}

/// Where element `index` of an array lies. The program may say anything: an
/// address beyond the last one is found out when it is used.
pub(crate) fn element_at<T>(array: u64, index: u64) -> u64 {
    array.wrapping_add(index.wrapping_mul(size_of::<T>() as u64))
}

/// Reads a scatter list.
pub(crate) fn iovec(context: &Context<'_>, address: u64, count: u64) -> Result<Vec<Iovec>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut list = Vec::with_capacity(count as usize);
    let mut total = 0u64;
    for index in 0..count {
        let piece: Iovec = element(context, address, index)?;
        total = total
            .checked_add(piece.len)
            .filter(|&sum| sum <= i64::MAX as u64)
            .ok_or(Errno::EINVAL)?;
        list.push(piece);
    }
    Ok(list)
}

/// Reads a vector of strings that ends with a null pointer (execve(2)). What
/// they take is subtracted from `budget`, in bytes.
pub(crate) fn strings(
    context: &Context<'_>,
    mut address: u64,
    budget: &mut usize,
) -> Result<Vec<Vec<u8>>> {
    const STRING_MAX: usize = 128 << 10;
    /// What the kernel and the program need beside each string's bytes.
    const OVERHEAD: usize = 1 + size_of::<u64>();
    let mut strings = Vec::new();
    while address != 0 {
        let pointer: u64 = read(context, address)?;
        if pointer == 0 {
            break;
        }
        let string = context
            .read_string(pointer, STRING_MAX)
            .map_err(|error| match error {
                Errno::ENAMETOOLONG => Errno::E2BIG,
                other => other,
            })?;
        *budget = budget
            .checked_sub(string.len() + OVERHEAD)
            .ok_or(Errno::E2BIG)?;
        strings.push(string);
        address = address.wrapping_add(8);
    }
    Ok(strings)
}
