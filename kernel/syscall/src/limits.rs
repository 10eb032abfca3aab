//! Limits, usage and the scheduler's parameters: prlimit64(2), getrusage(2),
//! sched_getaffinity(2), ...

use crate::arguments::{read, write, write_if};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::process::limit;
use alloc::sync::Arc;
use vfs::UserMemory;
use world::{Limit, Process, UserThread};

/// The most descriptors that a process may be allowed, as on Linux.
const NOFILE_MAX: u64 = 1 << 20;
const NS: u64 = 1_000_000_000;

fn process(context: &Context<'_>, pid: u64) -> Result<Arc<Process>> {
    match pid as u32 {
        0 => Ok(context.process().clone()),
        pid => world::find_process(pid).ok_or(Errno::ESRCH),
    }
}

pub(crate) fn prlimit64(
    context: &mut Context<'_>,
    [pid, which, new, old, ..]: Args,
) -> Result<u64> {
    let process = process(context, pid)?;
    let which = which as usize;
    if which >= limit::COUNT {
        return Err(Errno::EINVAL);
    }
    let before = process.limit(which);
    if new != 0 {
        let [soft, hard]: [u64; 2] = read(context, new)?;
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if hard > before.hard && !context.credentials().is_superuser() {
            return Err(Errno::EPERM);
        }
        if which == limit::NOFILE && hard > NOFILE_MAX {
            return Err(Errno::EPERM);
        }
        process.set_limit(which, Limit { soft, hard });
    }
    write_if(context, old, &[before.soft, before.hard]).map(|()| 0)
}

pub(crate) fn getrlimit(context: &mut Context<'_>, [which, to, ..]: Args) -> Result<u64> {
    prlimit64(context, [0, which, 0, to, 0, 0])
}

pub(crate) fn setrlimit(context: &mut Context<'_>, [which, from, ..]: Args) -> Result<u64> {
    prlimit64(context, [0, which, from, 0, 0, 0])
}

/// `struct rusage`: user time, system time, and counts that are not kept. All
/// running time counts as the user's.
pub(crate) fn usage_words(run_ns: u64) -> [u64; 18] {
    let mut words = [0; 18];
    words[0] = run_ns / NS;
    words[1] = run_ns % NS / 1000;
    words
}

pub(crate) fn getrusage(context: &mut Context<'_>, [who, to, ..]: Args) -> Result<u64> {
    const CHILDREN: i32 = -1;
    const OWN: i32 = 0;
    const THREAD: i32 = 1;
    let process = context.process();
    let run_ns = match who as i32 {
        OWN => process.usage().run_ns,
        CHILDREN => process.children_usage().run_ns,
        THREAD => context.thread().sched().run_ns(),
        _ => return Err(Errno::EINVAL),
    };
    write(context, to, &usage_words(run_ns)).map(|()| 0)
}

pub(crate) fn sched_yield(_context: &mut Context<'_>, _args: Args) -> Result<u64> {
    sched::yield_now();
    Ok(0)
}

fn thread(context: &Context<'_>, tid: u64) -> Result<Arc<UserThread>> {
    match tid as u32 {
        0 => Ok(context.thread().clone()),
        tid => world::find_thread(tid).ok_or(Errno::ESRCH),
    }
}

fn all_cpus() -> u64 {
    let count = hal::cpu::count();
    if count >= 64 {
        u64::MAX
    } else {
        (1 << count) - 1
    }
}

/// Returns the size of the kernel's CPU set, 8 bytes.
pub(crate) fn sched_getaffinity(
    context: &mut Context<'_>,
    [tid, size, to, ..]: Args,
) -> Result<u64> {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let mask = thread(context, tid)?.sched().affinity() & all_cpus();
    write(context, to, &mask)?;
    Ok(8)
}

pub(crate) fn sched_setaffinity(
    context: &mut Context<'_>,
    [tid, size, from, ..]: Args,
) -> Result<u64> {
    let mut bytes = [0; 8];
    let len = (size as usize).min(8);
    context.read_user(from, &mut bytes[..len])?;
    let mask = u64::from_le_bytes(bytes) & all_cpus();
    if mask == 0 {
        return Err(Errno::EINVAL);
    }
    let thread = thread(context, tid)?;
    let moved = thread.sched().set_affinity(mask);
    moved.map(|()| 0).map_err(|_| Errno::EBUSY)
}

/// Nice values shift a thread's weight by a quarter per step; what is returned
/// is 20 minus the value (getpriority(2), "C library/kernel differences").
pub(crate) fn getpriority(context: &mut Context<'_>, [kind, who, ..]: Args) -> Result<u64> {
    const PRIO_PROCESS: u64 = 0;
    if kind != PRIO_PROCESS {
        return Err(Errno::EINVAL);
    }
    let nice = process(context, who)?.nice();
    Ok((20 - nice) as u64)
}

pub(crate) fn setpriority(context: &mut Context<'_>, [kind, who, nice, ..]: Args) -> Result<u64> {
    const PRIO_PROCESS: u64 = 0;
    if kind != PRIO_PROCESS {
        return Err(Errno::EINVAL);
    }
    let process = process(context, who)?;
    let nice = (nice as i32).clamp(-20, 19);
    if nice < process.nice() && !context.credentials().is_superuser() {
        return Err(Errno::EACCES);
    }
    process.set_nice(nice);
    Ok(0)
}

pub(crate) fn getcpu(context: &mut Context<'_>, [cpu, node, ..]: Args) -> Result<u64> {
    write_if(context, cpu, &(hal::cpu::id() as u32))?;
    write_if(context, node, &0u32).map(|()| 0)
}

/// Every thread has the one policy that there is, SCHED_OTHER, 0.
pub(crate) fn sched_getscheduler(context: &mut Context<'_>, [tid, ..]: Args) -> Result<u64> {
    thread(context, tid).map(|_| 0)
}

/// Its only parameter, the priority, is 0.
pub(crate) fn sched_getparam(context: &mut Context<'_>, [tid, to, ..]: Args) -> Result<u64> {
    thread(context, tid)?;
    write(context, to, &0u32).map(|()| 0)
}

/// The highest and the lowest priority of SCHED_OTHER, BATCH and IDLE are 0.
pub(crate) fn sched_priority_bound(_context: &mut Context<'_>, [policy, ..]: Args) -> Result<u64> {
    match policy as u32 {
        0 | 3 | 5 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
