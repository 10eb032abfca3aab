//! [`JobControl`]: what a terminal needs of processes (credentials(7), setsid(2),
//! tcsetpgrp(3)). The process layer implements it.

use vfs::ProcessIds;

/// Processes, groups and sessions, as a terminal sees them.
pub trait JobControl: Send + Sync {
    /// The process that runs, if one does.
    fn current(&self) -> Option<ProcessIds>;
    /// Sends a signal to every process of a group.
    fn signal_group(&self, group: u32, signal: u32);
    /// The session that a group is in, if there is such a group.
    fn session_of_group(&self, group: u32) -> Option<u32>;
    /// Does the running thread neither block nor ignore `signal`?
    fn takes_signal(&self, signal: u32) -> bool;
    /// Is nobody there who could continue the group, were it stopped?
    fn is_orphaned(&self, group: u32) -> bool;
}
