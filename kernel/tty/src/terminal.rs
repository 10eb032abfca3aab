//! [`Tty`]: a terminal as a file, between programs and a driver.
//!
//! One spin lock holds discipline and output; the driver is called with it held
//! and must not block. Signals and wake-ups happen after it is released.

use crate::discipline::{Discipline, LIMIT};
use crate::output::Output;
use crate::{JobControl, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, default_termios};
use abi::Errno;
use abi::event::Events;
use abi::fs::OpenFlags;
use abi::tty::{TOSTOP, Winsize};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use sync::SpinLock;
use vfs::{Caller, Device, File, FileKind, Io, Metadata, PollHead, Result, Sink, Source};
use wait::{Deadline, Mutex, WaitError};

/// Where a terminal's output goes.
pub trait TtyDriver: Send + Sync {
    /// Takes bytes and returns how many. Must not block, nor call the terminal.
    /// Who takes less than all calls [`Tty::output_ready`] later.
    fn write(&self, bytes: &[u8]) -> usize;
    /// Have all taken bytes gone out?
    fn is_drained(&self) -> bool {
        true
    }
}

/// Output that may wait before writers block.
const OUTPUT_LIMIT: usize = 4096;
/// Bytes copied from a program at once.
const CHUNK: usize = 128;

pub(crate) struct State {
    pub discipline: Discipline,
    pub output: Output,
    pub window: Winsize,
    /// The session that it controls; 0 for none.
    pub session: u32,
    /// The foreground process group; 0 for none.
    pub foreground: u32,
    pub hung_up: bool,
    echo: Vec<u8>,
}

/// A terminal.
pub struct Tty {
    pub(crate) state: SpinLock<State>,
    pub(crate) head: PollHead,
    driver: Arc<dyn TtyDriver>,
    pub(crate) jobs: Arc<dyn JobControl>,
    /// Held across a write, so that writes are whole among each other.
    writer: Mutex<()>,
    rdev: u64,
    pub(crate) me: Weak<Tty>,
}

impl Tty {
    /// A terminal over `driver`, with device number `rdev`.
    #[must_use]
    pub fn new(driver: Arc<dyn TtyDriver>, jobs: Arc<dyn JobControl>, rdev: u64) -> Arc<Self> {
        let state = State {
            discipline: Discipline::new(default_termios()),
            output: Output::default(),
            window: Winsize {
                row: 24,
                col: 80,
                xpixel: 0,
                ypixel: 0,
            },
            session: 0,
            foreground: 0,
            hung_up: false,
            echo: Vec::with_capacity(64),
        };
        Arc::new_cyclic(|me| Self {
            state: SpinLock::new(state),
            head: PollHead::new(),
            driver,
            jobs,
            writer: Mutex::new(()),
            rdev,
            me: me.clone(),
        })
    }

    /// Takes bytes that the driver has received. Never blocks.
    pub fn receive(&self, bytes: &[u8]) {
        let mut signals = Vec::new();
        let foreground = {
            let mut state = self.state.lock();
            for byte in bytes {
                let signal = state.receive(*byte);
                signals.extend(signal);
                // At once: a later signal drops only what the driver left.
                self.drain(&mut state);
            }
            state.foreground
        };
        self.head
            .notify(Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM);
        for signal in signals.into_iter().filter(|_| foreground != 0) {
            self.jobs.signal_group(foreground, signal);
        }
    }

    /// The driver can take output again.
    pub fn output_ready(&self) {
        self.drain(&mut self.state.lock());
        self.head.notify(Events::OUT | Events::WRNORM);
    }

    pub(crate) fn drain(&self, state: &mut State) {
        if !state.discipline.is_stopped() {
            state.output.drain(|bytes| self.driver.write(bytes));
        }
    }

    /// The line is gone: readers find the end, writers `EIO`, and the foreground
    /// group gets SIGHUP and SIGCONT.
    pub fn hang_up(&self) {
        let foreground = {
            let mut state = self.state.lock();
            state.hung_up = true;
            state.session = 0;
            state.output.clear();
            core::mem::take(&mut state.foreground)
        };
        self.head
            .notify(Events::IN | Events::OUT | Events::HUP | Events::ERR);
        self.signal_hang_up(foreground);
    }

    /// The leader of `session` has ended or given the terminal up: it controls
    /// nobody any more, and its foreground group gets SIGHUP and SIGCONT.
    pub fn leave_session(&self, session: u32) {
        let foreground = {
            let mut state = self.state.lock();
            if state.session != session {
                return;
            }
            state.session = 0;
            core::mem::take(&mut state.foreground)
        };
        self.signal_hang_up(foreground);
    }

    fn signal_hang_up(&self, foreground: u32) {
        if foreground != 0 {
            self.jobs.signal_group(foreground, SIGHUP);
            self.jobs.signal_group(foreground, SIGCONT);
        }
    }

    /// Makes it control a session with one process group, without the checks of
    /// `TIOCSCTTY`; for the first session of the host.
    pub fn control_session(&self, session: u32, foreground: u32) {
        let mut state = self.state.lock();
        state.session = session;
        state.foreground = foreground;
        state.hung_up = false;
    }

    /// The session that it controls, and its foreground group; zeros for none.
    #[must_use]
    pub fn session(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.session, state.foreground)
    }

    /// Its device number.
    #[must_use]
    pub fn rdev(&self) -> u64 {
        self.rdev
    }

    /// Is the running process in the background of this terminal's session?
    /// Gives its group if so.
    fn background(&self) -> Option<u32> {
        let ids = self.jobs.current()?;
        let (session, foreground) = self.session();
        let outside = session != ids.session || foreground == 0 || foreground == ids.group;
        (!outside).then_some(ids.group)
    }

    fn check_read(&self) -> Result<()> {
        let Some(group) = self.background() else {
            return Ok(());
        };
        if !self.jobs.takes_signal(SIGTTIN) || self.jobs.is_orphaned(group) {
            return Err(Errno::EIO);
        }
        self.jobs.signal_group(group, SIGTTIN);
        Err(Errno::ERESTART)
    }

    /// May the running process change the terminal, or write to it with `TOSTOP`?
    pub(crate) fn check_change(&self) -> Result<()> {
        let Some(group) = self.background() else {
            return Ok(());
        };
        if !self.jobs.takes_signal(SIGTTOU) {
            return Ok(());
        }
        if self.jobs.is_orphaned(group) {
            return Err(Errno::EIO);
        }
        self.jobs.signal_group(group, SIGTTOU);
        Err(Errno::ERESTART)
    }

    /// Waits until all output has gone out.
    pub(crate) fn wait_drained(&self) -> Result<()> {
        let drained = || {
            let state = self.state.lock();
            let done = state.hung_up || state.output.is_empty() && self.driver.is_drained();
            done.then_some(())
        };
        Ok(self.head.wait(Events::OUT, None, drained)?)
    }

    /// Reads up to `into`'s length; blocks as the settings say.
    fn read_some(&self, into: &mut [u8], nonblock: bool) -> Result<(usize, bool)> {
        let (canonical, min, time) = {
            let state = self.state.lock();
            let discipline = &state.discipline;
            (
                discipline.is_canonical(),
                discipline.min(),
                discipline.time(),
            )
        };
        if nonblock {
            return match self.try_read(into, 1, canonical) {
                Some(found) => Ok(found),
                // "No input now" is an empty read where MIN and TIME are zero.
                None if !canonical && min == 0 && time == 0 => Ok((0, true)),
                None => Err(Errno::EAGAIN),
            };
        }
        let mut deadline = None;
        if !canonical && time != 0 && min == 0 {
            deadline = after_tenths(time);
        }
        let mut least = if canonical || time != 0 { 1 } else { min };
        if !canonical && time != 0 && min > 1 {
            let seen = self.wait_between_bytes(min.min(into.len()), time)?;
            least = seen.min(min);
        }
        let least = least.min(into.len()).min(LIMIT);
        match self.head.wait(Events::IN, deadline, || {
            self.try_read(into, least, canonical)
        }) {
            Ok(found) => Ok(found),
            Err(WaitError::TimedOut) => Ok((0, true)),
            Err(error) => Err(error.into()),
        }
    }

    /// MIN and TIME both given: waits for the first byte without limit, then for
    /// `wanted` bytes as long as each comes in time. Returns how many came.
    fn wait_between_bytes(&self, wanted: usize, time: u64) -> Result<usize> {
        let mut seen = 0;
        let mut deadline = None;
        loop {
            let more = || {
                let state = self.state.lock();
                let queued = state.discipline.available();
                (queued > seen || state.hung_up).then_some(queued)
            };
            match self.head.wait(Events::IN, deadline, more) {
                Ok(queued) if queued >= wanted || queued <= seen => return Ok(queued),
                Ok(queued) => seen = queued,
                Err(WaitError::TimedOut) => return Ok(seen),
                Err(error) => return Err(error.into()),
            }
            deadline = after_tenths(time);
        }
    }

    /// `None` where the read must wait.
    fn try_read(&self, into: &mut [u8], least: usize, canonical: bool) -> Option<(usize, bool)> {
        let mut state = self.state.lock();
        let discipline = &mut state.discipline;
        let ready = if canonical && discipline.is_canonical() {
            discipline.is_readable()
        } else {
            discipline.available() >= least
        };
        if ready {
            return Some(discipline.read(into));
        }
        state.hung_up.then_some((0, true))
    }

    /// Processes output; the caller has seen to it that there is room.
    fn put_out(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let oflag = state.discipline.termios().oflag;
        bytes
            .iter()
            .for_each(|byte| state.output.push(*byte, oflag));
        self.drain(&mut state);
    }

    fn has_room(&self) -> Option<Result<()>> {
        let state = self.state.lock();
        if state.hung_up {
            return Some(Err(Errno::EIO));
        }
        (state.output.len() < OUTPUT_LIMIT).then_some(Ok(()))
    }

    fn wait_room(&self, nonblock: bool) -> Result<()> {
        match self.has_room() {
            Some(result) => result,
            None if nonblock => Err(Errno::EAGAIN),
            None => self.head.wait(Events::OUT, None, || self.has_room())?,
        }
    }
}

impl State {
    fn receive(&mut self, byte: u8) -> Option<u32> {
        let mut echo = core::mem::take(&mut self.echo);
        let reaction = self.discipline.input(byte, self.output.column(), &mut echo);
        if reaction.flush_output {
            self.output.clear();
        }
        let oflag = self.discipline.termios().oflag;
        // Echo beyond what output may hold is lost, as on a full line.
        if self.output.len() < 2 * OUTPUT_LIMIT {
            echo.iter().for_each(|byte| self.output.push(*byte, oflag));
        }
        echo.clear();
        self.echo = echo;
        reaction.signal
    }
}

fn after_tenths(tenths: u64) -> Deadline {
    Some(wait::now_ns() + tenths * 100_000_000)
}

impl File for Tty {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        self.check_read()?;
        let mut done = 0;
        let mut bytes = [0; CHUNK];
        while sink.room() > 0 {
            let part = sink.room().min(CHUNK);
            // After the first piece only what is there is taken.
            let step = self.read_some(&mut bytes[..part], io.nonblock || done > 0);
            let (count, ended) = match step {
                Ok(found) => found,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            sink.put(&bytes[..count])?;
            done += count;
            if count < part || ended {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        if self.state.lock().discipline.termios().lflag & TOSTOP != 0 {
            self.check_change()?;
        }
        let _whole = self.writer.lock();
        let mut done = 0;
        let mut bytes = [0; CHUNK];
        while source.left() > 0 {
            let step = self
                .wait_room(io.nonblock)
                .and_then(|()| source.take(&mut bytes));
            match step {
                Ok(0) => break,
                Ok(count) => {
                    self.put_out(&bytes[..count]);
                    done += count;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn poll(&self) -> Events {
        let state = self.state.lock();
        if state.hung_up {
            return Events::IN | Events::RDNORM | Events::HUP | Events::ERR;
        }
        let mut events = Events::empty();
        events.set(Events::IN | Events::RDNORM, state.discipline.is_readable());
        events.set(
            Events::OUT | Events::WRNORM,
            state.output.len() < OUTPUT_LIMIT,
        );
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.head)
    }

    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64> {
        self.control(caller, command, argument)
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            rdev: self.rdev,
            ..Metadata::anonymous(FileKind::Character, 0o620)
        }
    }

    fn reopen(&self, _flags: OpenFlags) -> Result<Arc<dyn File>> {
        let me: Arc<dyn File> = self.me.upgrade().ok_or(Errno::EIO)?;
        Ok(me)
    }

    fn label(&self) -> String {
        String::from("/dev/tty")
    }
}

/// What a terminal's device node opens.
pub struct TtyDevice(pub Arc<Tty>);

impl Device for TtyDevice {
    fn open(&self, flags: OpenFlags, caller: Option<&dyn Caller>) -> Result<Arc<dyn File>> {
        if let Some(caller) = caller.filter(|_| !flags.contains(OpenFlags::NOCTTY)) {
            // A session leader without a terminal gets this one, if it is free.
            let ids = caller.ids();
            let free = self.0.session().0 == 0 && caller.controlling_terminal().is_none();
            if ids.pid == ids.session && free {
                caller.set_controlling_terminal(Some(self.0.clone()))?;
                self.0.control_session(ids.session, ids.group);
            }
        }
        Ok(self.0.clone())
    }
}
