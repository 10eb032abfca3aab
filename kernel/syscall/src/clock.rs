//! Time: clock_gettime(2), nanosleep(2), setitimer(2), ...

use crate::arguments::{self, write, write_if};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::event::{CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};

const CLOCK_PROCESS_CPUTIME: u32 = 2;
const CLOCK_THREAD_CPUTIME: u32 = 3;
const CLOCK_MONOTONIC_RAW: u32 = 4;
const CLOCK_REALTIME_COARSE: u32 = 5;
const CLOCK_MONOTONIC_COARSE: u32 = 6;
const CLOCK_TAI: u32 = 11;
const TIMER_ABSTIME: u64 = 1;
/// Units of times(2) per second.
const TICKS: u64 = 100;
const NS: u64 = 1_000_000_000;

fn read_clock(context: &Context<'_>, clock: u32) -> Result<u64> {
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_TAI => wait::realtime_ns(),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME => {
            wait::now_ns()
        }
        CLOCK_PROCESS_CPUTIME => context.process().usage().run_ns,
        CLOCK_THREAD_CPUTIME => context.thread().sched().run_ns(),
        _ => return Err(Errno::EINVAL),
    })
}

pub(crate) fn clock_gettime(context: &mut Context<'_>, [clock, time, ..]: Args) -> Result<u64> {
    let now = read_clock(context, clock as u32)?;
    write(context, time, &Timespec::from_ns(now)).map(|()| 0)
}

pub(crate) fn clock_getres(context: &mut Context<'_>, [clock, time, ..]: Args) -> Result<u64> {
    read_clock(context, clock as u32)?;
    write_if(context, time, &Timespec::from_ns(1)).map(|()| 0)
}

pub(crate) fn clock_settime(context: &mut Context<'_>, [clock, time, ..]: Args) -> Result<u64> {
    if clock as u32 != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    let time = arguments::time_ns(context, time)?.ok_or(Errno::EFAULT)?;
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    sched::set_realtime_ns(time);
    Ok(0)
}

pub(crate) fn gettimeofday(context: &mut Context<'_>, [time, zone, ..]: Args) -> Result<u64> {
    let now = wait::realtime_ns();
    write_if(
        context,
        time,
        &[(now / NS) as i64, (now % NS / 1000) as i64],
    )?;
    write_if(context, zone, &[0i32; 2]).map(|()| 0)
}

pub(crate) fn time(context: &mut Context<'_>, [to, ..]: Args) -> Result<u64> {
    let now = wait::realtime_ns() / NS;
    write_if(context, to, &now)?;
    Ok(now)
}

pub(crate) fn times(context: &mut Context<'_>, [to, ..]: Args) -> Result<u64> {
    let ticks = |ns: u64| ns / (NS / TICKS);
    let process = context.process();
    let words = [
        ticks(process.usage().run_ns),
        0,
        ticks(process.children_usage().run_ns),
        0,
    ];
    write_if(context, to, &words)?;
    Ok(ticks(wait::now_ns()))
}

pub(crate) fn nanosleep(context: &mut Context<'_>, [time, rest, ..]: Args) -> Result<u64> {
    let ns = arguments::time_ns(context, time)?.ok_or(Errno::EFAULT)?;
    sleep_for(context, ns, rest)
}

pub(crate) fn clock_nanosleep(
    context: &mut Context<'_>,
    [clock, flags, time, rest, ..]: Args,
) -> Result<u64> {
    let clock = clock as u32;
    let ns = arguments::time_ns(context, time)?.ok_or(Errno::EFAULT)?;
    if clock == CLOCK_THREAD_CPUTIME || clock == CLOCK_PROCESS_CPUTIME {
        return Err(Errno::EOPNOTSUPP);
    }
    let now = read_clock(context, clock)?;
    if flags & TIMER_ABSTIME == 0 {
        return sleep_for(context, ns, rest);
    }
    match sleep_until(wait::now_ns().saturating_add(ns.saturating_sub(now))) {
        true => Ok(0),
        false => Err(Errno::ERESTARTNOHAND),
    }
}

fn sleep_for(context: &mut Context<'_>, ns: u64, rest: u64) -> Result<u64> {
    let deadline = context.deadline(Some(ns)).unwrap_or(u64::MAX);
    if sleep_until(deadline) {
        return Ok(0);
    }
    let left = deadline.saturating_sub(wait::now_ns());
    write_if(context, rest, &Timespec::from_ns(left))?;
    Err(context.interrupt(Some(deadline)))
}

/// Sleeps; false where a signal came first.
fn sleep_until(deadline: u64) -> bool {
    while wait::now_ns() < deadline {
        if wait::interrupted() {
            return false;
        }
        wait::scheduler().park(Some(deadline));
    }
    true
}

pub(crate) fn alarm(context: &mut Context<'_>, [seconds, ..]: Args) -> Result<u64> {
    let process = context.process();
    let (left, _) = process.alarm().get(wait::now_ns());
    process
        .alarm()
        .set(process, u64::from(seconds as u32) * NS, 0);
    Ok(left.div_ceil(NS))
}

/// Which timer setitimer(2) means; only real time is kept.
fn check_timer(which: u64) -> Result<()> {
    const ITIMER_REAL: u64 = 0;
    if which == ITIMER_REAL {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn timer_words(context: &Context<'_>) -> [u64; 4] {
    let (left, interval) = context.process().alarm().get(wait::now_ns());
    [
        interval / NS,
        interval % NS / 1000,
        left / NS,
        left % NS / 1000,
    ]
}

pub(crate) fn getitimer(context: &mut Context<'_>, [which, to, ..]: Args) -> Result<u64> {
    check_timer(which)?;
    let words = timer_words(context);
    write(context, to, &words).map(|()| 0)
}

pub(crate) fn setitimer(context: &mut Context<'_>, [which, new, old, ..]: Args) -> Result<u64> {
    check_timer(which)?;
    let [interval_s, interval_us, first_s, first_us]: [u64; 4] = arguments::read(context, new)?;
    let ns = |seconds: u64, micro: u64| match micro {
        0..1_000_000 => Ok(seconds.saturating_mul(NS).saturating_add(micro * 1000)),
        _ => Err(Errno::EINVAL),
    };
    let (interval, first) = (ns(interval_s, interval_us)?, ns(first_s, first_us)?);
    let before = timer_words(context);
    write_if(context, old, &before)?;
    let process = context.process();
    process.alarm().set(process, first, interval);
    Ok(0)
}
