//! Process groups and sessions, for shells and terminals (setsid(2), setpgid(2)).

use crate::{Process, Result, registry};
use abi::Errno;
use abi::signal::SigInfo;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use sync::SpinLock;
use vfs::File;

/// Processes that share a terminal.
pub struct Session {
    id: u32,
    terminal: SpinLock<Option<Arc<dyn File>>>,
}

impl Session {
    pub(crate) fn new(id: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            terminal: SpinLock::new(None),
        })
    }

    /// The number of the process that leads it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its controlling terminal.
    pub fn terminal(&self) -> Option<Arc<dyn File>> {
        self.terminal.lock().clone()
    }

    /// Gives it a controlling terminal, or takes it.
    pub fn set_terminal(&self, terminal: Option<Arc<dyn File>>) {
        let old = core::mem::replace(&mut *self.terminal.lock(), terminal);
        drop(old);
    }
}

/// The processes of group `group`.
pub fn members(group: u32) -> Vec<Arc<Process>> {
    let mut members = Vec::new();
    registry::for_each_process(|process| {
        if process.group() == group && !process.is_zombie() {
            members.push(process.clone());
        }
    });
    members
}

/// Sends a signal to all of group `group`.
pub fn signal_group(group: u32, info: SigInfo) -> Result<()> {
    let members = members(group);
    if members.is_empty() {
        return Err(Errno::ESRCH);
    }
    members.iter().try_for_each(|process| process.signal(info))
}

/// Whether nobody is there who could continue group `group`, were it stopped:
/// every member's parent is in it or in another session (POSIX 3.264).
pub fn is_orphaned(group: u32) -> bool {
    members(group).iter().all(|member| match member.parent() {
        Some(parent) => parent.group() == group || parent.session().id() != member.session().id(),
        None => true,
    })
}

/// Makes `process` the leader of a new session (setsid(2)).
pub fn start_session(process: &Arc<Process>) -> Result<u32> {
    let pid = process.pid();
    // Its own group, or one that outlived an earlier process of this number.
    if !members(pid).is_empty() {
        return Err(Errno::EPERM);
    }
    let old = core::mem::replace(&mut *process.session.lock(), Session::new(pid));
    drop(old);
    process.group.store(pid, Ordering::Relaxed);
    Ok(pid)
}

/// Moves `process` to group `group` (setpgid(2)).
pub fn set_group(caller: &Arc<Process>, process: &Arc<Process>, group: u32) -> Result<()> {
    let is_child = process.parent_pid() == caller.pid();
    if !is_child && process.pid() != caller.pid() {
        return Err(Errno::ESRCH);
    }
    let session = process.session();
    if session.id() != caller.session().id() || session.id() == process.pid() {
        return Err(Errno::EPERM);
    }
    let exists = group == process.pid()
        || members(group)
            .iter()
            .any(|member| member.session().id() == session.id());
    if !exists {
        return Err(Errno::EPERM);
    }
    process.group.store(group, Ordering::Relaxed);
    Ok(())
}
