//! File systems: mount(2), umount2(2), and files without one, memfd_create(2).

use crate::arguments::{path, start_of};
use crate::{Args, Context, Result, system};
use abi::Errno;
use abi::fs::AT_FDCWD;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hal::mem::{Account, PAGE_SIZE};
use tmpfs::{Limits, TmpFs};
use vfs::{Caller, FileSystem, Follow, MountFlags, OpenFile, OpenFlags};

const CWD: u64 = AT_FDCWD as u64;
/// Flags of mount(2) without effect: MS_NOATIME, MS_NODIRATIME, MS_SILENT,
/// MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME.
pub(crate) const IGNORED_FLAGS: u64 = 0x400 | 0x800 | 0x8000 | 0x20_0000 | 0x100_0000 | 0x200_0000;
/// MNT_DETACH and UMOUNT_NOFOLLOW.
pub(crate) const UNMOUNT_FLAGS: u64 = DETACH | NO_FOLLOW;
/// MFD_CLOEXEC and MFD_ALLOW_SEALING; there are no seals to be added.
pub(crate) const MEMFD_FLAGS: u64 = MFD_CLOEXEC | 2;
const DETACH: u64 = 2;
const NO_FOLLOW: u64 = 8;
const MFD_CLOEXEC: u64 = 1;
/// Longest name of a memory file.
const NAME_MAX: usize = 249;
/// The old mark in the upper half of mount(2)'s flags.
const MAGIC: u64 = 0xc0ed_0000;

/// A number with a unit, as in `size=64m`.
fn size_of_option(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

/// A file system in memory with the options `size=`, `nr_inodes=` and `mode=`.
fn new_tmpfs(account: &Account, options: &[u8]) -> Result<Arc<dyn FileSystem>> {
    let mut limits = Limits::none();
    let mut mode = 0o1777;
    for option in options.split(|&byte| byte == b',') {
        let (name, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(at) => (&option[..at], &option[at + 1..]),
            None => (option, &[][..]),
        };
        match name {
            b"size" => {
                limits.pages = size_of_option(value)
                    .ok_or(Errno::EINVAL)?
                    .div_ceil(PAGE_SIZE as u64);
            }
            b"nr_inodes" => limits.inodes = size_of_option(value).ok_or(Errno::EINVAL)?,
            b"mode" => {
                let text = core::str::from_utf8(value).map_err(|_| Errno::EINVAL)?;
                mode = u32::from_str_radix(text, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
            }
            b"" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(TmpFs::new(account, &limits, mode)?)
}

fn options(context: &Context<'_>, at: u64) -> Result<Vec<u8>> {
    if at == 0 {
        Ok(Vec::new())
    } else {
        path(context, at)
    }
}

pub(crate) fn mount(
    context: &mut Context<'_>,
    [_source, target, kind, flags, data, _]: Args,
) -> Result<u64> {
    let flags = if flags & 0xffff_0000 == MAGIC {
        flags & 0xffff
    } else {
        flags
    };
    let target = path(context, target)?;
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    let known = MountFlags::from_bits(flags & !IGNORED_FLAGS).ok_or(Errno::EINVAL)?;
    let kind = path(context, kind)?;
    let options = options(context, data)?;
    let start = start_of(context, CWD, &target)?;
    let place = context.fs().resolve(&start, &target, Follow::Last)?;
    let fs = match &kind[..] {
        // Its pages outlive the process that mounts it, and are not the kernel's.
        b"tmpfs" | b"ramfs" => new_tmpfs(&Account::new(u64::MAX)?, &options)?,
        kind => system::file_system(kind).ok_or(Errno::ENODEV)?,
    };
    context
        .fs_context()
        .namespace()
        .mount(fs, place, known)
        .map(|_| 0)
}

pub(crate) fn umount2(context: &mut Context<'_>, [target, flags, ..]: Args) -> Result<u64> {
    if flags & !UNMOUNT_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    let target = path(context, target)?;
    let start = start_of(context, CWD, &target)?;
    let follow = if flags & NO_FOLLOW != 0 {
        Follow::NotLast
    } else {
        Follow::Last
    };
    let place = context.fs().resolve(&start, &target, follow)?;
    drop(start);
    context
        .fs_context()
        .namespace()
        .unmount(&place, flags & DETACH != 0)
        .map(|()| 0)
}

pub(crate) fn memfd_create(context: &mut Context<'_>, [name, flags, ..]: Args) -> Result<u64> {
    if flags & !MEMFD_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    match context.read_string(name, NAME_MAX + 1) {
        Err(Errno::ENAMETOOLONG | Errno::E2BIG) => return Err(Errno::EINVAL),
        other => other?,
    };
    // A file system of its own, so that the process pays for its pages.
    let fs = TmpFs::named("memfd", context.process().account(), &Limits::none(), 0o700)?;
    let file = OpenFile::new(fs.unnamed_file(0o777)?, OpenFlags::RDWR);
    context
        .install(file, flags & MFD_CLOEXEC != 0)
        .map(|fd| fd as u64)
}
