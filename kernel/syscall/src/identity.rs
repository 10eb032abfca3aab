//! Who the caller is: getpid(2), getuid(2), setuid(2), ...

use crate::arguments::{element, element_at, write};
use crate::{Args, Context, Result};
use abi::Errno;
use alloc::vec::Vec;
use vfs::Credentials;

/// The most supplementary groups, as on Linux.
const GROUPS_MAX: u64 = 65_536;
/// The id that stands for "leave as it is".
const KEEP: u32 = u32::MAX;

pub(crate) fn getpid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.process().pid()))
}

pub(crate) fn getppid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.process().parent_pid()))
}

pub(crate) fn gettid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.thread().tid()))
}

pub(crate) fn getuid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.credentials().uid))
}

pub(crate) fn geteuid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.credentials().euid))
}

pub(crate) fn getgid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.credentials().gid))
}

pub(crate) fn getegid(context: &mut Context<'_>, _args: Args) -> Result<u64> {
    Ok(u64::from(context.credentials().egid))
}

fn write_three(context: &Context<'_>, to: [u64; 3], ids: [u32; 3]) -> Result<u64> {
    to.iter()
        .zip(ids)
        .try_for_each(|(&to, id)| write(context, to, &id))
        .map(|()| 0)
}

pub(crate) fn getresuid(
    context: &mut Context<'_>,
    [real, effective, saved, ..]: Args,
) -> Result<u64> {
    let ids = context.credentials().clone();
    write_three(
        context,
        [real, effective, saved],
        [ids.uid, ids.euid, ids.suid],
    )
}

pub(crate) fn getresgid(
    context: &mut Context<'_>,
    [real, effective, saved, ..]: Args,
) -> Result<u64> {
    let ids = context.credentials().clone();
    write_three(
        context,
        [real, effective, saved],
        [ids.gid, ids.egid, ids.sgid],
    )
}

pub(crate) fn getgroups(context: &mut Context<'_>, [size, list, ..]: Args) -> Result<u64> {
    let groups = context.credentials().groups.clone();
    if size == 0 {
        return Ok(groups.len() as u64);
    }
    if (size as i32) < groups.len() as i32 {
        return Err(Errno::EINVAL);
    }
    for (index, group) in groups.iter().enumerate() {
        write(context, element_at::<u32>(list, index as u64), group)?;
    }
    Ok(groups.len() as u64)
}

fn change(context: &mut Context<'_>, new: Credentials) -> Result<u64> {
    context.process().set_credentials(new);
    context.refresh();
    Ok(0)
}

/// The three ids after a setres call: each new one must be one of the old three,
/// unless the caller is the superuser.
fn set_three(is_superuser: bool, old: [u32; 3], new: [u64; 3]) -> Result<[u32; 3]> {
    let mut ids = old;
    for (id, new) in ids.iter_mut().zip(new) {
        let new = new as u32;
        if new == KEEP {
            continue;
        }
        if !is_superuser && !old.contains(&new) {
            return Err(Errno::EPERM);
        }
        *id = new;
    }
    Ok(ids)
}

pub(crate) fn setresuid(
    context: &mut Context<'_>,
    [real, effective, saved, ..]: Args,
) -> Result<u64> {
    let mut ids = (**context.credentials()).clone();
    let old = [ids.uid, ids.euid, ids.suid];
    [ids.uid, ids.euid, ids.suid] = set_three(ids.is_superuser(), old, [real, effective, saved])?;
    change(context, ids)
}

pub(crate) fn setresgid(
    context: &mut Context<'_>,
    [real, effective, saved, ..]: Args,
) -> Result<u64> {
    let mut ids = (**context.credentials()).clone();
    let old = [ids.gid, ids.egid, ids.sgid];
    [ids.gid, ids.egid, ids.sgid] = set_three(ids.is_superuser(), old, [real, effective, saved])?;
    change(context, ids)
}

pub(crate) fn setuid(context: &mut Context<'_>, [id, ..]: Args) -> Result<u64> {
    let keep = u64::from(KEEP);
    let all = if context.credentials().is_superuser() {
        id
    } else {
        keep
    };
    setresuid(context, [all, id, all, 0, 0, 0])
}

pub(crate) fn setgid(context: &mut Context<'_>, [id, ..]: Args) -> Result<u64> {
    let keep = u64::from(KEEP);
    let all = if context.credentials().is_superuser() {
        id
    } else {
        keep
    };
    setresgid(context, [all, id, all, 0, 0, 0])
}

pub(crate) fn setgroups(context: &mut Context<'_>, [size, list, ..]: Args) -> Result<u64> {
    let mut ids = (**context.credentials()).clone();
    if !ids.is_superuser() {
        return Err(Errno::EPERM);
    }
    if size > GROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    ids.groups = (0..size)
        .map(|index| element(context, list, index))
        .collect::<Result<Vec<u32>>>()?;
    change(context, ids)
}

/// setre* sets the saved id too where the real one is set or the effective one
/// becomes other than the real one was.
fn with_saved(old_real: u32, real: u64, effective: u64) -> [u64; 3] {
    let changes = real as u32 != KEEP || effective as u32 != KEEP && effective as u32 != old_real;
    let saved = match effective as u32 {
        KEEP => u64::from(KEEP),
        _ if changes => effective,
        _ => u64::from(KEEP),
    };
    [real, effective, saved]
}

pub(crate) fn setreuid(context: &mut Context<'_>, [real, effective, ..]: Args) -> Result<u64> {
    let [real, effective, saved] = with_saved(context.credentials().uid, real, effective);
    setresuid(context, [real, effective, saved, 0, 0, 0])
}

pub(crate) fn setregid(context: &mut Context<'_>, [real, effective, ..]: Args) -> Result<u64> {
    let [real, effective, saved] = with_saved(context.credentials().gid, real, effective);
    setresgid(context, [real, effective, saved, 0, 0, 0])
}
