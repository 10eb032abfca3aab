//! Signals: who sends them, who takes them, and what they do.
//!
//! `pending` keeps what was sent, `actions` what a program wants done, `send`
//! finds a thread to take it, `deliver` acts when that thread is about to return
//! to its program, `frame` lays out what its handler sees.

mod actions;
mod alarm;
mod deliver;
mod frame;
mod pending;
mod send;

pub use actions::{Actions, Default as DefaultAction, default_of};
pub use alarm::Alarm;
pub(crate) use deliver::attend;
pub use frame::return_from_handler;
pub use pending::Pending;
pub(crate) use send::{send_to_process, send_to_thread};

use crate::{Context, Result, UserThread};
use abi::Errno;
use abi::signal::{SigInfo, SignalSet};
use alloc::sync::Arc;

/// Takes a waiting signal out of `set`, of the thread's own or its process's.
pub fn take(thread: &UserThread, set: SignalSet) -> Option<SigInfo> {
    let own = thread.pending.lock().take(set);
    own.or_else(|| thread.process().pending.lock().take(set))
}

/// Waits with `mask` blocked until a signal is to be handled (rt_sigsuspend(2)).
pub fn suspend(context: &mut Context<'_>, mask: SignalSet) -> Result<u64> {
    context.block_until_handled(mask);
    while !wait::interrupted() {
        wait::scheduler().park(None);
    }
    Err(Errno::ERESTARTNOHAND)
}

/// Waits for a signal of `set` to be sent, and takes it (rt_sigtimedwait(2)).
/// Such signals are blocked as a rule, and reach the thread all the same.
///
/// # Errors
/// `EAGAIN` at the deadline, `EINTR` where another signal comes first.
pub fn wait_for(thread: &UserThread, set: SignalSet, deadline: wait::Deadline) -> Result<SigInfo> {
    thread.set_waited_for(set);
    let result = loop {
        if let Some(taken) = take(thread, set) {
            break Ok(taken);
        }
        if deadline.is_some_and(|deadline| wait::now_ns() >= deadline) {
            break Err(Errno::EAGAIN);
        }
        if thread.has_takable() || wait::interrupted() {
            // A signal may have come between the two looks.
            break take(thread, set).ok_or(Errno::EINTR);
        }
        wait::scheduler().park(deadline);
    };
    thread.set_waited_for(SignalSet::default());
    result
}

/// Sends a thread a fault of its own: blocked or ignored, it ends the process.
pub(crate) fn force(thread: &Arc<UserThread>, info: SigInfo) {
    let process = thread.process();
    let actions = process.actions.lock().clone();
    let blocked = thread.blocked();
    if blocked.contains(info.signal) || actions.get(info.signal).handler == abi::signal::SIG_IGN {
        actions.reset(info.signal);
        thread.set_blocked(blocked.without(SignalSet::of(info.signal)));
    }
    send_to_thread(thread, info);
}
