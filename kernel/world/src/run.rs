//! The loop of a user thread: ring 3, then whatever the program needs.

use crate::{Context, UserThread, exit, signal};
use abi::Errno;
use abi::signal::{SigInfo, code, number};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::user_context::{UserContext, UserEvent};
use mem::{Access, FaultError};
use sync::Once;

/// The arguments of a system call.
pub type Args = [u64; 6];

type Dispatch = fn(&mut Context<'_>, u64, Args) -> Result<u64, Errno>;

static DISPATCH: Once<Dispatch> = Once::new();
static FIRST_EXIT: Once<fn(crate::Status)> = Once::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Registers the system calls; once, at boot. The function gets the context,
/// the call's number and its arguments.
pub fn set_system_calls(dispatch: Dispatch) {
    let _ = DISPATCH.set(dispatch);
}

/// Registers what happens when process 1 ends; once, at boot.
pub fn set_first_exit_hook(hook: fn(crate::Status)) {
    let _ = FIRST_EXIT.set(hook);
}

pub(crate) fn first_exited(status: crate::Status) {
    match FIRST_EXIT.get() {
        Some(hook) => hook(status),
        None => panic!("process 1 ended: {status:?}"),
    }
}

/// Threads that could not begin because nothing was left to run them on.
pub(crate) fn lost_threads() -> &'static AtomicU64 {
    &CALLS
}

/// What a user thread's kernel side does from its first to its last instruction.
pub(crate) fn main(thread: Arc<UserThread>, mut user: UserContext, bases: (u64, u64)) {
    if let Some(mut context) = Context::new(&thread, &mut user) {
        context.space().activate();
        hal::task::set_user_bases(bases.0, bases.1);
        hal::fpu::activate(Some(thread.fpu.clone()));
        serve(&mut context);
    } else {
        lost_threads().fetch_add(1, Ordering::Relaxed);
    }
    hal::fpu::activate(None);
    exit::finish_thread(thread);
}

fn serve(context: &mut Context<'_>) {
    let dispatch = *DISPATCH
        .get()
        .expect("invariant: registered at boot, before any process");
    let sched = context.thread().sched().clone();
    loop {
        match context.user.run() {
            UserEvent::Syscall => call(context, dispatch),
            UserEvent::Fault {
                vector,
                error,
                addr,
            } => fault(context, vector, error, addr),
            UserEvent::Interrupt => {}
        }
        sched::preempt_point();
        if sched.is_interrupted() {
            signal::attend(context);
            if context.is_ending() {
                return;
            }
        }
    }
}

#[inline]
fn call(context: &mut Context<'_>, dispatch: Dispatch) {
    let regs = context.user.regs();
    let number = regs.rax;
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    context.call = number;
    let result = match dispatch(context, number, args) {
        Ok(value) => value,
        Err(error) => fail(context, error),
    };
    context.user.regs_mut().rax = result;
}

#[cold]
fn fail(context: &mut Context<'_>, error: Errno) -> u64 {
    if error == Errno::ERESTART || error == Errno::ERESTARTNOHAND {
        context.interrupted_call = Some(error);
        return Errno::EINTR.to_rax();
    }
    error.to_rax()
}

/// An exception of the program: a page to be brought in, or a signal.
fn fault(context: &mut Context<'_>, vector: u8, error: u32, addr: u64) {
    if vector == 14 {
        let access = match error {
            error if error & 0x10 != 0 => Access::Exec,
            error if error & 2 != 0 => Access::Write,
            _ => Access::Read,
        };
        match context.space().fault(addr, access) {
            Ok(()) => return,
            Err(reason) => return page_fault_signal(context, error, addr, reason),
        }
    }
    context.last_fault = (vector, error, addr);
    let rip = context.user.regs().rip;
    let info = match vector {
        0 => SigInfo::fault(number::SIGFPE, code::FPE_INTDIV, rip),
        1 => SigInfo::fault(number::SIGTRAP, code::TRAP_TRACE, rip),
        3 => SigInfo::fault(number::SIGTRAP, code::SI_KERNEL, rip),
        6 => SigInfo::fault(number::SIGILL, code::ILL_ILLOPN, rip),
        16 | 19 => SigInfo::fault(number::SIGFPE, code::FPE_FLTINV, rip),
        17 => SigInfo::fault(number::SIGBUS, 1, 0),
        _ => SigInfo::fault(number::SIGSEGV, code::SI_KERNEL, 0),
    };
    signal::force(context.thread(), info);
}

fn page_fault_signal(context: &mut Context<'_>, error: u32, addr: u64, reason: FaultError) {
    context.last_fault = (14, error, addr);
    let info = match reason {
        FaultError::NoArea => SigInfo::fault(number::SIGSEGV, code::SEGV_MAPERR, addr),
        FaultError::Denied => SigInfo::fault(number::SIGSEGV, code::SEGV_ACCERR, addr),
        FaultError::BusError => SigInfo::fault(number::SIGBUS, code::BUS_ADRERR, addr),
        FaultError::OutOfMemory => {
            let process = context.process();
            log::warn!(
                "process {} ({}) is killed: out of memory",
                process.pid(),
                process.program().name
            );
            return exit::end_process(process, crate::Status::Killed(number::SIGKILL));
        }
    };
    log::debug!(
        "process {} ({}): {reason:?} at {addr:#x}, rip {:#x}",
        context.process().pid(),
        context.process().program().name,
        context.user.regs().rip
    );
    signal::force(context.thread(), info);
}
