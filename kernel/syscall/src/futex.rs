//! futex(2).

use crate::{Args, Context, Result, arguments};
use abi::Errno;
use world::futex::{self, ANY, Requeue};

const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;
const PRIVATE: u64 = 128;
const REALTIME: u64 = 256;

pub(crate) fn futex(
    context: &mut Context<'_>,
    [address, operation, value, timeout, second, third]: Args,
) -> Result<u64> {
    let is_private = operation & PRIVATE != 0;
    let key = futex::key(context.space(), address, is_private)?;
    let value = value as u32;
    match operation & !(PRIVATE | REALTIME) {
        WAIT => {
            let ns = arguments::time_ns(context, timeout)?;
            let deadline = context.deadline(ns);
            let result = futex::wait(context.space(), address, key, value, ANY, deadline);
            resumable(context, result, deadline)
        }
        WAIT_BITSET => {
            let deadline = absolute(context, timeout, operation & REALTIME != 0)?;
            futex::wait(context.space(), address, key, value, third as u32, deadline).map(|()| 0)
        }
        WAKE => Ok(futex::wake(key, count(value), ANY) as u64),
        WAKE_BITSET if third as u32 == 0 => Err(Errno::EINVAL),
        WAKE_BITSET => Ok(futex::wake(key, count(value), third as u32) as u64),
        REQUEUE | CMP_REQUEUE => {
            if (value as i32) < 0 || (timeout as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            let compares = operation & !(PRIVATE | REALTIME) == CMP_REQUEUE;
            let request = Requeue {
                from: key,
                to: futex::key(context.space(), second, is_private)?,
                wake: count(value),
                moves: count(timeout as u32),
            };
            let expected = compares.then_some(third as u32);
            let (woken, moved) = futex::requeue(context.space(), address, expected, request)?;
            Ok((woken + moved) as u64)
        }
        WAKE_OP => {
            let to = futex::key(context.space(), second, is_private)?;
            let met = apply(context, second, third as u32)?;
            let mut woken = futex::wake(key, count(value), ANY);
            if met {
                woken += futex::wake(to, count(timeout as u32), ANY);
            }
            Ok(woken as u64)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// A relative wait that is repeated ends when it would have the first time.
/// Without a limit even a handler lets it be repeated.
fn resumable(
    context: &mut Context<'_>,
    result: Result<()>,
    deadline: wait::Deadline,
) -> Result<u64> {
    match result {
        Err(Errno::ERESTART) if deadline.is_some() => Err(context.interrupt(deadline)),
        other => other.map(|()| 0),
    }
}

fn count(value: u32) -> usize {
    (value as i32).max(0) as usize
}

fn absolute(context: &Context<'_>, timeout: u64, is_realtime: bool) -> Result<wait::Deadline> {
    let Some(at) = arguments::time_ns(context, timeout)? else {
        return Ok(None);
    };
    let shift = if is_realtime {
        wait::realtime_ns().saturating_sub(wait::now_ns())
    } else {
        0
    };
    Ok(Some(at.saturating_sub(shift)))
}

/// FUTEX_WAKE_OP: changes the word at `address` as `code` says; tells whether
/// the comparison with its old value holds.
fn apply(context: &Context<'_>, address: u64, code: u32) -> Result<bool> {
    let field = |from: u32, bits: u32| code >> from & ((1 << bits) - 1);
    let signed = |value: u32| ((value << 20) as i32 >> 20) as u32;
    let (operation, compare) = (field(28, 3), field(24, 4));
    let (mut operand, against) = (signed(field(12, 12)), signed(field(0, 12)));
    if code >> 31 != 0 {
        operand = 1u32.checked_shl(operand).ok_or(Errno::EINVAL)?;
    }
    if operation > 4 || compare > 5 {
        return Err(Errno::ENOSYS);
    }
    let old = context.space().update_u32(address, |old| match operation {
        0 => operand,
        1 => old.wrapping_add(operand),
        2 => old | operand,
        3 => old & !operand,
        _ => old ^ operand,
    })?;
    let (old, against) = (old as i32, against as i32);
    Ok(match compare {
        0 => old == against,
        1 => old != against,
        2 => old < against,
        3 => old <= against,
        4 => old > against,
        _ => old >= against,
    })
}
