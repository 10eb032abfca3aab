//! The address space: mmap(2), brk(2) and their kin.

use crate::{Args, Context, Result};
use abi::Errno;
use hal::mem::Prot;
use mem::{Advice, MapFlags, MapKind, PAGE, RemapFlags};
use vfs::{Caller, UserMemory};

const PROT_GROWSDOWN: u64 = 0x0100_0000;
const MAP_TYPE: u64 = 0xf;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// Flags without effect here: MAP_DENYWRITE, MAP_EXECUTABLE, MAP_LOCKED,
/// MAP_NORESERVE, MAP_NONBLOCK, MAP_STACK, MAP_32BIT is not among them.
const MAP_IGNORED: u64 = 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x1_0000 | 0x2_0000;

/// Flags of mmap(2) beside the type. Others are ignored, but with
/// MAP_SHARED_VALIDATE.
pub(crate) const MAP_FLAGS: u64 =
    MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_POPULATE | MAP_FIXED_NOREPLACE | MAP_IGNORED;
/// PROT_READ, PROT_WRITE and PROT_EXEC.
pub(crate) const PROTECTIONS: u64 = 7;
/// Flags of msync(2).
pub(crate) const MSYNC_FLAGS: u64 = 7;

fn prot_of(bits: u64) -> Result<Prot> {
    if bits & !PROTECTIONS != 0 {
        return Err(Errno::EINVAL);
    }
    let prot = [Prot::READ, Prot::WRITE, Prot::EXEC]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & 1 << bit != 0)
        .fold(Prot::NONE, |all, (_, one)| all | one);
    Ok(prot)
}

pub(crate) fn mmap(
    context: &mut Context<'_>,
    [hint, len, prot, flags, fd, offset]: Args,
) -> Result<u64> {
    let shared = match flags & MAP_TYPE {
        MAP_PRIVATE => false,
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    if flags & MAP_HUGETLB != 0 {
        return Err(Errno::ENOMEM);
    }
    let map_flags = [
        (MAP_FIXED, MapFlags::FIXED),
        (MAP_FIXED_NOREPLACE, MapFlags::FIXED_NOREPLACE),
        (MAP_GROWSDOWN, MapFlags::GROWS_DOWN),
        (MAP_POPULATE, MapFlags::POPULATE),
    ]
    .into_iter()
    .filter(|(bit, _)| flags & bit != 0)
    .fold(MapFlags::empty(), |all, (_, one)| all | one);
    if flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & !(MAP_TYPE | MAP_FLAGS) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let kind = if flags & MAP_ANONYMOUS != 0 {
        MapKind::Anonymous { shared }
    } else {
        of_file(context, fd as i32, offset, shared)?
    };
    context
        .space()
        .mmap(hint, len, prot_of(prot)?, kind, map_flags)
}

fn of_file(context: &Context<'_>, fd: i32, offset: u64, shared: bool) -> Result<MapKind> {
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let file = context.file(fd)?;
    if !file.flags().reads() {
        return Err(Errno::EACCES);
    }
    let object = file.file().mmap()?;
    Ok(MapKind::Object {
        object,
        offset,
        shared,
        may_write: file.flags().writes(),
    })
}

pub(crate) fn munmap(context: &mut Context<'_>, [start, len, ..]: Args) -> Result<u64> {
    context.space().munmap(start, len).map(|()| 0)
}

pub(crate) fn mprotect(context: &mut Context<'_>, [start, len, prot, ..]: Args) -> Result<u64> {
    if prot & PROT_GROWSDOWN != 0 {
        return context
            .space()
            .mprotect_grows_down(start, len, prot_of(prot & !PROT_GROWSDOWN)?)
            .map(|()| 0);
    }
    context
        .space()
        .mprotect(start, len, prot_of(prot)?)
        .map(|()| 0)
}

pub(crate) fn mremap(
    context: &mut Context<'_>,
    [old, old_len, new_len, flags, new, _]: Args,
) -> Result<u64> {
    let flags = RemapFlags::from_bits(flags as u32).ok_or(Errno::EINVAL)?;
    context.space().mremap(old, old_len, new_len, flags, new)
}

pub(crate) fn madvise(context: &mut Context<'_>, [start, len, advice, ..]: Args) -> Result<u64> {
    let advice = Advice::from_abi(advice as i32).ok_or(Errno::EINVAL)?;
    context.space().madvise(start, len, advice).map(|()| 0)
}

/// Nothing mapped here has to be written back; the range must exist.
pub(crate) fn msync(context: &mut Context<'_>, [start, len, flags, ..]: Args) -> Result<u64> {
    if !start.is_multiple_of(PAGE) || flags & !MSYNC_FLAGS != 0 || flags & 5 == 5 {
        return Err(Errno::EINVAL);
    }
    context.space().check_mapped(start, len).map(|()| 0)
}

pub(crate) fn mincore(context: &mut Context<'_>, [start, len, vector, ..]: Args) -> Result<u64> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    context.space().check_mapped(start, len)?;
    let end = start + len;
    let mut at = start;
    while at < end {
        let mut residency = [0; 256];
        let count = (end - at).div_ceil(PAGE).min(256) as usize;
        context
            .space()
            .residency(&(at..at + count as u64 * PAGE), &mut residency[..count]);
        context.write_user(
            vector.wrapping_add((at - start) / PAGE),
            &residency[..count],
        )?;
        at += count as u64 * PAGE;
    }
    Ok(0)
}

pub(crate) fn brk(context: &mut Context<'_>, [end, ..]: Args) -> Result<u64> {
    Ok(context.space().brk(end))
}

/// There is no swap, so that what is in memory stays; only the range is checked.
pub(crate) fn mlock(context: &mut Context<'_>, [start, len, ..]: Args) -> Result<u64> {
    let first = start & !(PAGE - 1);
    context
        .space()
        .check_mapped(first, len.checked_add(start - first).ok_or(Errno::EINVAL)?)
        .map(|()| 0)
}

/// Interrupting every CPU that could run the process orders their accesses: a
/// kernel entry is a full barrier.
pub(crate) fn membarrier(_context: &mut Context<'_>, [command, ..]: Args) -> Result<u64> {
    const QUERY: u64 = 0;
    match command {
        QUERY => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// As [`mlock`], for all there is and will be.
pub(crate) fn mlockall(_context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(0)
}
