//! [`Context`]: a thread of a program, in the kernel.
//!
//! It lives on the thread's kernel stack, so that a system call reaches process,
//! address space and descriptors without a lock.

use crate::{Process, Result, UserThread};
use abi::Errno;
use abi::signal::SignalSet;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::Ordering;
use hal::mem::Account;
use hal::user_context::UserContext;
use mem::Space;
use vfs::{
    Caller, Credentials, FdTable, File, FsContext, FsView, OpenFile, ProcessIds, UserMemory,
};

/// A thread of a program, in the kernel.
pub struct Context<'a> {
    thread: &'a Arc<UserThread>,
    /// Its registers.
    pub user: &'a mut UserContext,
    space: Arc<Space>,
    files: Arc<FdTable>,
    fs: Arc<FsContext>,
    credentials: Arc<Credentials>,
    /// The number of the call under way.
    pub(crate) call: u64,
    /// How the call was interrupted, until that is settled.
    pub(crate) interrupted_call: Option<Errno>,
    /// What is blocked again after a handler, or when none was to run.
    pub(crate) restore_mask: Option<SignalSet>,
    /// When the call ends that is repeated because nothing came of a signal.
    pub(crate) resume_deadline: Option<u64>,
    /// The last fault: vector, error code, address.
    pub(crate) last_fault: (u8, u32, u64),
}

impl<'a> Context<'a> {
    pub(crate) fn new(thread: &'a Arc<UserThread>, user: &'a mut UserContext) -> Option<Self> {
        let process = thread.process();
        Some(Self {
            thread,
            user,
            space: process.space()?,
            files: process.files()?,
            fs: process.fs()?,
            credentials: process.credentials(),
            call: 0,
            interrupted_call: None,
            restore_mask: None,
            resume_deadline: None,
            last_fault: (0, 0, 0),
        })
    }

    /// The thread.
    #[inline]
    pub fn thread(&self) -> &Arc<UserThread> {
        self.thread
    }

    /// The process.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        self.thread.process()
    }

    /// The address space.
    #[inline]
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The descriptors.
    #[inline]
    pub fn files(&self) -> &Arc<FdTable> {
        &self.files
    }

    /// The place in the tree of files.
    #[inline]
    pub fn fs_context(&self) -> &Arc<FsContext> {
        &self.fs
    }

    /// In whose name.
    #[inline]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// Takes over what a change of program or descriptors left in the process.
    pub fn refresh(&mut self) {
        let process = self.thread.process();
        if let Some(space) = process.space() {
            self.space = space;
        }
        if let Some(files) = process.files() {
            self.files = files;
        }
        if let Some(fs) = process.fs() {
            self.fs = fs;
        }
        self.credentials = process.credentials();
    }

    /// Gives the process descriptors of its own (unshare(2), and exec).
    pub fn unshare_files(&mut self) {
        self.files = self.files.fork();
        self.process().set_files(self.files.clone());
    }

    /// Gives the process a root and working directory of its own.
    pub fn unshare_fs(&mut self) {
        self.fs = self.fs.fork();
        self.process().set_fs(self.fs.clone());
    }

    /// Whether the thread is about to leave for good.
    pub fn is_ending(&self) -> bool {
        self.thread.is_leaving.load(Ordering::Acquire) || self.process().ending.lock().is_some()
    }

    /// Blocks `mask` until a handler was chosen or the call is over; what was
    /// blocked before comes back then (sigsuspend, ppoll, epoll_pwait, ...).
    pub fn block_until_handled(&mut self, mask: SignalSet) {
        self.restore_mask = Some(self.thread.blocked());
        self.thread.set_blocked(mask);
    }

    /// The call ended by itself: what was blocked before comes back.
    pub fn unblock(&mut self) {
        if let Some(mask) = self.restore_mask.take() {
            self.thread.set_blocked(mask);
        }
    }

    /// When a call ends that waits for `ns` nanoseconds at most: if it is a
    /// repetition, when it would have ended the first time.
    pub fn deadline(&mut self, ns: Option<u64>) -> wait::Deadline {
        let resumed = self.resume_deadline.take();
        resumed.or_else(|| ns.map(|ns| wait::now_ns().saturating_add(ns)))
    }

    /// What an interrupted call with a deadline returns: it goes on if no handler
    /// runs, else it is EINTR.
    pub fn interrupt(&mut self, deadline: wait::Deadline) -> Errno {
        self.resume_deadline = deadline;
        Errno::ERESTARTNOHAND
    }

    /// Makes the program issue its call again. SYSCALL is two bytes long.
    pub(crate) fn repeat_call(&mut self) {
        let call = self.call;
        let regs = self.user.regs_mut();
        regs.rip = regs.rip.wrapping_sub(2);
        regs.rax = call;
    }

    /// Reads a path or another string that ends with a zero byte.
    pub fn read_string(&self, address: u64, max: usize) -> Result<alloc::vec::Vec<u8>> {
        self.space.read_cstr(address, max)
    }
}

impl UserMemory for Context<'_> {
    #[inline]
    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<()> {
        self.space.read(address, into)
    }

    #[inline]
    fn write_user(&self, address: u64, from: &[u8]) -> Result<()> {
        self.space.write(address, from)
    }
}

impl Caller for Context<'_> {
    #[inline]
    fn file(&self, fd: i32) -> Result<Arc<OpenFile>> {
        self.files.get(fd)
    }

    fn install(&self, file: Arc<OpenFile>, cloexec: bool) -> Result<i32> {
        self.files.install(file, cloexec)
    }

    fn space(&self) -> Arc<dyn Any + Send + Sync> {
        self.space.clone()
    }

    fn account(&self) -> &Account {
        self.process().account()
    }

    fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn ids(&self) -> ProcessIds {
        let process = self.process();
        ProcessIds {
            pid: process.pid(),
            group: process.group(),
            session: process.session().id(),
        }
    }

    fn fs(&self) -> FsView<'_> {
        self.fs.view(&self.credentials, Some(self))
    }

    fn controlling_terminal(&self) -> Option<Arc<OpenFile>> {
        let terminal = self.process().session().terminal()?;
        Some(OpenFile::new(terminal, vfs::OpenFlags::RDWR))
    }

    fn set_controlling_terminal(&self, terminal: Option<Arc<dyn File>>) -> Result<()> {
        let process = self.process();
        let session = process.session();
        if session.id() != process.pid() {
            return Err(Errno::EPERM);
        }
        session.set_terminal(terminal);
        Ok(())
    }
}
