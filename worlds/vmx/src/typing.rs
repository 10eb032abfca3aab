//! Standard input as the guest's keyboard: [`Typing`].
//!
//! A terminal is put into raw mode; its escape key, Ctrl-], starts a command.
//! A pipe is read as it comes, a file as fast as the guest takes it.

use crate::poller::{Interest, Poller, Token};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use terminal::{EscapeFilter, RawMode, Typed};

const CHUNK: usize = 256;

/// What the operator asked for besides typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Press the power button.
    PowerButton,
    /// Force the VM off.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// The poller says when there is something.
    Polled,
    /// There is always something, until the end.
    Always,
    /// The end was reached.
    Ended,
}

/// Standard input.
pub struct Typing {
    stdin: File,
    raw: Option<RawMode>,
    escape: EscapeFilter,
    readiness: Readiness,
}

impl Typing {
    /// Takes standard input; a terminal is raw until this is dropped.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let raw = RawMode::enter(&stdin)?;
        if raw.is_some() {
            eprint!("vmx: Ctrl-] then p: power button, k: kill, Ctrl-]: itself\r\n");
        }
        Ok(Self {
            stdin: File::from(stdin),
            raw,
            escape: EscapeFilter::default(),
            readiness: Readiness::Polled,
        })
    }

    /// Lets `poller` watch it.
    ///
    /// # Errors
    /// The poller refuses for another reason than that it is a file.
    pub fn watch(&mut self, poller: &Poller) -> io::Result<()> {
        match poller.add(self.stdin.as_raw_fd(), Token::Stdin, Interest::Readable) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.readiness = Readiness::Always;
                Ok(())
            }
            result => result,
        }
    }

    /// Stops or resumes to watch it.
    pub fn pause(&self, poller: &Poller, is_paused: bool) {
        if self.readiness == Readiness::Polled {
            let interest = if is_paused {
                Interest::None
            } else {
                Interest::Readable
            };
            // It was added; should this fail, input is merely not paused.
            let _ = poller.modify(self.stdin.as_raw_fd(), Token::Stdin, interest);
        }
    }

    /// Reads what is there into `input`.
    pub fn read(&mut self, poller: &Poller, input: &mut VecDeque<u8>) -> Action {
        let mut chunk = [0; CHUNK];
        let len = match self.stdin.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Action::None,
            Err(_) => 0,
        };
        if len == 0 {
            self.readiness = Readiness::Ended;
            poller.remove(self.stdin.as_raw_fd());
            return Action::None;
        }
        if self.raw.is_none() {
            input.extend(&chunk[..len]);
            return Action::None;
        }
        let mut action = Action::None;
        for byte in &chunk[..len] {
            match self.escape.next(*byte) {
                Typed::Byte(byte) => input.push_back(byte),
                Typed::Escape => {}
                Typed::Command(b'p') => action = Action::PowerButton,
                Typed::Command(b'k') => action = Action::Kill,
                Typed::Command(_) => {
                    eprint!("\r\nvmx: Ctrl-] then p: power button, k: kill, Ctrl-]: itself\r\n");
                }
            }
        }
        action
    }

    /// Reads more of a file into `input`; true if there was something.
    pub fn read_file(&mut self, input: &mut VecDeque<u8>) -> bool {
        if self.readiness != Readiness::Always {
            return false;
        }
        let mut chunk = [0; CHUNK];
        let len = self.stdin.read(&mut chunk).unwrap_or(0);
        if len == 0 {
            self.readiness = Readiness::Ended;
        }
        input.extend(&chunk[..len]);
        len > 0
    }
}
