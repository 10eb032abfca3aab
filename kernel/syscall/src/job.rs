//! Process groups and sessions: setpgid(2), setsid(2), ...

use crate::{Args, Context, Result};
use abi::Errno;
use alloc::sync::Arc;
use world::{Process, job};

fn process(context: &Context<'_>, pid: u64) -> Result<Arc<Process>> {
    match pid as u32 {
        0 => Ok(context.process().clone()),
        pid => world::find_process(pid).ok_or(Errno::ESRCH),
    }
}

pub(crate) fn setpgid(context: &mut Context<'_>, [pid, group, ..]: Args) -> Result<u64> {
    if (group as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let process = process(context, pid)?;
    let group = if group as u32 == 0 {
        process.pid()
    } else {
        group as u32
    };
    job::set_group(context.process(), &process, group).map(|()| 0)
}

pub(crate) fn getpgid(context: &mut Context<'_>, [pid, ..]: Args) -> Result<u64> {
    process(context, pid).map(|process| u64::from(process.group()))
}

pub(crate) fn getpgrp(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.process().group()))
}

pub(crate) fn setsid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    job::start_session(context.process()).map(u64::from)
}

pub(crate) fn getsid(context: &mut Context<'_>, [pid, ..]: Args) -> Result<u64> {
    process(context, pid).map(|process| u64::from(process.session().id()))
}
