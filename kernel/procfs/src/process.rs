//! What /proc asks of processes: [`Processes`] and [`Process`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use vfs::{FdTable, Location};

/// What a thread is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Runs or could.
    #[default]
    Running,
    /// Waits, and a signal ends it.
    Sleeping,
    /// Waits, come what may.
    Blocked,
    /// Stopped by a signal.
    Stopped,
    /// Has ended and was not waited for.
    Zombie,
}

impl State {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::Blocked => 'D',
            Self::Stopped => 'T',
            Self::Zombie => 'Z',
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Blocked => "disk sleep",
            Self::Stopped => "stopped",
            Self::Zombie => "zombie",
        }
    }
}

/// Numbers of a process or thread.
#[derive(Clone, Debug, Default)]
pub struct ProcessStatus {
    /// Short name, at most 15 bytes.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Process (thread group).
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Controlling terminal's device number; 0 for none.
    pub terminal: u64,
    /// The terminal's foreground group; -1 for none.
    pub foreground: i32,
    /// Real, effective, saved and file-system user.
    pub uids: [u32; 4],
    /// The same of the group.
    pub gids: [u32; 4],
    /// Further groups.
    pub groups: Vec<u32>,
    /// Threads.
    pub threads: u32,
    /// Page faults.
    pub faults: u64,
    /// Time in the program, in ns.
    pub user_ns: u64,
    /// Time in the kernel, in ns.
    pub system_ns: u64,
    /// Start, in ns since boot.
    pub start_ns: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Largest address space so far, in bytes.
    pub virtual_peak_bytes: u64,
    /// Pages held.
    pub resident_pages: u64,
    /// Most pages held so far.
    pub resident_peak_pages: u64,
    /// Of these, pages of files and shared memory.
    pub shared_pages: u64,
    /// Bytes of program text.
    pub text_bytes: u64,
    /// Bytes of data and stack.
    pub data_bytes: u64,
    /// Bytes of stack.
    pub stack_bytes: u64,
    /// Addresses of text, stack start, data, break start, arguments, environment.
    pub text: Range<u64>,
    /// Start of the stack.
    pub stack_start: u64,
    /// Signals that wait, bit n-1 for signal n.
    pub pending: u64,
    /// Signals blocked.
    pub blocked: u64,
    /// Signals ignored.
    pub ignored: u64,
    /// Signals with a handler.
    pub caught: u64,
    /// CPUs that it may run on.
    pub cpus: Vec<usize>,
    /// CPU that it ran on last.
    pub cpu: u32,
    /// Switches by its own doing, and by others'.
    pub switches: [u64; 2],
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// 0, or 2 with a filter.
    pub seccomp: u32,
}

/// One mapping.
#[derive(Clone)]
pub struct MapEntry {
    /// Addresses.
    pub range: Range<u64>,
    /// Readable, writable, executable.
    pub access: [bool; 3],
    /// Shared, not private.
    pub shared: bool,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The file.
    pub file: Option<Location>,
    /// What else to call it, such as `[stack]`.
    pub label: &'static str,
}

/// One line of /proc/PID/limits; `u64::MAX` is "unlimited".
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A process. Everything may have ended meanwhile, hence the options.
pub trait Process: Send + Sync {
    /// Numbers of the process, or of one of its threads.
    fn status(&self, thread: Option<u32>) -> Option<ProcessStatus>;
    /// Effective user and group alone, of the process or a thread; `None` where
    /// it is gone. Every path through its directory asks for them.
    fn owner(&self, thread: Option<u32>) -> Option<(u32, u32)> {
        let status = self.status(thread)?;
        Some((status.uids[1], status.gids[1]))
    }
    /// Its threads.
    fn threads(&self) -> Vec<u32>;
    /// The program's file.
    fn executable(&self) -> Option<Location>;
    /// Its working directory.
    fn cwd(&self) -> Option<Location>;
    /// Its root.
    fn root(&self) -> Option<Location>;
    /// Its descriptors.
    fn descriptors(&self) -> Option<Arc<FdTable>>;
    /// Its mappings, by address.
    fn maps(&self) -> Vec<MapEntry>;
    /// Its arguments, each ended by a zero.
    fn command_line(&self) -> Vec<u8>;
    /// Its environment as it started, each string ended by a zero.
    fn environment(&self) -> Vec<u8>;
    /// Its auxiliary vector, as bytes.
    fn auxiliary_vector(&self) -> Vec<u8>;
    /// Its limits, in the order of RLIMIT_*.
    fn limits(&self) -> [Limit; 16];
    /// Gives a thread another short name.
    ///
    /// # Errors
    /// `EPERM`, `ESRCH`.
    fn set_name(&self, thread: Option<u32>, name: &[u8]) -> vfs::Result<()>;
}

/// All processes.
pub trait Processes: Send + Sync {
    /// Their ids, in order.
    fn list(&self) -> Vec<u32>;
    /// One of them.
    fn get(&self, pid: u32) -> Option<Arc<dyn Process>>;
    /// Process and thread that run now.
    fn current(&self) -> Option<(u32, u32)>;
}
