//! Signals: rt_sigaction(2), kill(2), sigaltstack(2), ...

use crate::arguments::{self, read, write_if};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::signal::{
    AltStack, SIGINFO_SIZE, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAction, SigInfo, SignalSet,
    code, number,
};
use alloc::sync::Arc;
use vfs::UserMemory;
use world::{Process, UserThread, job};

/// Bytes of a signal set.
const SET_SIZE: u64 = 8;
const MIN_STACK: u64 = 2048;

fn check_size(size: u64) -> Result<()> {
    if size == SET_SIZE {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub(crate) fn rt_sigaction(
    context: &mut Context<'_>,
    [signal, new, old, size, ..]: Args,
) -> Result<u64> {
    check_size(size)?;
    let signal = signal as u32;
    let fixed = SignalSet::UNBLOCKABLE;
    if !(1..=number::LAST).contains(&signal) || new != 0 && fixed.contains(signal) {
        return Err(Errno::EINVAL);
    }
    let action = if new == 0 {
        None
    } else {
        let mut bytes = [0; 32];
        context.read_user(new, &mut bytes)?;
        let mut action = SigAction::from_bytes(&bytes);
        action.mask = action.mask.without(fixed);
        Some(action)
    };
    let before = context.process().change_action(signal, action);
    if old != 0 {
        context.write_user(old, &before.to_bytes())?;
    }
    Ok(0)
}

pub(crate) fn rt_sigprocmask(
    context: &mut Context<'_>,
    [how, new, old, size, ..]: Args,
) -> Result<u64> {
    const BLOCK: u64 = 0;
    const UNBLOCK: u64 = 1;
    const SET: u64 = 2;
    check_size(size)?;
    let before = context.thread().blocked();
    if new != 0 {
        let set = SignalSet(read(context, new)?);
        let after = match how {
            BLOCK => before.union(set),
            UNBLOCK => before.without(set),
            SET => set,
            _ => return Err(Errno::EINVAL),
        };
        context.thread().set_blocked(after);
    }
    write_if(context, old, &before.0).map(|()| 0)
}

pub(crate) fn rt_sigpending(context: &mut Context<'_>, [set, size, ..]: Args) -> Result<u64> {
    check_size(size)?;
    let thread = context.thread();
    let waiting = thread.waiting().0 & thread.blocked().0;
    arguments::write(context, set, &waiting).map(|()| 0)
}

pub(crate) fn rt_sigreturn(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    match world::signal::return_from_handler(context) {
        Ok(rax) => Ok(rax),
        Err(_) => {
            context.thread().signal(SigInfo::kernel(number::SIGSEGV));
            Ok(0)
        }
    }
}

pub(crate) fn rt_sigsuspend(context: &mut Context<'_>, [set, size, ..]: Args) -> Result<u64> {
    check_size(size)?;
    let set = SignalSet(read(context, set)?);
    world::signal::suspend(context, set)
}

pub(crate) fn pause(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    let blocked = context.thread().blocked();
    world::signal::suspend(context, blocked)
}

pub(crate) fn rt_sigtimedwait(
    context: &mut Context<'_>,
    [set, info, timeout, size, ..]: Args,
) -> Result<u64> {
    check_size(size)?;
    let set = SignalSet(read(context, set)?).without(SignalSet::UNBLOCKABLE);
    let ns = arguments::time_ns(context, timeout)?;
    let deadline = context.deadline(ns);
    let taken = match world::signal::wait_for(context.thread(), set, deadline) {
        Err(Errno::EINTR) => return Err(context.interrupt(deadline)),
        result => result?,
    };
    if info != 0 {
        context.write_user(info, &taken.to_bytes())?;
    }
    Ok(u64::from(taken.signal))
}

pub(crate) fn sigaltstack(context: &mut Context<'_>, [new, old, ..]: Args) -> Result<u64> {
    let thread = context.thread();
    let before = thread.alt_stack();
    let rsp = context.user.regs().rsp;
    let is_on =
        before.flags & SS_DISABLE == 0 && rsp > before.base && rsp - before.base <= before.size;
    if new != 0 {
        let mut bytes = [0; 24];
        context.read_user(new, &mut bytes)?;
        let mut stack = AltStack::from_bytes(&bytes);
        if is_on {
            return Err(Errno::EPERM);
        }
        match stack.flags & !SS_AUTODISARM {
            SS_DISABLE => stack = AltStack::default(),
            0 | SS_ONSTACK if stack.size < MIN_STACK => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => stack.flags &= SS_AUTODISARM,
            _ => return Err(Errno::EINVAL),
        }
        thread.set_alt_stack(stack);
    }
    if old != 0 {
        let mut shown = before;
        shown.flags |= if is_on { SS_ONSTACK } else { 0 };
        context.write_user(old, &shown.to_bytes())?;
    }
    Ok(0)
}

fn check_signal(signal: u64) -> Result<u32> {
    if signal as u32 <= number::LAST {
        Ok(signal as u32)
    } else {
        Err(Errno::EINVAL)
    }
}

fn from_caller(context: &Context<'_>, signal: u32, why: i32) -> SigInfo {
    SigInfo::from_process(
        signal,
        why,
        context.process().pid(),
        context.credentials().uid,
    )
}

/// Sends unless `signal` is 0, which only asks whether it could be sent.
fn send(context: &Context<'_>, process: &Arc<Process>, info: SigInfo) -> Result<()> {
    may_signal(context, process)?;
    if info.signal == 0 {
        Ok(())
    } else {
        process.signal(info)
    }
}

fn may_signal(context: &Context<'_>, process: &Process) -> Result<()> {
    let (own, other) = (context.credentials(), process.credentials());
    let is_same = [own.euid, own.uid]
        .iter()
        .any(|id| [other.uid, other.suid].contains(id));
    if own.is_superuser() || is_same {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

pub(crate) fn kill(context: &mut Context<'_>, [target, signal, ..]: Args) -> Result<u64> {
    let info = from_caller(context, check_signal(signal)?, code::SI_USER);
    match target as i32 {
        pid if pid > 0 => {
            let process = world::find_process(pid as u32).ok_or(Errno::ESRCH)?;
            send(context, &process, info)?;
        }
        -1 => {
            let mut found = false;
            world::for_each_process(|process| {
                if process.pid() != 1 && process.pid() != context.process().pid() {
                    found |= send(context, process, info).is_ok();
                }
            });
            return if found { Ok(0) } else { Err(Errno::ESRCH) };
        }
        group => {
            let group = if group == 0 {
                context.process().group()
            } else {
                group.unsigned_abs()
            };
            let members = job::members(group);
            if members.is_empty() {
                return Err(Errno::ESRCH);
            }
            members
                .iter()
                .map(|process| send(context, process, info))
                .fold(Err(Errno::EPERM), Result::or)?;
        }
    }
    Ok(0)
}

fn to_thread(context: &Context<'_>, process: Option<u32>, tid: u64, signal: u64) -> Result<u64> {
    let signal = check_signal(signal)?;
    let thread: Arc<UserThread> = world::find_thread(tid as u32).ok_or(Errno::ESRCH)?;
    if process.is_some_and(|pid| pid != thread.process().pid()) {
        return Err(Errno::ESRCH);
    }
    may_signal(context, thread.process())?;
    if signal != 0 {
        thread.signal(from_caller(context, signal, code::SI_TKILL));
    }
    Ok(0)
}

pub(crate) fn tkill(context: &mut Context<'_>, [tid, signal, ..]: Args) -> Result<u64> {
    to_thread(context, None, tid, signal)
}

pub(crate) fn tgkill(context: &mut Context<'_>, [pid, tid, signal, ..]: Args) -> Result<u64> {
    to_thread(context, Some(pid as u32), tid, signal)
}

/// What a program says of a signal that it queues for `pid`.
fn queued(context: &Context<'_>, pid: u64, signal: u64, info: u64) -> Result<SigInfo> {
    let mut bytes = [0; SIGINFO_SIZE];
    context.read_user(info, &mut bytes)?;
    let info = SigInfo {
        signal: check_signal(signal)?,
        ..SigInfo::from_bytes(&bytes)
    };
    // Only the kernel may say that a signal is its own or a kill's.
    if (info.code >= 0 || info.code == code::SI_TKILL) && pid as u32 != context.process().pid() {
        return Err(Errno::EPERM);
    }
    Ok(info)
}

pub(crate) fn rt_sigqueueinfo(
    context: &mut Context<'_>,
    [pid, signal, info, ..]: Args,
) -> Result<u64> {
    let info = queued(context, pid, signal, info)?;
    let process = world::find_process(pid as u32).ok_or(Errno::ESRCH)?;
    send(context, &process, info).map(|()| 0)
}

pub(crate) fn rt_tgsigqueueinfo(
    context: &mut Context<'_>,
    [pid, tid, signal, info, ..]: Args,
) -> Result<u64> {
    let info = queued(context, pid, signal, info)?;
    let thread = world::find_thread(tid as u32)
        .filter(|thread| thread.process().pid() == pid as u32)
        .ok_or(Errno::ESRCH)?;
    may_signal(context, thread.process())?;
    if info.signal != 0 {
        thread.signal(info);
    }
    Ok(0)
}
