//! poll(2) and select(2).

use crate::arguments::{self, element, element_at, read, write, write_if};
use crate::event::with_mask;
use crate::{Args, Context, Result};
use abi::Errno;
use abi::event::{Events, PollFd, Timespec};
use abi::process::limit;
use alloc::vec::Vec;
use ipc::PollEntry;
use vfs::{Caller, UserMemory};
use wait::Deadline;

/// The most descriptors that select(2) knows.
const SELECT_MAX: u64 = 1024;

/// A time-out in milliseconds; negative ones never come.
pub(crate) fn milliseconds(timeout: u64) -> Option<u64> {
    let milliseconds = timeout as i32;
    (milliseconds >= 0).then(|| milliseconds as u64 * 1_000_000)
}

fn entry(context: &Context<'_>, fd: i32, wanted: Events) -> PollEntry {
    if fd < 0 {
        return PollEntry {
            file: None,
            wanted,
            found: Events::empty(),
        };
    }
    let file = context.file(fd).ok();
    let found = if file.is_some() {
        Events::empty()
    } else {
        Events::NVAL
    };
    PollEntry {
        file,
        wanted,
        found,
    }
}

fn poll_files(
    context: &mut Context<'_>,
    entries: &mut [PollEntry],
    deadline: Deadline,
) -> Result<usize> {
    ipc::poll(entries, deadline).map_err(|error| match error {
        Errno::EINTR => context.interrupt(deadline),
        other => other,
    })
}

fn wait(context: &mut Context<'_>, list: u64, count: u64, deadline: Deadline) -> Result<u64> {
    if count > context.process().limit(limit::NOFILE).soft {
        return Err(Errno::EINVAL);
    }
    let mut fds = Vec::with_capacity(count as usize);
    for index in 0..count {
        fds.push(element::<PollFd>(context, list, index)?);
    }
    let mut entries: Vec<_> = fds
        .iter()
        .map(|fd| {
            entry(
                context,
                fd.fd,
                Events::from_bits_retain(u32::from(fd.events)),
            )
        })
        .collect();
    let ready = poll_files(context, &mut entries, deadline)?;
    for (index, (mut fd, entry)) in fds.into_iter().zip(entries).enumerate() {
        fd.revents = entry.found.bits() as u16;
        write(context, element_at::<PollFd>(list, index as u64), &fd)?;
    }
    Ok(ready as u64)
}

pub(crate) fn poll(context: &mut Context<'_>, [list, count, timeout, ..]: Args) -> Result<u64> {
    let deadline = context.deadline(milliseconds(timeout));
    wait(context, list, count, deadline)
}

pub(crate) fn ppoll(
    context: &mut Context<'_>,
    [list, count, timeout, mask, size, _]: Args,
) -> Result<u64> {
    let ns = arguments::time_ns(context, timeout)?;
    let deadline = context.deadline(ns);
    let result = with_mask(context, mask, size, |context| {
        wait(context, list, count, deadline)
    });
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(wait::now_ns());
        write(context, timeout, &Timespec::from_ns(left))?;
    }
    result
}

/// What select(2)'s three sets ask for.
const READ: Events = Events::IN
    .union(Events::RDNORM)
    .union(Events::HUP)
    .union(Events::ERR);
const WRITE: Events = Events::OUT.union(Events::WRNORM).union(Events::ERR);
const EXCEPTION: Events = Events::PRI;
const KINDS: [Events; 3] = [READ, WRITE, EXCEPTION];

fn select_sets(
    context: &mut Context<'_>,
    count: u64,
    sets: [u64; 3],
    deadline: Deadline,
) -> Result<u64> {
    if count as i32 <= -1 || count > SELECT_MAX {
        return Err(Errno::EINVAL);
    }
    let bytes = count.div_ceil(64) as usize * 8;
    let mut bits = [[0u8; SELECT_MAX as usize / 8]; 3];
    for (bits, &address) in bits.iter_mut().zip(&sets) {
        if address != 0 {
            context.read_user(address, &mut bits[..bytes])?;
        }
    }
    let mut fds = Vec::new();
    let mut entries = Vec::new();
    for fd in 0..count as usize {
        let wanted = (0..3)
            .filter(|&kind| bits[kind][fd / 8] & 1 << (fd % 8) != 0)
            .fold(Events::empty(), |all, kind| all | KINDS[kind]);
        if !wanted.is_empty() {
            context.file(fd as i32)?;
            fds.push(fd);
            entries.push(entry(context, fd as i32, wanted));
        }
    }
    poll_files(context, &mut entries, deadline)?;
    let mut found = [[0u8; SELECT_MAX as usize / 8]; 3];
    let mut total = 0;
    for (&fd, entry) in fds.iter().zip(&entries) {
        for kind in 0..3 {
            let asked = bits[kind][fd / 8] & 1 << (fd % 8);
            if asked != 0 && entry.found.intersects(KINDS[kind]) {
                found[kind][fd / 8] |= asked;
                total += 1;
            }
        }
    }
    for (found, &address) in found.iter().zip(&sets) {
        if address != 0 {
            context.write_user(address, &found[..bytes])?;
        }
    }
    Ok(total)
}

pub(crate) fn select(
    context: &mut Context<'_>,
    [count, reads, writes, exceptions, timeout, _]: Args,
) -> Result<u64> {
    let ns = if timeout == 0 {
        None
    } else {
        let [seconds, micro]: [u64; 2] = read(context, timeout)?;
        if (seconds as i64) < 0 || micro >= 1_000_000 {
            return Err(Errno::EINVAL);
        }
        Some(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(micro * 1000),
        )
    };
    let deadline = context.deadline(ns);
    let result = select_sets(context, count, [reads, writes, exceptions], deadline);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(wait::now_ns());
        write_if(
            context,
            timeout,
            &[left / 1_000_000_000, left % 1_000_000_000 / 1000],
        )?;
    }
    result
}

pub(crate) fn pselect6(
    context: &mut Context<'_>,
    [count, reads, writes, exceptions, timeout, mask]: Args,
) -> Result<u64> {
    let ns = arguments::time_ns(context, timeout)?;
    let deadline = context.deadline(ns);
    let [mask, size] = if mask == 0 {
        [0, 0]
    } else {
        read(context, mask)?
    };
    with_mask(context, mask, size, |context| {
        select_sets(context, count, [reads, writes, exceptions], deadline)
    })
}
