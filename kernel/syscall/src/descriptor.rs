//! Descriptors: close(2), dup(2), fcntl(2), flock(2), pipe(2).

use crate::arguments::{read, write};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::lock::{
    F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_SETLKW, F_UNLCK, F_WRLCK,
    Flock,
};
use alloc::sync::Arc;
use ipc::{Pipe, PipeEnd};
use vfs::locks::{self, Owner, Record};
use vfs::{Caller, OpenFile, OpenFlags, UserMemory};

pub(crate) fn close(context: &mut Context<'_>, [fd, ..]: Args) -> Result<u64> {
    context.files().close(fd as i32).map(|()| 0)
}

const UNSHARE: u64 = 2;
const CLOEXEC: u64 = 4;
/// CLOSE_RANGE_UNSHARE and CLOSE_RANGE_CLOEXEC.
pub(crate) const CLOSE_RANGE_FLAGS: u64 = UNSHARE | CLOEXEC;
/// Flags of dup3(2).
pub(crate) const DUP_FLAGS: OpenFlags = OpenFlags::CLOEXEC;
/// Flags of pipe2(2).
pub(crate) const PIPE_FLAGS: OpenFlags = OpenFlags::CLOEXEC.union(OpenFlags::NONBLOCK);

pub(crate) fn close_range(
    context: &mut Context<'_>,
    [first, last, flags, ..]: Args,
) -> Result<u64> {
    if flags & !CLOSE_RANGE_FLAGS != 0 || first as u32 > last as u32 {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        context.unshare_files();
    }
    context
        .files()
        .close_range(first as u32, last as u32, flags & CLOEXEC != 0);
    Ok(0)
}

pub(crate) fn dup(context: &mut Context<'_>, [fd, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    context.install(file, false).map(|fd| fd as u64)
}

pub(crate) fn dup2(context: &mut Context<'_>, [old, new, ..]: Args) -> Result<u64> {
    if old as i32 == new as i32 {
        return context.file(old as i32).map(|_| new);
    }
    context
        .files()
        .duplicate_to(old as i32, new as i32, false)
        .map(|fd| fd as u64)
}

pub(crate) fn dup3(context: &mut Context<'_>, [old, new, flags, ..]: Args) -> Result<u64> {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if old as i32 == new as i32 || !(flags - DUP_FLAGS).is_empty() {
        return Err(Errno::EINVAL);
    }
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    context
        .files()
        .duplicate_to(old as i32, new as i32, cloexec)
        .map(|fd| fd as u64)
}

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_SETPIPE_SZ: u32 = 1031;
const F_GETPIPE_SZ: u32 = 1032;
const FD_CLOEXEC: u64 = 1;

pub(crate) fn fcntl(context: &mut Context<'_>, [fd, command, argument, ..]: Args) -> Result<u64> {
    let fd = fd as i32;
    let file = context.file(fd)?;
    let files = context.files();
    match command as u32 {
        F_DUPFD | F_DUPFD_CLOEXEC if argument as i32 >= 0 => {
            let cloexec = command as u32 == F_DUPFD_CLOEXEC;
            files
                .install_from(argument as i32, file, cloexec)
                .map(|fd| fd as u64)
        }
        F_GETFD => files.cloexec(fd).map(u64::from),
        F_SETFD => files
            .set_cloexec(fd, argument & FD_CLOEXEC != 0)
            .map(|()| 0),
        F_GETFL => Ok(u64::from(file.flags().bits())),
        F_SETFL => {
            file.set_flags(OpenFlags::from_bits_retain(argument as u32));
            Ok(0)
        }
        F_GETPIPE_SZ => pipe_of(&file).map(|end| end.pipe().capacity() as u64),
        F_SETPIPE_SZ => pipe_of(&file)?
            .pipe()
            .set_capacity(argument as u32 as usize)
            .map(|size| size as u64),
        lock @ (F_GETLK | F_SETLK | F_SETLKW | F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW) => {
            record_lock(context, &file, lock, argument)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn pipe_of(file: &OpenFile) -> Result<Arc<PipeEnd>> {
    file.file_as::<PipeEnd>().ok_or(Errno::EBADF)
}

fn record_lock(context: &Context<'_>, file: &OpenFile, command: u32, address: u64) -> Result<u64> {
    let mut lock: Flock = read(context, address)?;
    let is_ofd = matches!(command, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW);
    if is_ofd && lock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if is_ofd {
        Owner::OpenFile(file.id())
    } else {
        Owner::Process {
            table: context.files().lock_owner(),
            pid: context.process().pid(),
        }
    };
    let range = range_of(file, &lock)?;
    if command != F_GETLK && command != F_OFD_GETLK {
        let wait = matches!(command, F_SETLKW | F_OFD_SETLKW);
        return locks::set_record(file, owner, lock.kind, range, wait).map(|()| 0);
    }
    let exclusive = match lock.kind {
        F_RDLCK => false,
        F_WRLCK => true,
        _ => return Err(Errno::EINVAL),
    };
    match locks::find_conflict(
        file,
        &Record {
            owner,
            exclusive,
            start: range.0,
            end: range.1,
        },
    ) {
        None => lock.kind = F_UNLCK,
        Some(found) => {
            lock.kind = if found.exclusive { F_WRLCK } else { F_RDLCK };
            lock.whence = 0;
            lock.start = found.start as i64;
            lock.len = if found.end >= i64::MAX as u64 {
                0
            } else {
                (found.end - found.start + 1) as i64
            };
            lock.pid = match found.owner {
                Owner::Process { pid, .. } => pid as i32,
                Owner::OpenFile(_) => -1,
            };
        }
    }
    write(context, address, &lock).map(|()| 0)
}

/// The first and last byte that `lock` names.
fn range_of(file: &OpenFile, lock: &Flock) -> Result<(u64, u64)> {
    let base = match lock.whence {
        0 => 0,
        1 => file.position() as i64,
        2 => file.file().end() as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match lock.len {
        0 => (start, i64::MAX),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    if first < 0 || last < first {
        Err(Errno::EINVAL)
    } else {
        Ok((first as u64, last as u64))
    }
}

pub(crate) fn flock(context: &mut Context<'_>, [fd, operation, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    locks::flock(&file, operation as u32).map(|()| 0)
}

pub(crate) fn pipe(context: &mut Context<'_>, [to, ..]: Args) -> Result<u64> {
    pipe2(context, [to, 0, 0, 0, 0, 0])
}

pub(crate) fn pipe2(context: &mut Context<'_>, [to, flags, ..]: Args) -> Result<u64> {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    if !(flags - PIPE_FLAGS).is_empty() {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = Pipe::ends(context.process().account());
    let status = flags & OpenFlags::NONBLOCK;
    let cloexec = flags.contains(OpenFlags::CLOEXEC);
    let read_fd = context.install(OpenFile::new(reader, status), cloexec)?;
    let write_fd = match context.install(OpenFile::new(writer, status | OpenFlags::WRONLY), cloexec)
    {
        Ok(fd) => fd,
        Err(error) => {
            context.files().close(read_fd)?;
            return Err(error);
        }
    };
    let both = [read_fd.to_le_bytes(), write_fd.to_le_bytes()].concat();
    if let Err(error) = context.write_user(to, &both) {
        context.files().close(read_fd)?;
        context.files().close(write_fd)?;
        return Err(error);
    }
    Ok(0)
}
