//! [`Process`]: what the threads of a program share.

use crate::job::Session;
use crate::signal::{Actions, Pending};
use crate::{Result, UserThread, registry};
use abi::process::limit;
use abi::signal::{SigAction, SigInfo, SignalSet};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use hal::mem::Account;
use mem::Space;
use sync::SpinLock;
use vfs::{Credentials, FdTable, FsContext, Location};
use wait::WaitQueue;

/// A soft and a hard limit (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// Up to where the soft limit may be raised.
    pub hard: u64,
}

/// How a process ended, or why it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It called exit with this code.
    Exited(u8),
    /// A signal ended it.
    Killed(u32),
    /// A signal stopped it.
    Stopped(u32),
    /// It goes on.
    Continued,
}

impl Status {
    /// As wait4(2) stores it.
    pub fn to_wait(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code) << 8,
            Self::Killed(signal) => signal as i32,
            Self::Stopped(signal) => (signal as i32) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }
}

/// Time used, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// In its programs and in the kernel for them.
    pub run_ns: u64,
}

/// What changes at exec.
#[derive(Clone, Default)]
pub struct Program {
    /// The file it runs.
    pub file: Option<Location>,
    /// The name that `ps` shows, at most 15 bytes.
    pub name: String,
    /// Where its arguments lie: start and end.
    pub arguments: (u64, u64),
    /// Where its environment lies: start and end.
    pub environment: (u64, u64),
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
}

/// A program with its threads.
pub struct Process {
    pid: u32,
    pub(crate) parent: SpinLock<Weak<Process>>,
    parent_pid: AtomicU32,
    pub(crate) children: SpinLock<Vec<Arc<Process>>>,
    pub(crate) threads: SpinLock<Vec<Arc<UserThread>>>,
    space: SpinLock<Option<Arc<Space>>>,
    files: SpinLock<Option<Arc<FdTable>>>,
    fs: SpinLock<Option<Arc<FsContext>>>,
    pub(crate) program: SpinLock<Program>,
    credentials: SpinLock<Arc<Credentials>>,
    pub(crate) group: AtomicU32,
    pub(crate) session: SpinLock<Arc<Session>>,
    limits: SpinLock<[Limit; limit::COUNT]>,
    pub(crate) actions: SpinLock<Arc<Actions>>,
    pub(crate) pending: SpinLock<Pending>,
    /// Set once: how it will end. Threads that see it leave.
    pub(crate) ending: SpinLock<Option<Status>>,
    /// Ended, and all of it given back but its number.
    pub(crate) is_zombie: AtomicBool,
    /// Runs another program soon: its other threads are leaving.
    pub(crate) is_executing: AtomicBool,
    /// What the last thread that left alone said.
    pub(crate) last_code: AtomicU8,
    /// How often it was told to go on; with `news` locked.
    pub(crate) resumptions: AtomicU32,
    /// Stopped by a signal.
    pub(crate) is_stopped: AtomicBool,
    /// A change that the parent has not waited for.
    pub(crate) news: SpinLock<Option<Status>>,
    /// Threads that wait for the process to go on.
    pub(crate) resumed: WaitQueue,
    /// Threads that wait for a child.
    pub(crate) child_news: WaitQueue,
    /// Told when this process ran another program or ended (vfork).
    pub(crate) vfork_done: SpinLock<Option<Arc<VforkDone>>>,
    /// The signal that the parent gets at the end.
    pub(crate) exit_signal: AtomicU32,
    account: Account,
    started_ns: u64,
    run_ns: AtomicU64,
    pub(crate) children_ns: AtomicU64,
    pub(crate) has_no_new_privs: AtomicBool,
    pub(crate) alarm: crate::signal::Alarm,
    nice: AtomicI32,
}

/// A thread's weight at nice value `nice`.
fn weight_of(nice: i32) -> u32 {
    let mut weight = 1024u64 << 10;
    for _ in 0..nice.unsigned_abs() {
        weight = if nice > 0 {
            weight * 4 / 5
        } else {
            weight * 5 / 4
        };
    }
    (weight >> 10).max(1) as u32
}

/// What a parent in vfork waits for.
#[derive(Default)]
pub struct VforkDone {
    pub(crate) is_done: AtomicBool,
    pub(crate) queue: WaitQueue,
}

/// What a new process begins with.
pub(crate) struct Inherited {
    pub parent: Weak<Process>,
    pub parent_pid: u32,
    pub space: Arc<Space>,
    pub files: Arc<FdTable>,
    pub fs: Arc<FsContext>,
    pub program: Program,
    pub credentials: Arc<Credentials>,
    pub group: Option<u32>,
    pub session: Option<Arc<Session>>,
    pub limits: [Limit; limit::COUNT],
    pub actions: Arc<Actions>,
    pub account: Account,
    pub exit_signal: u32,
    pub has_no_new_privs: bool,
}

/// The limits of process 1.
pub(crate) fn default_limits() -> [Limit; limit::COUNT] {
    let mut limits = [Limit {
        soft: limit::INFINITY,
        hard: limit::INFINITY,
    }; limit::COUNT];
    limits[limit::STACK].soft = 8 << 20;
    limits[limit::CORE].soft = 0;
    limits[limit::NOFILE] = Limit {
        soft: 1024,
        hard: 1 << 20,
    };
    limits[limit::MEMLOCK] = Limit {
        soft: 8 << 20,
        hard: 8 << 20,
    };
    limits[limit::MSGQUEUE] = Limit {
        soft: 819_200,
        hard: 819_200,
    };
    limits[limit::NICE] = Limit { soft: 0, hard: 0 };
    limits[limit::RTPRIO] = Limit { soft: 0, hard: 0 };
    limits
}

impl Process {
    pub(crate) fn new(pid: u32, from: Inherited) -> Arc<Self> {
        let session = from.session.unwrap_or_else(|| Session::new(pid));
        let process = Arc::new(Self {
            pid,
            parent: SpinLock::new(from.parent),
            parent_pid: AtomicU32::new(from.parent_pid),
            children: SpinLock::new(Vec::new()),
            threads: SpinLock::new(Vec::new()),
            space: SpinLock::new(Some(from.space)),
            files: SpinLock::new(Some(from.files)),
            fs: SpinLock::new(Some(from.fs)),
            program: SpinLock::new(from.program),
            credentials: SpinLock::new(from.credentials),
            group: AtomicU32::new(from.group.unwrap_or(pid)),
            session: SpinLock::new(session),
            limits: SpinLock::new(from.limits),
            actions: SpinLock::new(from.actions),
            pending: SpinLock::new(Pending::default()),
            ending: SpinLock::new(None),
            is_zombie: AtomicBool::new(false),
            is_executing: AtomicBool::new(false),
            last_code: AtomicU8::new(0),
            resumptions: AtomicU32::new(0),
            is_stopped: AtomicBool::new(false),
            news: SpinLock::new(None),
            resumed: WaitQueue::new(),
            child_news: WaitQueue::new(),
            vfork_done: SpinLock::new(None),
            exit_signal: AtomicU32::new(from.exit_signal),
            account: from.account,
            started_ns: hal::time::now_ns(),
            run_ns: AtomicU64::new(0),
            children_ns: AtomicU64::new(0),
            has_no_new_privs: AtomicBool::new(from.has_no_new_privs),
            alarm: crate::signal::Alarm::default(),
            nice: AtomicI32::new(0),
        });
        registry::add_process(&process);
        process
    }

    /// Its number.
    #[inline]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its parent's number; 0 for process 1.
    #[inline]
    pub fn parent_pid(&self) -> u32 {
        self.parent_pid.load(Ordering::Relaxed)
    }

    /// Its parent.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.parent.lock().upgrade()
    }

    pub(crate) fn set_parent(&self, parent: &Arc<Process>) {
        *self.parent.lock() = Arc::downgrade(parent);
        self.parent_pid.store(parent.pid, Ordering::Relaxed);
    }

    /// Its process group's number.
    pub fn group(&self) -> u32 {
        self.group.load(Ordering::Relaxed)
    }

    /// Its session.
    pub fn session(&self) -> Arc<Session> {
        self.session.lock().clone()
    }

    /// Its address space, until it has ended.
    pub fn space(&self) -> Option<Arc<Space>> {
        self.space.lock().clone()
    }

    pub(crate) fn set_space(&self, space: Option<Arc<Space>>) {
        let old = core::mem::replace(&mut *self.space.lock(), space);
        drop(old);
    }

    /// Its descriptors, until it has ended.
    pub fn files(&self) -> Option<Arc<FdTable>> {
        self.files.lock().clone()
    }

    /// Its place in the tree of files, until it has ended.
    pub fn fs(&self) -> Option<Arc<FsContext>> {
        self.fs.lock().clone()
    }

    pub(crate) fn set_files(&self, files: Arc<FdTable>) {
        let old = self.files.lock().replace(files);
        drop(old);
    }

    pub(crate) fn set_fs(&self, fs: Arc<FsContext>) {
        let old = self.fs.lock().replace(fs);
        drop(old);
    }

    /// Whether nobody but it and the calling thread has its descriptors.
    pub(crate) fn has_own_files(&self) -> bool {
        let files = self.files.lock();
        files
            .as_ref()
            .is_some_and(|files| Arc::strong_count(files) <= 2)
    }

    /// Lets go of descriptors and places.
    pub(crate) fn drop_files(&self) {
        let files = self.files.lock().take();
        drop(files);
        let fs = self.fs.lock().take();
        drop(fs);
    }

    /// What it runs.
    pub fn program(&self) -> Program {
        self.program.lock().clone()
    }

    /// Changes the name that `ps` shows.
    pub fn set_name(&self, name: String) {
        let old = core::mem::replace(&mut self.program.lock().name, name);
        drop(old);
    }

    /// In whose name it runs.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }

    /// Changes in whose name it runs.
    pub fn set_credentials(&self, credentials: Credentials) {
        let old = core::mem::replace(&mut *self.credentials.lock(), Arc::new(credentials));
        drop(old);
    }

    /// Who pays for its memory.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// One of its limits.
    pub fn limit(&self, which: usize) -> Limit {
        self.limits.lock()[which]
    }

    /// Sets one of its limits, with what follows from it.
    pub fn set_limit(&self, which: usize, value: Limit) {
        self.limits.lock()[which] = value;
        let space = self.space();
        match (which, space) {
            (limit::AS, Some(space)) => space.set_address_space_limit(value.soft),
            (limit::STACK, Some(space)) => space.set_stack_limit(value.soft),
            (limit::DATA, Some(space)) => space.set_data_limit(value.soft),
            (limit::NOFILE, _) => {
                if let Some(files) = self.files() {
                    files.set_limit(value.soft);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn limits(&self) -> [Limit; limit::COUNT] {
        *self.limits.lock()
    }

    /// Its threads.
    pub fn threads(&self) -> Vec<Arc<UserThread>> {
        self.threads.lock().clone()
    }

    /// Its children, ended ones too.
    pub fn children(&self) -> Vec<Arc<Process>> {
        self.children.lock().clone()
    }

    /// Whether it has ended.
    pub fn is_zombie(&self) -> bool {
        self.is_zombie.load(Ordering::Acquire)
    }

    /// Whether a signal stopped it.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Whether it may gain no rights at exec any more.
    pub fn has_no_new_privs(&self) -> bool {
        self.has_no_new_privs.load(Ordering::Relaxed)
    }

    /// Gives up gaining rights at exec, for good.
    pub fn set_no_new_privs(&self) {
        self.has_no_new_privs.store(true, Ordering::Relaxed);
    }

    /// When it began, in nanoseconds since boot.
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let live: u64 = self
            .threads
            .lock()
            .iter()
            .map(|thread| thread.sched().run_ns())
            .sum();
        Usage {
            run_ns: self.run_ns.load(Ordering::Relaxed) + live,
        }
    }

    /// What its children that it waited for have used.
    pub fn children_usage(&self) -> Usage {
        Usage {
            run_ns: self.children_ns.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add_run_ns(&self, ns: u64) {
        self.run_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Its real-time interval timer.
    pub fn alarm(&self) -> &crate::signal::Alarm {
        &self.alarm
    }

    /// Its nice value, from -20 to 19.
    pub fn nice(&self) -> i32 {
        self.nice.load(Ordering::Relaxed)
    }

    /// Changes its nice value, and with it its threads' share: a quarter more
    /// or less per step, as on Linux.
    pub fn set_nice(&self, nice: i32) {
        let nice = nice.clamp(-20, 19);
        self.nice.store(nice, Ordering::Relaxed);
        for thread in self.threads() {
            thread.sched().set_weight(weight_of(nice));
        }
    }

    /// Sets what is done at `signal`, or only looks; returns what was before. A
    /// signal that is now ignored no longer waits.
    pub fn change_action(&self, signal: u32, action: Option<SigAction>) -> SigAction {
        let actions = self.actions.lock().clone();
        let Some(action) = action else {
            return actions.get(signal);
        };
        let before = actions.set(signal, action);
        if actions.ignores(signal) {
            let set = SignalSet::of(signal);
            self.pending.lock().remove(set);
            self.threads()
                .iter()
                .for_each(|thread| thread.pending.lock().remove(set));
        }
        before
    }

    /// Sends it a signal from `info`'s sender.
    pub fn signal(self: &Arc<Self>, info: SigInfo) -> Result<()> {
        crate::signal::send_to_process(self, info)
    }

    /// Makes every thread look at its signals.
    pub(crate) fn interrupt_all(&self) {
        for thread in self.threads() {
            thread.sched().interrupt();
        }
    }
}
