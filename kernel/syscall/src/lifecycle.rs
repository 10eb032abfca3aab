//! The life of processes and threads: clone(2), exit(2), wait4(2), ...

use crate::arguments::{self, write, write_if};
use crate::{Args, Context, Result, limits};
use abi::Errno;
use abi::process::clone_flags::{CLONE_VFORK, CLONE_VM, CSIGNAL};
use abi::process::wait_options::*;
use abi::signal::{SigInfo, code, number};
use alloc::string::String;
use vfs::UserMemory;
use world::{Changes, Child, CloneRequest, Status, WaitFor};

pub(crate) fn clone(
    context: &mut Context<'_>,
    [flags, stack, parent_tid, child_tid, tls, _]: Args,
) -> Result<u64> {
    context.clone_child(CloneRequest {
        flags: flags & !CSIGNAL,
        exit_signal: (flags & CSIGNAL) as u32,
        stack,
        parent_tid,
        child_tid,
        tls,
    })
}

pub(crate) fn fork(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    context.clone_child(CloneRequest {
        exit_signal: number::SIGCHLD,
        ..CloneRequest::default()
    })
}

pub(crate) fn vfork(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    let flags = CLONE_VFORK | CLONE_VM;
    context.clone_child(CloneRequest {
        flags,
        exit_signal: number::SIGCHLD,
        ..CloneRequest::default()
    })
}

/// clone3(2): the words of `struct clone_args`, of which longer ones must be 0.
pub(crate) fn clone3(context: &mut Context<'_>, [address, size, ..]: Args) -> Result<u64> {
    const FIRST_VERSION: u64 = 64;
    const KNOWN: usize = 11;
    match size {
        0..FIRST_VERSION => return Err(Errno::EINVAL),
        FIRST_VERSION..=mem::PAGE => {}
        _ => return Err(Errno::E2BIG),
    }
    let mut words = [0u64; KNOWN];
    for index in KNOWN as u64..size / 8 {
        if arguments::element::<u64>(context, address, index)? != 0 {
            return Err(Errno::E2BIG);
        }
    }
    for (index, word) in words.iter_mut().enumerate().take(size as usize / 8) {
        *word = arguments::element(context, address, index as u64)?;
    }
    let [
        flags,
        _pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        _,
        cgroup,
    ] = words;
    if exit_signal > 64
        || flags & CSIGNAL != 0
        || set_tid != 0
        || cgroup != 0
        || (stack == 0) != (stack_size == 0)
    {
        return Err(Errno::EINVAL);
    }
    let stack = if stack == 0 {
        0
    } else {
        stack.wrapping_add(stack_size)
    };
    context.clone_child(CloneRequest {
        flags,
        exit_signal: exit_signal as u32,
        stack,
        parent_tid,
        child_tid,
        tls,
    })
}

pub(crate) fn exit(context: &mut Context<'_>, [status, ..]: Args) -> Result<u64> {
    context.thread().exit(status as u8);
    Ok(0)
}

pub(crate) fn exit_group(context: &mut Context<'_>, [status, ..]: Args) -> Result<u64> {
    context.process().exit(status as u8);
    Ok(0)
}

/// Options of wait4(2); the last three make no difference here.
pub(crate) const WAIT4_OPTIONS: u64 = WNOHANG | WUNTRACED | WCONTINUED | WALL | WCLONE | WNOTHREAD;
/// Options of waitid(2).
pub(crate) const WAITID_OPTIONS: u64 = WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED;

pub(crate) fn wait4(
    context: &mut Context<'_>,
    [which, status, options, usage, ..]: Args,
) -> Result<u64> {
    if options & !WAIT4_OPTIONS != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match which as i32 {
        -1 => WaitFor::Any,
        0 => WaitFor::Group(context.process().group()),
        pid if pid > 0 => WaitFor::Process(pid as u32),
        group => WaitFor::Group(group.unsigned_abs()),
    };
    let changes = Changes {
        ended: true,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        keep: false,
    };
    let process = context.process().clone();
    let Some(child) = process.wait_for_child(which, changes, options & WNOHANG == 0)? else {
        return Ok(0);
    };
    write_if(context, status, &child.status.to_wait())?;
    write_if(context, usage, &limits::usage_words(child.run_ns))?;
    Ok(u64::from(child.pid))
}

pub(crate) fn waitid(
    context: &mut Context<'_>,
    [kind, id, info, options, usage, _]: Args,
) -> Result<u64> {
    const P_ALL: u64 = 0;
    const P_PID: u64 = 1;
    const P_PGID: u64 = 2;
    if options & !WAITID_OPTIONS != 0 || options & (WEXITED | WUNTRACED | WCONTINUED) == 0 {
        return Err(Errno::EINVAL);
    }
    let which = match kind {
        P_ALL => WaitFor::Any,
        P_PID if id as i32 > 0 => WaitFor::Process(id as u32),
        P_PGID if id == 0 => WaitFor::Group(context.process().group()),
        P_PGID if id as i32 > 0 => WaitFor::Group(id as u32),
        _ => return Err(Errno::EINVAL),
    };
    let changes = Changes {
        ended: options & WEXITED != 0,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        keep: options & WNOWAIT != 0,
    };
    let process = context.process().clone();
    let child = process.wait_for_child(which, changes, options & WNOHANG == 0)?;
    if info != 0 {
        let bytes = child.map_or([0; abi::signal::SIGINFO_SIZE], |child| {
            child_info(&child).to_bytes()
        });
        context.write_user(info, &bytes)?;
    }
    if let Some(child) = child {
        write_if(context, usage, &limits::usage_words(child.run_ns))?;
    }
    Ok(0)
}

fn child_info(child: &Child) -> SigInfo {
    let (why, value) = match child.status {
        Status::Exited(value) => (code::CLD_EXITED, i32::from(value)),
        Status::Killed(signal) => (code::CLD_KILLED, signal as i32),
        Status::Stopped(signal) => (code::CLD_STOPPED, signal as i32),
        Status::Continued => (code::CLD_CONTINUED, number::SIGCONT as i32),
    };
    SigInfo::child(why, child.pid, child.uid, value)
}

pub(crate) fn set_tid_address(context: &mut Context<'_>, [address, ..]: Args) -> Result<u64> {
    context.thread().set_clear_at_exit(address);
    Ok(u64::from(context.thread().tid()))
}

pub(crate) fn set_robust_list(context: &mut Context<'_>, [head, len, ..]: Args) -> Result<u64> {
    const HEAD_SIZE: u64 = 24;
    if len != HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    context.thread().set_robust_list(head, len);
    Ok(0)
}

pub(crate) fn get_robust_list(
    context: &mut Context<'_>,
    [tid, head, len, ..]: Args,
) -> Result<u64> {
    let thread = match tid as u32 {
        0 => context.thread().clone(),
        tid => world::find_thread(tid).ok_or(Errno::ESRCH)?,
    };
    let (at, size) = thread.robust_list();
    write(context, head, &at)?;
    write(context, len, &size).map(|()| 0)
}

pub(crate) fn arch_prctl(context: &mut Context<'_>, [command, address, ..]: Args) -> Result<u64> {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_GET_FS: u64 = 0x1003;
    const ARCH_GET_GS: u64 = 0x1004;
    let (fs, gs) = hal::task::user_bases();
    let set = |fs, gs| {
        if hal::task::set_user_bases(fs, gs) {
            Ok(0)
        } else {
            Err(Errno::EPERM)
        }
    };
    match command {
        ARCH_SET_FS => set(address, gs),
        ARCH_SET_GS => set(fs, address),
        ARCH_GET_FS => write(context, address, &fs).map(|()| 0),
        ARCH_GET_GS => write(context, address, &gs).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn prctl(context: &mut Context<'_>, [option, argument, ..]: Args) -> Result<u64> {
    const PR_SET_PDEATHSIG: u64 = 1;
    const PR_GET_DUMPABLE: u64 = 3;
    const PR_SET_DUMPABLE: u64 = 4;
    const PR_SET_NAME: u64 = 15;
    const PR_GET_NAME: u64 = 16;
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    const PR_GET_NO_NEW_PRIVS: u64 = 39;
    const NAME_LEN: usize = 16;
    match option {
        PR_SET_NAME => {
            let mut name = [0; NAME_LEN];
            for (index, byte) in name.iter_mut().enumerate().take(NAME_LEN - 1) {
                *byte = arguments::element(context, argument, index as u64)?;
                if *byte == 0 {
                    break;
                }
            }
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN);
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            if context.thread().tid() == context.process().pid() {
                context.process().set_name(name.clone());
            }
            context.thread().sched().set_name(name);
            Ok(0)
        }
        PR_GET_NAME => {
            let name = context.thread().sched().name();
            let mut bytes = [0; NAME_LEN];
            let len = name.len().min(NAME_LEN - 1);
            bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
            context.write_user(argument, &bytes).map(|()| 0)
        }
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_DUMPABLE if argument <= 1 => Ok(0),
        PR_SET_PDEATHSIG if argument == 0 => Ok(0),
        PR_SET_NO_NEW_PRIVS if argument == 1 => {
            context.process().set_no_new_privs();
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS => Ok(u64::from(context.process().has_no_new_privs())),
        _ => Err(Errno::EINVAL),
    }
}

/// Restartable sequences are an offer to libraries; they do without.
pub(crate) fn rseq(_context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Err(Errno::ENOSYS)
}
