//! Descriptors to wait with: eventfd(2), timerfd_create(2), epoll(7).

use crate::arguments::{self, read, write, write_if};
use crate::poll::milliseconds;
use crate::{Args, Context, Result};
use abi::Errno;
use abi::event::{
    EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE, EPOLL_CLOEXEC, EPOLL_CTL_DEL, EpollEvent, Itimerspec,
    TFD_CLOEXEC, TFD_NONBLOCK,
};
use abi::signal::SignalSet;
use alloc::sync::Arc;
use alloc::vec;
use ipc::{Clock, Epoll, EventFd, TimerFd};
use vfs::{Caller, File, OpenFile, OpenFlags};

/// Events that one epoll_wait(2) returns at most; more wait for the next call.
const EVENTS_MAX: usize = 256;
/// O_NONBLOCK and O_CLOEXEC, as all of these calls take them.
const COMMON: u32 = EFD_NONBLOCK | EFD_CLOEXEC;
/// Flags of eventfd2(2).
pub(crate) const EVENTFD_FLAGS: u32 = COMMON | EFD_SEMAPHORE;
/// Flags of timerfd_create(2).
pub(crate) const TIMERFD_FLAGS: u32 = TFD_NONBLOCK | TFD_CLOEXEC;
/// Flags of epoll_create1(2).
pub(crate) const EPOLL_FLAGS: u32 = EPOLL_CLOEXEC;

fn install(context: &Context<'_>, file: Arc<dyn File>, flags: u32) -> Result<u64> {
    let status = OpenFlags::RDWR | (OpenFlags::from_bits_retain(flags) & OpenFlags::NONBLOCK);
    context
        .install(OpenFile::new(file, status), flags & EFD_CLOEXEC != 0)
        .map(|fd| fd as u64)
}

pub(crate) fn eventfd(context: &mut Context<'_>, [initial, ..]: Args) -> Result<u64> {
    eventfd2(context, [initial, 0, 0, 0, 0, 0])
}

pub(crate) fn eventfd2(context: &mut Context<'_>, [initial, flags, ..]: Args) -> Result<u64> {
    let flags = flags as u32;
    if flags & !EVENTFD_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    install(
        context,
        EventFd::new(initial as u32, flags & EFD_SEMAPHORE != 0),
        flags,
    )
}

pub(crate) fn timerfd_create(context: &mut Context<'_>, [clock, flags, ..]: Args) -> Result<u64> {
    let flags = flags as u32;
    if flags & !TIMERFD_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    install(
        context,
        TimerFd::new(Clock::from_number(clock as u32)?),
        flags,
    )
}

fn timer(context: &Context<'_>, fd: u64) -> Result<Arc<TimerFd>> {
    context
        .file(fd as i32)?
        .file_as::<TimerFd>()
        .ok_or(Errno::EINVAL)
}

pub(crate) fn timerfd_settime(
    context: &mut Context<'_>,
    [fd, flags, new, old, ..]: Args,
) -> Result<u64> {
    let timer = timer(context, fd)?;
    let spec: Itimerspec = read(context, new)?;
    let before = timer.set(flags as u32, &spec)?;
    write_if(context, old, &before).map(|()| 0)
}

pub(crate) fn timerfd_gettime(context: &mut Context<'_>, [fd, to, ..]: Args) -> Result<u64> {
    let spec = timer(context, fd)?.get();
    write(context, to, &spec).map(|()| 0)
}

pub(crate) fn epoll_create(context: &mut Context<'_>, [size, ..]: Args) -> Result<u64> {
    if size as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(context, [0; 6])
}

pub(crate) fn epoll_create1(context: &mut Context<'_>, [flags, ..]: Args) -> Result<u64> {
    let flags = flags as u32;
    if flags & !EPOLL_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    install(context, Epoll::new(), flags)
}

fn epoll(context: &Context<'_>, fd: u64) -> Result<Arc<Epoll>> {
    context
        .file(fd as i32)?
        .file_as::<Epoll>()
        .ok_or(Errno::EINVAL)
}

pub(crate) fn epoll_ctl(
    context: &mut Context<'_>,
    [set, operation, fd, event, ..]: Args,
) -> Result<u64> {
    let operation = operation as i32;
    let event: EpollEvent = if operation == EPOLL_CTL_DEL {
        EpollEvent::default()
    } else {
        read(context, event)?
    };
    let target = context.file(fd as i32)?;
    if set as i32 == fd as i32 {
        return Err(Errno::EINVAL);
    }
    epoll(context, set)?
        .control(operation, fd as i32, &target, event)
        .map(|()| 0)
}

fn wait(
    context: &mut Context<'_>,
    set: u64,
    to: u64,
    max: u64,
    deadline: wait::Deadline,
) -> Result<u64> {
    if max as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let set = epoll(context, set)?;
    let mut few = [EpollEvent::default(); 8];
    let max = (max as usize).min(EVENTS_MAX);
    let mut many = vec![];
    let events = if max <= few.len() {
        &mut few[..max]
    } else {
        many.resize(max, EpollEvent::default());
        &mut many[..]
    };
    let count = set.wait(events, deadline).map_err(|error| match error {
        Errno::EINTR => context.interrupt(deadline),
        other => other,
    })?;
    for (index, event) in events[..count].iter().enumerate() {
        write(
            context,
            arguments::element_at::<EpollEvent>(to, index as u64),
            event,
        )?;
    }
    Ok(count as u64)
}

pub(crate) fn epoll_wait(
    context: &mut Context<'_>,
    [set, to, max, timeout, ..]: Args,
) -> Result<u64> {
    let deadline = context.deadline(milliseconds(timeout));
    wait(context, set, to, max, deadline)
}

pub(crate) fn epoll_pwait(
    context: &mut Context<'_>,
    [set, to, max, timeout, mask, size]: Args,
) -> Result<u64> {
    let deadline = context.deadline(milliseconds(timeout));
    with_mask(context, mask, size, |context| {
        wait(context, set, to, max, deadline)
    })
}

pub(crate) fn epoll_pwait2(
    context: &mut Context<'_>,
    [set, to, max, timeout, mask, size]: Args,
) -> Result<u64> {
    let ns = arguments::time_ns(context, timeout)?;
    let deadline = context.deadline(ns);
    with_mask(context, mask, size, |context| {
        wait(context, set, to, max, deadline)
    })
}

/// Runs `call` with the signals at `mask` blocked instead of the thread's own.
pub(crate) fn with_mask(
    context: &mut Context<'_>,
    mask: u64,
    size: u64,
    call: impl FnOnce(&mut Context<'_>) -> Result<u64>,
) -> Result<u64> {
    if mask == 0 {
        return call(context);
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let set = SignalSet(read(context, mask)?);
    context.block_until_handled(set);
    let result = call(context);
    let is_interrupted = matches!(
        result,
        Err(Errno::EINTR | Errno::ERESTART | Errno::ERESTARTNOHAND)
    );
    if !is_interrupted {
        context.unblock();
    }
    result
}
