//! clone(2) in all its forms: fork, vfork, and threads.

use crate::process::{Inherited, Process, VforkDone};
use crate::{Context, Result, UserThread, registry, run};
use abi::Errno;
use abi::process::clone_flags::*;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use hal::mem::Account;
use hal::user_context::UserContext;
use vfs::UserMemory;

/// What clone(2) or clone3(2) asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneRequest {
    /// `CLONE_*`, without the signal.
    pub flags: u64,
    /// What the parent gets at the child's end; 0 for nothing.
    pub exit_signal: u32,
    /// The child's stack pointer; 0: the parent's.
    pub stack: u64,
    /// Where the child's number is stored in the parent's memory.
    pub parent_tid: u64,
    /// Where it is stored, or cleared at its end, in the child's memory.
    pub child_tid: u64,
    /// The child's FS base.
    pub tls: u64,
}

/// What is understood. The others ask for what there is not (namespaces) or are
/// of no effect (CLONE_SYSVSEM without semaphores, CLONE_DETACHED, CLONE_UNTRACED).
pub const CLONE_FLAGS: u64 = CLONE_VM
    | CLONE_FS
    | CLONE_FILES
    | CLONE_SIGHAND
    | CLONE_VFORK
    | CLONE_PARENT
    | CLONE_THREAD
    | CLONE_SYSVSEM
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_DETACHED
    | CLONE_UNTRACED
    | CLONE_CHILD_SETTID
    | CLONE_CLEAR_SIGHAND;

impl CloneRequest {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn check(&self) -> Result<()> {
        let is_thread = self.has(CLONE_THREAD);
        let wrong = self.flags & !CLONE_FLAGS != 0
            || self.has(CLONE_SIGHAND) && !self.has(CLONE_VM)
            || is_thread && !self.has(CLONE_SIGHAND)
            || is_thread && !(self.has(CLONE_FS) && self.has(CLONE_FILES))
            || self.has(CLONE_SIGHAND) && self.has(CLONE_CLEAR_SIGHAND)
            || self.exit_signal > 64;
        if wrong { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

impl Context<'_> {
    /// Makes a child as `request` says; returns its number.
    pub fn clone_child(&mut self, request: CloneRequest) -> Result<u64> {
        request.check()?;
        let tid = registry::take_number();
        let process = if request.has(CLONE_THREAD) {
            self.process().clone()
        } else {
            self.new_process(tid, &request)?
        };
        match self.new_thread(tid, &process, &request) {
            Ok(()) => {}
            Err(error) => {
                if !request.has(CLONE_THREAD) {
                    disown(&process);
                }
                return Err(error);
            }
        }
        if request.has(CLONE_VFORK) {
            self.wait_for_vfork(&process);
        }
        Ok(u64::from(tid))
    }

    fn new_process(&self, pid: u32, request: &CloneRequest) -> Result<Arc<Process>> {
        let parent = self.process();
        let account = Account::new(parent.account().limit())?;
        let space = if request.has(CLONE_VM) {
            self.space().clone()
        } else {
            self.space().fork(&account)?
        };
        let actions = parent.actions.lock().clone();
        let actions = match request {
            request if request.has(CLONE_SIGHAND) => actions,
            request if request.has(CLONE_CLEAR_SIGHAND) => actions.for_exec(),
            _ => actions.duplicate(),
        };
        let sibling = request.has(CLONE_PARENT).then(|| parent.parent()).flatten();
        let real_parent = sibling.as_ref().unwrap_or(parent);
        let child = Process::new(
            pid,
            Inherited {
                parent: Arc::downgrade(real_parent),
                parent_pid: real_parent.pid(),
                space,
                files: if request.has(CLONE_FILES) {
                    self.files().clone()
                } else {
                    self.files().fork()
                },
                fs: if request.has(CLONE_FS) {
                    self.fs_context().clone()
                } else {
                    self.fs_context().fork()
                },
                program: parent.program(),
                credentials: parent.credentials(),
                group: Some(parent.group()),
                session: Some(parent.session()),
                limits: parent.limits(),
                actions,
                account,
                exit_signal: request.exit_signal,
                has_no_new_privs: parent.has_no_new_privs(),
            },
        );
        real_parent.children.lock().push(child.clone());
        if request.has(CLONE_VFORK) {
            *child.vfork_done.lock() = Some(Arc::default());
        }
        Ok(child)
    }

    fn new_thread(&self, tid: u32, process: &Arc<Process>, request: &CloneRequest) -> Result<()> {
        let fpu = self.thread().fpu.duplicate()?;
        let thread = UserThread::new(tid, process.clone(), self.thread().blocked(), fpu);
        if !request.has(CLONE_VM) || request.has(CLONE_VFORK) {
            thread.set_alt_stack(self.thread().alt_stack());
        }
        let number = tid.to_le_bytes();
        if request.has(CLONE_PARENT_SETTID) {
            // As on Linux, a word that cannot be written is nobody's affair.
            let _ = self.write_user(request.parent_tid, &number);
        }
        if request.has(CLONE_CHILD_SETTID) {
            let space = process.space().ok_or(Errno::ESRCH)?;
            let _ = space.write(request.child_tid, &number);
        }
        if request.has(CLONE_CHILD_CLEARTID) {
            thread.set_clear_at_exit(request.child_tid);
        }
        let mut user = self.user.clone();
        let regs = user.regs_mut();
        regs.rax = 0;
        if request.stack != 0 {
            regs.rsp = request.stack;
        }
        let (fs_base, gs_base) = hal::task::user_bases();
        let fs_base = if request.has(CLONE_SETTLS) {
            request.tls
        } else {
            fs_base
        };
        launch(&thread, user, (fs_base, gs_base))
    }

    /// Waits until the child runs another program or has ended. Only a fatal
    /// signal ends the wait before.
    fn wait_for_vfork(&self, child: &Arc<Process>) {
        let done: Option<Arc<VforkDone>> = child.vfork_done.lock().clone();
        if let Some(done) = done {
            done.queue.wait_uninterrupted(|| {
                (done.is_done.load(Ordering::Acquire) || self.is_ending()).then_some(())
            });
        }
    }
}

/// Takes back a process that never had a thread.
fn disown(process: &Arc<Process>) {
    if let Some(parent) = process.parent() {
        parent
            .children
            .lock()
            .retain(|other| !Arc::ptr_eq(other, process));
    }
    process.drop_files();
    process.set_space(None);
    registry::remove_process(process.pid());
}

/// Makes the thread run.
pub(crate) fn launch(thread: &Arc<UserThread>, user: UserContext, bases: (u64, u64)) -> Result<()> {
    let process = thread.process();
    let name = process.program().name;
    let main = {
        let thread = thread.clone();
        move || run::main(thread, user, bases)
    };
    let sched = sched::Builder::new(name).build(main)?;
    thread.set_sched(sched.clone());
    registry::add_thread(thread);
    process.threads.lock().push(thread.clone());
    // What was sent before it was in the list has not woken it.
    if process.ending.lock().is_some() || process.is_stopped() || thread.has_takable() {
        sched.interrupt();
    }
    sched.start();
    Ok(())
}
