//! Who hears of a child's end, and waiting for it (wait4(2), waitid(2)).

use crate::process::Status;
use crate::{Process, Result, registry};
use abi::Errno;
use abi::signal::{SA_NOCLDSTOP, SA_NOCLDWAIT, SIG_IGN, SigInfo, code, number};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Which children are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Any.
    Any,
    /// This one.
    Process(u32),
    /// Those of this group.
    Group(u32),
}

/// What happened to a child.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// Its number.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// What happened.
    pub status: Status,
    /// Time that it and its waited-for children used, in nanoseconds.
    pub run_ns: u64,
}

/// Gives the children of `process`, which ends, to process 1.
pub(crate) fn adopt_children(process: &Arc<Process>) {
    let children = core::mem::take(&mut *process.children.lock());
    if children.is_empty() {
        return;
    }
    let Some(first) = registry::find_process(1) else {
        return;
    };
    for child in children {
        child.set_parent(&first);
        first.children.lock().push(child.clone());
        // Looked at last: a child that ends after this look sees its new parent.
        if child.is_zombie() {
            let status = child.news.lock().unwrap_or(Status::Exited(0));
            tell_end(&first, &child, status);
        }
    }
}

/// Makes `process` a zombie and tells its parent, or removes it where that does
/// not care.
pub(crate) fn bury(process: &Arc<Process>, status: Status) {
    *process.news.lock() = Some(status);
    process.is_zombie.store(true, Ordering::Release);
    let Some(parent) = process.parent() else {
        return;
    };
    tell_end(&parent, process, status);
}

/// Tells `parent` of the end of `process`, or removes that where `parent` does
/// not care.
fn tell_end(parent: &Arc<Process>, process: &Arc<Process>, status: Status) {
    if ignores_children(parent) {
        forget(parent, process);
        parent.child_news.wake_all();
    } else {
        notify(parent, process, status);
    }
}

fn ignores_children(parent: &Process) -> bool {
    let action = parent.actions.lock().get(number::SIGCHLD);
    action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0
}

/// Tells the parent that `process` stopped or goes on.
pub(crate) fn tell_parent(process: &Arc<Process>, status: Status) {
    let Some(parent) = process.parent() else {
        return;
    };
    let action = parent.actions.lock().get(number::SIGCHLD);
    if action.flags & SA_NOCLDSTOP == 0 {
        notify(&parent, process, status);
    } else {
        parent.child_news.wake_all();
    }
}

fn notify(parent: &Arc<Process>, process: &Arc<Process>, status: Status) {
    let (why, value) = match status {
        Status::Exited(value) => (code::CLD_EXITED, i32::from(value)),
        Status::Killed(signal) => (code::CLD_KILLED, signal as i32),
        Status::Stopped(signal) => (code::CLD_STOPPED, signal as i32),
        Status::Continued => (code::CLD_CONTINUED, number::SIGCONT as i32),
    };
    let signal = process.exit_signal.load(Ordering::Relaxed);
    if signal != 0 {
        let info = SigInfo::child(why, process.pid(), process.credentials().uid, value);
        let _ = parent.signal(SigInfo { signal, ..info });
    }
    parent.child_news.wake_all();
}

fn forget(parent: &Process, child: &Arc<Process>) {
    parent
        .children
        .lock()
        .retain(|other| !Arc::ptr_eq(other, child));
    registry::remove_process(child.pid());
}

/// Which changes a wait asks for.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// The end.
    pub ended: bool,
    /// A stop.
    pub stopped: bool,
    /// Going on after a stop.
    pub continued: bool,
    /// The news stay for another wait.
    pub keep: bool,
}

impl Process {
    /// Waits for a child's change, or looks once if `block` is false: `None`
    /// then says that there are such children, but no news.
    pub fn wait_for_child(
        self: &Arc<Self>,
        which: WaitFor,
        changes: Changes,
        block: bool,
    ) -> Result<Option<Child>> {
        let look = || match self.look(which, changes) {
            Ok(None) => None,
            found => Some(found),
        };
        if let Some(found) = look() {
            return found;
        }
        if !block {
            return Ok(None);
        }
        self.child_news.wait(None, look).map_err(Errno::from)?
    }

    fn look(&self, which: WaitFor, changes: Changes) -> Result<Option<Child>> {
        let children = self.children();
        let mut matching = children.iter().filter(|child| match which {
            WaitFor::Any => true,
            WaitFor::Process(pid) => child.pid() == pid,
            WaitFor::Group(group) => child.group() == group,
        });
        let mut exists = false;
        let found = matching.find_map(|child| {
            exists = true;
            Some((child, take_news(child, changes)?))
        });
        match found {
            Some((child, status)) => Ok(Some(self.collect(child, status, changes.keep))),
            None if exists => Ok(None),
            None => Err(Errno::ECHILD),
        }
    }

    fn collect(&self, child: &Arc<Process>, status: Status, keep: bool) -> Child {
        let run_ns = child.usage().run_ns + child.children_usage().run_ns;
        let found = Child {
            pid: child.pid(),
            uid: child.credentials().uid,
            status,
            run_ns,
        };
        if !keep && matches!(status, Status::Exited(_) | Status::Killed(_)) {
            self.children_ns.fetch_add(run_ns, Ordering::Relaxed);
            forget(self, child);
        }
        found
    }
}

/// Takes a child's news if they are wanted; of several threads that wait, one
/// gets them.
fn take_news(child: &Process, changes: Changes) -> Option<Status> {
    let is_zombie = child.is_zombie();
    let mut news = child.news.lock();
    let status = (*news)?;
    let matches = match status {
        Status::Exited(_) | Status::Killed(_) => changes.ended && is_zombie,
        Status::Stopped(_) => changes.stopped,
        Status::Continued => changes.continued,
    };
    if matches && !changes.keep {
        *news = None;
    }
    matches.then_some(status)
}
