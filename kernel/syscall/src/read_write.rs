//! Bytes of open files: read(2), write(2) and their kin.

use crate::arguments::clamp;
use crate::{Args, Context, Result, arguments};
use abi::Errno;
use abi::signal::{SigInfo, code, number};
use vfs::{Caller, SliceSource, UserMemory, UserSink, UserSource, VecSink};

pub(crate) fn read(context: &mut Context<'_>, [fd, buffer, count, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    file.read(&mut UserSink::new(context, buffer, clamp(count)))
        .map(|count| count as u64)
}

pub(crate) fn write(context: &mut Context<'_>, [fd, buffer, count, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let result = file.write(&mut UserSource::new(context, buffer, clamp(count)));
    written(context, result)
}

/// A broken pipe is told by signal too.
#[inline]
pub(crate) fn written(context: &Context<'_>, result: Result<usize>) -> Result<u64> {
    if result == Err(Errno::EPIPE) {
        tell_broken_pipe(context);
    }
    result.map(|count| count as u64)
}

/// Out of the way of every write that succeeds.
#[cold]
#[inline(never)]
fn tell_broken_pipe(context: &Context<'_>) {
    let process = context.process();
    let info = SigInfo::from_process(
        number::SIGPIPE,
        code::SI_USER,
        process.pid(),
        context.credentials().uid,
    );
    context.thread().signal(info);
}

fn offset_of(offset: u64) -> Result<u64> {
    if (offset as i64) < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(offset)
    }
}

pub(crate) fn pread(
    context: &mut Context<'_>,
    [fd, buffer, count, offset, ..]: Args,
) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let mut sink = UserSink::new(context, buffer, clamp(count));
    file.read_at(offset_of(offset)?, &mut sink)
        .map(|count| count as u64)
}

pub(crate) fn pwrite(
    context: &mut Context<'_>,
    [fd, buffer, count, offset, ..]: Args,
) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let result = file.write_at(
        offset_of(offset)?,
        &mut UserSource::new(context, buffer, clamp(count)),
    );
    written(context, result)
}

pub(crate) fn readv(context: &mut Context<'_>, [fd, list, count, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let list = arguments::iovec(context, list, count)?;
    file.read(&mut UserSink::scattered(context, &list))
        .map(|count| count as u64)
}

pub(crate) fn writev(context: &mut Context<'_>, [fd, list, count, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let list = arguments::iovec(context, list, count)?;
    let result = file.write(&mut UserSource::scattered(context, &list));
    written(context, result)
}

pub(crate) fn preadv(
    context: &mut Context<'_>,
    [fd, list, count, offset, ..]: Args,
) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let list = arguments::iovec(context, list, count)?;
    let mut sink = UserSink::scattered(context, &list);
    file.read_at(offset_of(offset)?, &mut sink)
        .map(|count| count as u64)
}

pub(crate) fn pwritev(
    context: &mut Context<'_>,
    [fd, list, count, offset, ..]: Args,
) -> Result<u64> {
    let file = context.file(fd as i32)?;
    let list = arguments::iovec(context, list, count)?;
    let result = file.write_at(
        offset_of(offset)?,
        &mut UserSource::scattered(context, &list),
    );
    written(context, result)
}

pub(crate) fn lseek(context: &mut Context<'_>, [fd, offset, whence, ..]: Args) -> Result<u64> {
    context.file(fd as i32)?.seek(offset as i64, whence as u32)
}

/// Moves bytes through a kernel buffer.
pub(crate) fn sendfile(
    context: &mut Context<'_>,
    [to, from, offset, count, ..]: Args,
) -> Result<u64> {
    const PIECE: usize = 64 << 10;
    let (to, from) = (context.file(to as i32)?, context.file(from as i32)?);
    let mut position = if offset == 0 {
        None
    } else {
        Some(arguments::read::<u64>(context, offset)?)
    };
    let mut done = 0u64;
    let count = clamp(count) as u64;
    while done < count {
        let mut piece = VecSink::new(PIECE.min((count - done) as usize));
        let got = match position {
            Some(at) => from.read_at(at, &mut piece)?,
            None => from.read(&mut piece)?,
        };
        if got == 0 {
            break;
        }
        let put = match to.write(&mut SliceSource::new(&piece.bytes)) {
            Ok(put) => put,
            Err(_) if done != 0 => break,
            Err(error) => return written(context, Err(error)),
        };
        done += put as u64;
        position = position.map(|at| at + put as u64);
        if put < got {
            break;
        }
        sched::preempt_point();
    }
    if let Some(at) = position {
        context.write_user(offset, &at.to_le_bytes())?;
    }
    Ok(done)
}

pub(crate) fn fsync(context: &mut Context<'_>, [fd, ..]: Args) -> Result<u64> {
    context.file(fd as i32)?.file().sync(false).map(|()| 0)
}

pub(crate) fn fdatasync(context: &mut Context<'_>, [fd, ..]: Args) -> Result<u64> {
    context.file(fd as i32)?.file().sync(true).map(|()| 0)
}

/// No file system here keeps anything back from its device.
pub(crate) fn sync(_context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(0)
}

pub(crate) fn ftruncate(context: &mut Context<'_>, [fd, len, ..]: Args) -> Result<u64> {
    context
        .file(fd as i32)?
        .truncate(offset_of(len)?)
        .map(|()| 0)
}

pub(crate) fn fallocate(
    context: &mut Context<'_>,
    [fd, mode, offset, len, ..]: Args,
) -> Result<u64> {
    context
        .file(fd as i32)?
        .allocate(mode as u32, offset as i64, len as i64)
        .map(|()| 0)
}

pub(crate) fn getdents64(context: &mut Context<'_>, [fd, buffer, count, ..]: Args) -> Result<u64> {
    let file = context.file(fd as i32)?;
    file.read_dir(&mut UserSink::new(context, buffer, clamp(count)))
        .map(|count| count as u64)
}

pub(crate) fn ioctl(context: &mut Context<'_>, [fd, command, argument, ..]: Args) -> Result<u64> {
    use abi::fs::{FIOCLEX, FIONCLEX};
    let fd = fd as i32;
    match command as u32 {
        FIOCLEX => context.files().set_cloexec(fd, true).map(|()| 0),
        FIONCLEX => context.files().set_cloexec(fd, false).map(|()| 0),
        command => context.file(fd)?.ioctl(context, command, argument),
    }
}

/// Advice that changes nothing where files are in memory.
pub(crate) fn fadvise64(
    context: &mut Context<'_>,
    [fd, _offset, _len, advice, ..]: Args,
) -> Result<u64> {
    const LAST: u64 = 5;
    let file = context.file(fd as i32)?;
    match advice {
        0..=LAST if file.file().is_seekable() => Ok(0),
        0..=LAST => Err(Errno::ESPIPE),
        _ => Err(Errno::EINVAL),
    }
}
