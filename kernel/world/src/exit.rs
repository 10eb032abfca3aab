//! The end of threads and processes.

use crate::process::Status;
use crate::{Process, UserThread, futex, reap, registry, run};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use mem::Space;

impl UserThread {
    /// Ends it alone, as exit(2) does. Its process goes with the last thread,
    /// with what that said.
    pub fn exit(&self, code: u8) {
        self.process().last_code.store(code, Ordering::Relaxed);
        self.leave();
    }

    /// Makes the thread leave at its next chance, its process staying.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        self.sched().interrupt();
    }
}

impl Process {
    /// Ends it as exit_group(2) does.
    pub fn exit(self: &Arc<Self>, code: u8) {
        end_process(self, Status::Exited(code));
    }
}

/// Makes `process` end; the first to say how wins.
pub(crate) fn end_process(process: &Arc<Process>, status: Status) {
    {
        let mut ending = process.ending.lock();
        if ending.is_some() {
            return;
        }
        *ending = Some(status);
    }
    process.is_stopped.store(false, Ordering::Release);
    process.resumed.wake_all();
    process.interrupt_all();
}

/// What a thread's end brings with it; on its own stack, its last act.
pub(crate) fn finish_thread(thread: Arc<UserThread>) {
    let process = thread.process().clone();
    if let Some(space) = process.space() {
        let_go(&thread, &space);
    }
    registry::remove_thread(thread.tid());
    process.add_run_ns(thread.sched().run_ns());
    let is_last = {
        let mut threads = process.threads.lock();
        threads.retain(|other| !Arc::ptr_eq(other, &thread));
        threads.is_empty()
    };
    if is_last {
        finish_process(&process);
    } else {
        process.resumed.wake_all();
    }
}

/// Tells those who share its memory that the thread is gone from there.
pub(crate) fn let_go(thread: &UserThread, space: &Arc<Space>) {
    futex::leave_robust(thread, space);
    let address = thread.clear_at_exit.swap(0, Ordering::Relaxed);
    // Held by the process and the caller only: nobody is left to be told, and
    // the write might cost a copy of the page.
    let is_shared = Arc::strong_count(space) > 2 || thread.process().threads.lock().len() > 1;
    if address != 0 && is_shared && space.write(address, &0u32.to_le_bytes()).is_ok() {
        futex::wake_all_at(space, address);
    }
}

fn finish_process(process: &Arc<Process>) {
    // The last thread left by exit(2): the process ends as if by exit_group.
    let code = process.last_code.load(Ordering::Relaxed);
    let status = *process.ending.lock().get_or_insert(Status::Exited(code));
    process.alarm.stop();
    process.drop_files();
    hal::task::set_table(None);
    if let Some(space) = process.space() {
        process.set_space(None);
        if Arc::strong_count(&space) == 1 {
            space.clear();
        }
    }
    tell_vfork(process);
    if process.pid() == 1 {
        run::first_exited(status);
    }
    reap::adopt_children(process);
    reap::bury(process, status);
}

/// Lets a parent in vfork go on.
pub(crate) fn tell_vfork(process: &Process) {
    let done = process.vfork_done.lock().take();
    if let Some(done) = done {
        done.is_done.store(true, Ordering::Release);
        done.queue.wake_all();
    }
}
