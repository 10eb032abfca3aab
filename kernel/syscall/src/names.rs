//! Names in the tree of files: open(2), mkdir(2), rename(2), chdir(2), ...

use crate::arguments::{path, start_of};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT,
    S_IFREG, S_IFSOCK, major, makedev, minor,
};
use vfs::{Caller, Follow, NodeContents, OpenFlags, RenameFlags, UserMemory};

const CWD: u64 = AT_FDCWD as u64;

pub(crate) fn open(context: &mut Context<'_>, [name, flags, mode, ..]: Args) -> Result<u64> {
    openat(context, [CWD, name, flags, mode, 0, 0])
}

pub(crate) fn creat(context: &mut Context<'_>, [name, mode, ..]: Args) -> Result<u64> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(context, [CWD, name, u64::from(flags.bits()), mode, 0, 0])
}

pub(crate) fn openat(context: &mut Context<'_>, [at, name, flags, mode, ..]: Args) -> Result<u64> {
    let name = path(context, name)?;
    let start = start_of(context, at, &name)?;
    let flags = OpenFlags::from_bits_retain(flags as u32);
    let file = context.fs().open(&start, &name, flags, mode as u32)?;
    context
        .install(file, flags.contains(OpenFlags::CLOEXEC))
        .map(|fd| fd as u64)
}

pub(crate) fn mkdir(context: &mut Context<'_>, [name, mode, ..]: Args) -> Result<u64> {
    mkdirat(context, [CWD, name, mode, 0, 0, 0])
}

pub(crate) fn mkdirat(context: &mut Context<'_>, [at, name, mode, ..]: Args) -> Result<u64> {
    let name = path(context, name)?;
    let start = start_of(context, at, &name)?;
    context
        .fs()
        .make_dir(&start, &name, mode as u32 & 0o1777)
        .map(|_| 0)
}

pub(crate) fn mknod(context: &mut Context<'_>, [name, mode, device, ..]: Args) -> Result<u64> {
    mknodat(context, [CWD, name, mode, device, 0, 0])
}

pub(crate) fn mknodat(
    context: &mut Context<'_>,
    [at, name, mode, device, ..]: Args,
) -> Result<u64> {
    let name = path(context, name)?;
    let start = start_of(context, at, &name)?;
    let mode = mode as u32;
    let contents = match mode & S_IFMT {
        0 | S_IFREG => NodeContents::Regular,
        S_IFIFO => NodeContents::Fifo,
        S_IFSOCK => return Err(Errno::EPERM),
        kind @ (S_IFCHR | S_IFBLK) => NodeContents::Device {
            block: kind == S_IFBLK,
            rdev: makedev(major(device), minor(device)),
        },
        _ => return Err(Errno::EINVAL),
    };
    context
        .fs()
        .make(&start, &name, contents, mode & 0o7777)
        .map(|_| 0)
}

pub(crate) fn rmdir(context: &mut Context<'_>, [name, ..]: Args) -> Result<u64> {
    unlinkat(context, [CWD, name, u64::from(AT_REMOVEDIR), 0, 0, 0])
}

pub(crate) fn unlink(context: &mut Context<'_>, [name, ..]: Args) -> Result<u64> {
    unlinkat(context, [CWD, name, 0, 0, 0, 0])
}

pub(crate) fn unlinkat(context: &mut Context<'_>, [at, name, flags, ..]: Args) -> Result<u64> {
    let name = path(context, name)?;
    let start = start_of(context, at, &name)?;
    match flags as u32 {
        0 => context.fs().unlink(&start, &name).map(|()| 0),
        UNLINK_FLAGS => context.fs().remove_dir(&start, &name).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn link(context: &mut Context<'_>, [old, new, ..]: Args) -> Result<u64> {
    linkat(context, [CWD, old, CWD, new, 0, 0])
}

/// Flags of linkat(2).
pub(crate) const LINK_FLAGS: u32 = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH;
/// Flags of unlinkat(2).
pub(crate) const UNLINK_FLAGS: u32 = AT_REMOVEDIR;

pub(crate) fn linkat(
    context: &mut Context<'_>,
    [old_at, old, new_at, new, flags, _]: Args,
) -> Result<u64> {
    let flags = flags as u32;
    if flags & !LINK_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let (old, new) = (path(context, old)?, path(context, new)?);
    let view = context.fs();
    let source = if old.is_empty() && flags & AT_EMPTY_PATH != 0 {
        context
            .file(old_at as i32)?
            .place()
            .cloned()
            .ok_or(Errno::ENOENT)?
    } else {
        let follow = if flags & AT_SYMLINK_FOLLOW != 0 {
            Follow::Last
        } else {
            Follow::NotLast
        };
        view.resolve(&start_of(context, old_at, &old)?, &old, follow)?
    };
    view.link(&source, &start_of(context, new_at, &new)?, &new)
        .map(|()| 0)
}

pub(crate) fn symlink(context: &mut Context<'_>, [target, name, ..]: Args) -> Result<u64> {
    symlinkat(context, [target, CWD, name, 0, 0, 0])
}

pub(crate) fn symlinkat(context: &mut Context<'_>, [target, at, name, ..]: Args) -> Result<u64> {
    let (target, name) = (path(context, target)?, path(context, name)?);
    let start = start_of(context, at, &name)?;
    context.fs().symlink(&target, &start, &name).map(|()| 0)
}

pub(crate) fn readlink(context: &mut Context<'_>, [name, buffer, len, ..]: Args) -> Result<u64> {
    readlinkat(context, [CWD, name, buffer, len, 0, 0])
}

pub(crate) fn readlinkat(
    context: &mut Context<'_>,
    [at, name, buffer, len, ..]: Args,
) -> Result<u64> {
    if len as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let name = path(context, name)?;
    let target = if name.is_empty() {
        let file = context.file(at as i32)?;
        file.place().ok_or(Errno::ENOENT)?.inode().read_link()?
    } else {
        context
            .fs()
            .read_link(&start_of(context, at, &name)?, &name)?
    };
    let count = target.len().min(len as usize);
    context.write_user(buffer, &target[..count])?;
    Ok(count as u64)
}

pub(crate) fn rename(context: &mut Context<'_>, [old, new, ..]: Args) -> Result<u64> {
    renameat2(context, [CWD, old, CWD, new, 0, 0])
}

pub(crate) fn renameat(
    context: &mut Context<'_>,
    [old_at, old, new_at, new, ..]: Args,
) -> Result<u64> {
    renameat2(context, [old_at, old, new_at, new, 0, 0])
}

pub(crate) fn renameat2(
    context: &mut Context<'_>,
    [old_at, old, new_at, new, flags, _]: Args,
) -> Result<u64> {
    let flags = RenameFlags::from_bits(flags as u32).ok_or(Errno::EINVAL)?;
    let (old, new) = (path(context, old)?, path(context, new)?);
    let (from, to) = (
        start_of(context, old_at, &old)?,
        start_of(context, new_at, &new)?,
    );
    context
        .fs()
        .rename((&from, &old), (&to, &new), flags)
        .map(|()| 0)
}

pub(crate) fn truncate(context: &mut Context<'_>, [name, len, ..]: Args) -> Result<u64> {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let name = path(context, name)?;
    let view = context.fs();
    let place = view.resolve(&start_of(context, CWD, &name)?, &name, Follow::Last)?;
    view.truncate(&place, len).map(|()| 0)
}

pub(crate) fn chdir(context: &mut Context<'_>, [name, ..]: Args) -> Result<u64> {
    let name = path(context, name)?;
    let place = context
        .fs()
        .directory(&start_of(context, CWD, &name)?, &name)?;
    context.fs_context().set_cwd(place);
    Ok(0)
}

pub(crate) fn fchdir(context: &mut Context<'_>, [fd, ..]: Args) -> Result<u64> {
    let place = context
        .file(fd as i32)?
        .place()
        .cloned()
        .ok_or(Errno::ENOTDIR)?;
    context.fs().may_enter(&place)?;
    context.fs_context().set_cwd(place);
    Ok(0)
}

pub(crate) fn chroot(context: &mut Context<'_>, [name, ..]: Args) -> Result<u64> {
    let name = path(context, name)?;
    let place = context
        .fs()
        .directory(&start_of(context, CWD, &name)?, &name)?;
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    context.fs_context().set_root(place);
    Ok(0)
}

pub(crate) fn getcwd(context: &mut Context<'_>, [buffer, len, ..]: Args) -> Result<u64> {
    let fs = context.fs_context();
    let mut name = fs.cwd().path(&fs.root());
    name.push(0);
    if name.len() as u64 > len {
        return Err(Errno::ERANGE);
    }
    context.write_user(buffer, &name)?;
    Ok(name.len() as u64)
}

pub(crate) fn umask(context: &mut Context<'_>, [mask, ..]: Args) -> Result<u64> {
    Ok(u64::from(context.fs_context().set_umask(mask as u32)))
}
