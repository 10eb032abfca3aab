//! Starting programs, and reaping whatever ends: our children, and orphans, which become process 1's.
//!
//! Main type: [`Children`]. One thread waits for any child at all; nobody else waits.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, wait};

use crate::Event;

/// A process that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    /// Whether it left with status 0.
    pub is_success: bool,
    /// How it ended, for a person.
    pub how: String,
}

/// The way to start children.
#[derive(Debug)]
pub struct Children {
    started: Sender<()>,
}

impl Children {
    /// Starts the thread that reaps; what ends goes to `events`.
    pub fn new(events: Sender<Event>) -> Result<Children> {
        let (started, more) = channel();
        let work = move || reap(&events, &more);
        thread::Builder::new()
            .spawn(work)
            .context("Cannot start a thread that reaps")?;
        Ok(Children { started })
    }

    /// Starts a program and returns its number.
    pub fn start(&self, command: &mut Command) -> Result<u32> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("Cannot start {name}"))?;
        self.started
            .send(())
            .context("The thread that reaps has ended")?;
        Ok(child.id())
    }
}

fn reap(events: &Sender<Event>, more: &Receiver<()>) {
    loop {
        let ended = match wait() {
            Ok(status) => describe(&status),
            // No children: there is something to wait for again when one was started.
            Err(Errno::ECHILD) if more.recv().is_ok() => None,
            Err(Errno::EINTR) => None,
            Err(_) => return,
        };
        if let Some(ended) = ended
            && events.send(Event::Ended(ended)).is_err()
        {
            return;
        }
    }
}

fn describe(status: &WaitStatus) -> Option<Ended> {
    let pid = status.pid()?.as_raw().unsigned_abs();
    match status {
        WaitStatus::Exited(_, code) => Some(Ended {
            pid,
            is_success: *code == 0,
            how: format!("exit status {code}"),
        }),
        WaitStatus::Signaled(_, signal, _) => Some(Ended {
            pid,
            is_success: false,
            how: format!("killed by {signal}"),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::unistd::Pid;

    #[test]
    fn endings_are_described() {
        let pid = Pid::from_raw(7);
        let good = describe(&WaitStatus::Exited(pid, 0)).unwrap();
        assert_eq!((good.pid, good.is_success), (7, true));
        let bad = describe(&WaitStatus::Exited(pid, 3)).unwrap();
        assert_eq!((bad.is_success, bad.how.as_str()), (false, "exit status 3"));
        let killed = describe(&WaitStatus::Signaled(pid, Signal::SIGKILL, false)).unwrap();
        assert_eq!(
            (killed.is_success, killed.how.as_str()),
            (false, "killed by SIGKILL")
        );
        assert_eq!(describe(&WaitStatus::Stopped(pid, Signal::SIGSTOP)), None);
    }

    #[test]
    fn children_are_reaped_one_after_the_other() {
        let (sender, events) = channel();
        let children = Children::new(sender).unwrap();
        for (program, is_success) in [("true", true), ("false", false), ("true", true)] {
            let pid = children.start(&mut Command::new(program)).unwrap();
            let Event::Ended(ended) = events.recv().unwrap() else {
                panic!("no child ended")
            };
            assert_eq!((ended.pid, ended.is_success), (pid, is_success));
        }
    }
}
