//! Sending: a signal to a thread, or to whichever thread of a process takes it.

use super::actions::{Default, default_of};
use crate::process::Status;
use crate::{Process, Result, UserThread};
use abi::Errno;
use abi::signal::{SigInfo, SignalSet, number};
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};

const STOPS: SignalSet = SignalSet(
    1 << (number::SIGSTOP - 1)
        | 1 << (number::SIGTSTP - 1)
        | 1 << (number::SIGTTIN - 1)
        | 1 << (number::SIGTTOU - 1),
);

/// Sends `info` to `thread` alone.
pub(crate) fn send_to_thread(thread: &Arc<UserThread>, info: SigInfo) {
    let process = thread.process();
    if prepare(process, info.signal) {
        return;
    }
    let blocked = thread.blocked().contains(info.signal);
    if !blocked && process.actions.lock().ignores(info.signal) {
        return;
    }
    thread.pending.lock().add(info);
    fence(Ordering::SeqCst);
    if thread.wants(info.signal) {
        thread.sched().interrupt();
    }
}

/// Sends `info` to `process`; the first thread that does not block it takes it.
pub(crate) fn send_to_process(process: &Arc<Process>, info: SigInfo) -> Result<()> {
    if process.is_zombie() {
        return Ok(());
    }
    if prepare(process, info.signal) {
        return Ok(());
    }
    let threads = process.threads();
    let is_blocked = threads
        .iter()
        .all(|thread| thread.blocked().contains(info.signal));
    // Process 1 is asked, not made: what it has no handler for does nothing.
    let handler = process.actions.lock().get(info.signal).handler;
    let spared = process.pid() == 1 && handler == 0;
    // What is blocked is kept all the same: it may be waited for.
    if !is_blocked && (spared || process.actions.lock().ignores(info.signal)) {
        return Ok(());
    }
    if !process.pending.lock().add(info) {
        return Err(Errno::EAGAIN);
    }
    // Either this look sees a thread that has just begun to wait for the signal,
    // or that thread's own look sees the signal.
    fence(Ordering::SeqCst);
    if let Some(thread) = threads.iter().find(|thread| thread.wants(info.signal)) {
        thread.sched().interrupt();
    }
    Ok(())
}

/// What some signals do when they are sent already. True where that was all.
fn prepare(process: &Arc<Process>, signal: u32) -> bool {
    if signal == number::SIGCONT {
        forget(process, STOPS);
        resume(process, true);
    } else if STOPS.contains(signal) {
        forget(process, SignalSet::of(number::SIGCONT));
    } else if signal == number::SIGKILL && process.pid() != 1 {
        crate::exit::end_process(process, Status::Killed(number::SIGKILL));
        resume(process, false);
        return true;
    }
    false
}

fn forget(process: &Process, set: SignalSet) {
    process.pending.lock().remove(set);
    for thread in process.threads() {
        thread.pending.lock().remove(set);
    }
}

/// Lets a stopped process go on.
fn resume(process: &Arc<Process>, tell_parent: bool) {
    {
        let mut news = process.news.lock();
        process.resumptions.fetch_add(1, Ordering::Relaxed);
        if !process.is_stopped.swap(false, Ordering::AcqRel) {
            return;
        }
        if tell_parent {
            *news = Some(Status::Continued);
        }
    }
    process.resumed.wake_all();
    if tell_parent {
        crate::reap::tell_parent(process, Status::Continued);
    }
}

/// Whether the default action of `signal` stops a process.
pub(super) fn is_stop(signal: u32) -> bool {
    default_of(signal) == Default::Stop
}
