//! What is known of files, and changing it: stat(2), chmod(2), access(2), ...

use crate::arguments::{self, path, start_of};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::event::Timespec;
use abi::fs::{AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use vfs::{Caller, Follow, Location, Metadata};

const CWD: u64 = AT_FDCWD as u64;
const NO_FOLLOW: u64 = AT_SYMLINK_NOFOLLOW as u64;
const EMPTY: u64 = AT_EMPTY_PATH as u64;
/// utimensat(2): the present time, and no change.
const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// AT_NO_AUTOMOUNT, without effect.
const NO_AUTOMOUNT: u64 = 0x800;
/// Flags of newfstatat(2).
pub(crate) const STAT_FLAGS: u64 = NO_FOLLOW | EMPTY | NO_AUTOMOUNT;
/// Flags of statx(2): also AT_STATX_*_SYNC, without effect.
pub(crate) const STATX_FLAGS: u64 = STAT_FLAGS | 0x6000;
/// Flags of faccessat2(2).
pub(crate) const ACCESS_FLAGS: u64 = NO_FOLLOW | EMPTY | AT_EACCESS as u64;
/// Flags of fchownat(2) and utimensat(2).
pub(crate) const CHANGE_FLAGS: u64 = NO_FOLLOW | EMPTY;

fn check(flags: u64, known: u64) -> Result<()> {
    if u64::from(flags as u32) & !known == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// What an `*at` call names: a place, by path or by descriptor.
fn place(context: &Context<'_>, at: u64, name: u64, flags: u64) -> Result<Location> {
    let name = path(context, name)?;
    if name.is_empty() && flags & EMPTY != 0 {
        if at as i32 == AT_FDCWD {
            return Ok(context.fs_context().cwd());
        }
        return context
            .file(at as i32)?
            .place()
            .cloned()
            .ok_or(Errno::ENOENT);
    }
    let follow = if flags & NO_FOLLOW != 0 {
        Follow::NotLast
    } else {
        Follow::Last
    };
    context
        .fs()
        .resolve(&start_of(context, at, &name)?, &name, follow)
}

/// What is known of what an `*at` call names, open files without a name too.
fn metadata(context: &Context<'_>, at: u64, name: u64, flags: u64) -> Result<(Metadata, u64)> {
    if flags & EMPTY != 0 && at as i32 != AT_FDCWD && (name == 0 || path(context, name)?.is_empty())
    {
        let file = context.file(at as i32)?;
        let mount = file.place().map_or(0, |place| place.mount.id());
        return Ok((file.metadata(), mount));
    }
    let place = place(context, at, name, flags)?;
    Ok((place.inode().metadata(), place.mount.id()))
}

pub(crate) fn stat(context: &mut Context<'_>, [name, buffer, ..]: Args) -> Result<u64> {
    newfstatat(context, [CWD, name, buffer, 0, 0, 0])
}

pub(crate) fn lstat(context: &mut Context<'_>, [name, buffer, ..]: Args) -> Result<u64> {
    newfstatat(context, [CWD, name, buffer, NO_FOLLOW, 0, 0])
}

pub(crate) fn fstat(context: &mut Context<'_>, [fd, buffer, ..]: Args) -> Result<u64> {
    let metadata = context.file(fd as i32)?.metadata();
    arguments::write(context, buffer, &metadata.to_stat()).map(|()| 0)
}

pub(crate) fn newfstatat(
    context: &mut Context<'_>,
    [at, name, buffer, flags, ..]: Args,
) -> Result<u64> {
    check(flags, STAT_FLAGS)?;
    let (metadata, _) = metadata(context, at, name, flags)?;
    arguments::write(context, buffer, &metadata.to_stat()).map(|()| 0)
}

pub(crate) fn statx(
    context: &mut Context<'_>,
    [at, name, flags, _mask, buffer, _]: Args,
) -> Result<u64> {
    check(flags, STATX_FLAGS)?;
    let (metadata, mount) = metadata(context, at, name, flags)?;
    arguments::write(context, buffer, &metadata.to_statx(mount)).map(|()| 0)
}

pub(crate) fn statfs(context: &mut Context<'_>, [name, buffer, ..]: Args) -> Result<u64> {
    let stats = place(context, CWD, name, 0)?.inode().stats();
    arguments::write(context, buffer, &stats.to_statfs()).map(|()| 0)
}

pub(crate) fn fstatfs(context: &mut Context<'_>, [fd, buffer, ..]: Args) -> Result<u64> {
    let stats = context.file(fd as i32)?.stats();
    arguments::write(context, buffer, &stats.to_statfs()).map(|()| 0)
}

pub(crate) fn access(context: &mut Context<'_>, [name, wanted, ..]: Args) -> Result<u64> {
    faccessat2(context, [CWD, name, wanted, 0, 0, 0])
}

pub(crate) fn faccessat(context: &mut Context<'_>, [at, name, wanted, ..]: Args) -> Result<u64> {
    faccessat2(context, [at, name, wanted, 0, 0, 0])
}

pub(crate) fn faccessat2(
    context: &mut Context<'_>,
    [at, name, wanted, flags, ..]: Args,
) -> Result<u64> {
    if wanted & !7 != 0 {
        return Err(Errno::EINVAL);
    }
    check(flags, ACCESS_FLAGS)?;
    let place = place(context, at, name, flags)?;
    let effective = flags & u64::from(AT_EACCESS) != 0;
    context
        .fs()
        .access(&place, wanted as u32, effective)
        .map(|()| 0)
}

fn place_of(context: &Context<'_>, fd: u64) -> Result<Location> {
    context
        .file(fd as i32)?
        .place()
        .cloned()
        .ok_or(Errno::EINVAL)
}

pub(crate) fn chmod(context: &mut Context<'_>, [name, mode, ..]: Args) -> Result<u64> {
    fchmodat(context, [CWD, name, mode, 0, 0, 0])
}

pub(crate) fn fchmod(context: &mut Context<'_>, [fd, mode, ..]: Args) -> Result<u64> {
    let place = place_of(context, fd)?;
    context
        .fs()
        .set_permissions(&place, mode as u32)
        .map(|()| 0)
}

pub(crate) fn fchmodat(context: &mut Context<'_>, [at, name, mode, ..]: Args) -> Result<u64> {
    let place = place(context, at, name, 0)?;
    context
        .fs()
        .set_permissions(&place, mode as u32)
        .map(|()| 0)
}

fn set_owner(context: &Context<'_>, place: &Location, uid: u64, gid: u64) -> Result<u64> {
    let known = |id: u64| (id as u32 != u32::MAX).then_some(id as u32);
    context
        .fs()
        .set_owner(place, known(uid), known(gid))
        .map(|()| 0)
}

pub(crate) fn chown(context: &mut Context<'_>, [name, uid, gid, ..]: Args) -> Result<u64> {
    fchownat(context, [CWD, name, uid, gid, 0, 0])
}

pub(crate) fn lchown(context: &mut Context<'_>, [name, uid, gid, ..]: Args) -> Result<u64> {
    fchownat(context, [CWD, name, uid, gid, NO_FOLLOW, 0])
}

pub(crate) fn fchown(context: &mut Context<'_>, [fd, uid, gid, ..]: Args) -> Result<u64> {
    let place = place_of(context, fd)?;
    set_owner(context, &place, uid, gid)
}

pub(crate) fn fchownat(
    context: &mut Context<'_>,
    [at, name, uid, gid, flags, _]: Args,
) -> Result<u64> {
    check(flags, CHANGE_FLAGS)?;
    let place = place(context, at, name, flags)?;
    set_owner(context, &place, uid, gid)
}

pub(crate) fn utimensat(
    context: &mut Context<'_>,
    [at, name, times, flags, ..]: Args,
) -> Result<u64> {
    check(flags, CHANGE_FLAGS)?;
    let place = if name == 0 {
        place_of(context, at)?
    } else {
        place(context, at, name, flags)?
    };
    let now = wait::realtime_ns();
    if times == 0 {
        return context
            .fs()
            .set_times(&place, Some(now), Some(now), false)
            .map(|()| 0);
    }
    let [accessed, modified]: [Timespec; 2] = [
        arguments::element(context, times, 0)?,
        arguments::element(context, times, 1)?,
    ];
    let choose = |time: Timespec| match time.nsec {
        UTIME_NOW => Ok(Some(now)),
        UTIME_OMIT => Ok(None),
        _ => time.to_ns().map(Some).ok_or(Errno::EINVAL),
    };
    let explicit = [accessed, modified]
        .iter()
        .any(|time| time.nsec != UTIME_NOW);
    context
        .fs()
        .set_times(&place, choose(accessed)?, choose(modified)?, explicit)
        .map(|()| 0)
}
