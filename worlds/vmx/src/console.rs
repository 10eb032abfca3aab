//! The console between guest devices and the world: [`ConsoleOutput`] takes
//! what the guest prints, [`ConsoleInput`] is a device that takes what is
//! typed, [`RoomSignal`] says when such a device can take more.
//!
//! A guest prints byte by byte. Output is gathered and passed on at the end of
//! a line, when [`GATHER`] bytes are there, or [`FLUSH_DELAY`] after the first
//! of them, so that a byte does not cost a system call.

use crate::backlog::Backlog;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::timerfd::TimerFd;

/// Longest time that a byte waits for more.
pub const FLUSH_DELAY: Duration = Duration::from_millis(5);
/// Bytes that are gathered at most.
pub const GATHER: usize = 1024;

/// A device of the guest that takes console input.
pub trait ConsoleInput: Send + Sync {
    /// Offers input; returns how many bytes the device took.
    fn offer(&self, input: &[u8]) -> usize;
}

/// Raised by a device that can take input again after it was full.
pub struct RoomSignal {
    is_wanted: AtomicBool,
    event: EventFd,
}

impl RoomSignal {
    /// A signal that nobody waits for.
    ///
    /// # Errors
    /// No eventfd can be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            is_wanted: AtomicBool::new(false),
            event: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// Asks for the next [`raise`](Self::raise) to make the event readable.
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    /// There is room.
    pub fn raise(&self) {
        if self.is_wanted.swap(false, Ordering::SeqCst) {
            // A full counter is as readable as one can be.
            let _ = self.event.write(1);
        }
    }

    /// Becomes readable when there is room and it was wanted.
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}

enum Target {
    /// Straight to standard output.
    Stdout(File),
    /// Into the backlog; attached clients are told by the event.
    Backlog { backlog: Backlog, is_watched: bool },
}

struct State {
    gathered: Vec<u8>,
    is_armed: bool,
    timer: TimerFd,
    target: Target,
}

impl State {
    /// Passes on what is gathered; true if a client should be told.
    fn flush(&mut self) -> bool {
        if self.gathered.is_empty() {
            return false;
        }
        let is_news = match &mut self.target {
            // Output that standard output does not take is lost.
            Target::Stdout(file) => {
                let _ = file.write_all(&self.gathered);
                false
            }
            Target::Backlog {
                backlog,
                is_watched,
            } => {
                backlog.extend(&self.gathered);
                *is_watched
            }
        };
        self.gathered.clear();
        is_news
    }
}

/// Where the guest's output goes; clones share it.
#[derive(Clone)]
pub struct ConsoleOutput {
    state: Arc<Mutex<State>>,
    news: Arc<EventFd>,
}

impl ConsoleOutput {
    /// Output to standard output.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn to_stdout() -> io::Result<Self> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        Self::new(Target::Stdout(File::from(stdout)))
    }

    /// Output into a backlog.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn to_backlog() -> io::Result<Self> {
        Self::new(Target::Backlog {
            backlog: Backlog::default(),
            is_watched: false,
        })
    }

    fn new(target: Target) -> io::Result<Self> {
        let state = State {
            gathered: Vec::new(),
            is_armed: false,
            timer: TimerFd::new()?,
            target,
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            news: Arc::new(EventFd::new(EFD_NONBLOCK)?),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when gathered output has waited long enough.
    pub fn timer_fd(&self) -> RawFd {
        self.lock().timer.as_raw_fd()
    }

    /// Readable when watched output has grown.
    pub fn news(&self) -> &EventFd {
        &self.news
    }

    /// Passes on what is gathered, because its time has come or the end has.
    pub fn flush_now(&self) {
        let mut state = self.lock();
        if state.is_armed {
            state.is_armed = false;
            // Disarming clears an expiry too; if it fails, one flush is idle.
            let _ = state.timer.clear();
        }
        let is_news = state.flush();
        drop(state);
        self.tell(is_news);
    }

    fn tell(&self, is_news: bool) {
        if is_news {
            // A full counter is as readable as one can be.
            let _ = self.news.write(1);
        }
    }

    /// Appends guest output.
    pub fn put(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.gathered.extend_from_slice(bytes);
        let is_line = bytes.last() == Some(&b'\n');
        let is_news = if is_line || state.gathered.len() >= GATHER {
            state.flush()
        } else {
            if !state.is_armed {
                state.is_armed = state.timer.reset(FLUSH_DELAY, None).is_ok();
            }
            false
        };
        drop(state);
        self.tell(is_news);
    }

    /// Says whether clients want to hear of new output.
    pub fn set_watched(&self, watched: bool) {
        if let Target::Backlog { is_watched, .. } = &mut self.lock().target {
            *is_watched = watched;
        }
    }

    /// Copies output from number `position` on into `buffer`: the number of
    /// its first byte and how many there are. Nothing without a backlog.
    pub fn read(&self, position: u64, buffer: &mut [u8]) -> (u64, usize) {
        let state = self.lock();
        let Target::Backlog { backlog, .. } = &state.target else {
            return (position, 0);
        };
        let (start, run) = backlog.read(position);
        let len = run.len().min(buffer.len());
        buffer[..len].copy_from_slice(&run[..len]);
        (start, len)
    }
}

impl Write for ConsoleOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: the serial port flushes after each byte.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
