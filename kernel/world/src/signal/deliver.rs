//! Acting on signals, when a thread is about to return to its program.

use super::actions::{Default, default_of};
use super::{frame, send, take};
use crate::process::Status;
use crate::{Context, exit, reap};
use abi::Errno;
use abi::signal::{
    SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN, SigAction, SigInfo, SignalSet, number,
};
use core::sync::atomic::Ordering;

/// Handles what waits for the thread. The interrupted call, if there was one, is
/// repeated or fails.
pub(crate) fn attend(context: &mut Context<'_>) {
    context.thread().sched().clear_interrupt();
    loop {
        stay_stopped(context);
        if context.is_ending() {
            return;
        }
        let blocked = context.thread().blocked();
        let resumptions = context.process().resumptions.load(Ordering::Acquire);
        let Some(info) = take(context.thread(), SignalSet(!blocked.0)) else {
            break;
        };
        let actions = context.process().actions.lock().clone();
        let action = actions.get(info.signal);
        match action.handler {
            SIG_IGN => {}
            SIG_DFL => act_by_default(context, info, resumptions),
            _ => {
                if action.flags & SA_RESETHAND != 0 {
                    actions.reset(info.signal);
                }
                run_handler(context, info, action);
            }
        }
    }
    // No handler: the call is as if nothing had happened.
    if context.interrupted_call.take().is_some() {
        context.repeat_call();
    }
    if let Some(mask) = context.restore_mask.take() {
        context.thread().set_blocked(mask);
    }
}

/// `resumptions` is how often the process was resumed when `info` was taken: a
/// stop that was overtaken by SIGCONT is void.
fn act_by_default(context: &mut Context<'_>, info: SigInfo, resumptions: u32) {
    let process = context.process().clone();
    match default_of(info.signal) {
        Default::Ignore | Default::Continue => {}
        Default::End if process.pid() == 1 && info.code <= 0 => {}
        Default::Stop if process.pid() == 1 => {}
        Default::End => exit::end_process(&process, Status::Killed(info.signal)),
        Default::Stop => {
            // An orphaned group has nobody to wake it (POSIX 2.4.3).
            if info.signal != number::SIGSTOP && crate::job::is_orphaned(process.group()) {
                return;
            }
            debug_assert!(send::is_stop(info.signal));
            {
                let mut news = process.news.lock();
                if process.resumptions.load(Ordering::Relaxed) != resumptions {
                    return;
                }
                process.is_stopped.store(true, Ordering::Release);
                *news = Some(Status::Stopped(info.signal));
            }
            reap::tell_parent(&process, Status::Stopped(info.signal));
            process.interrupt_all();
        }
    }
}

/// Waits while the process is stopped.
fn stay_stopped(context: &Context<'_>) {
    let process = context.process();
    while process.is_stopped() && !context.is_ending() {
        // Signals do not end this wait, but for SIGKILL and SIGCONT, which make
        // the condition false.
        process
            .resumed
            .wait_uninterrupted(|| (!process.is_stopped() || context.is_ending()).then_some(()));
    }
}

fn run_handler(context: &mut Context<'_>, info: SigInfo, action: SigAction) {
    context.resume_deadline = None;
    settle_call(context, action.flags & SA_RESTART != 0);
    let thread = context.thread().clone();
    let mask = context
        .restore_mask
        .take()
        .unwrap_or_else(|| thread.blocked());
    if frame::push(context, &info, &action, mask).is_err() {
        // No stack to run a handler on: nothing can be saved.
        return exit::end_process(context.process(), Status::Killed(number::SIGSEGV));
    }
    let mut blocked = thread.blocked().union(action.mask);
    if action.flags & SA_NODEFER == 0 {
        blocked = blocked.union(SignalSet::of(info.signal));
    }
    thread.set_blocked(blocked);
}

/// Decides what becomes of the call that the signal interrupted.
fn settle_call(context: &mut Context<'_>, restart: bool) {
    match context.interrupted_call.take() {
        Some(Errno::ERESTART) if restart => context.repeat_call(),
        Some(_) => context.user.regs_mut().rax = Errno::EINTR.to_rax(),
        None => {}
    }
}
