//! The event loop's view of epoll: [`Poller`] waits for descriptors, each
//! known by a [`Token`].

use std::io;
use std::os::fd::RawFd;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

const BATCH: usize = 16;

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The machine stops.
    Stop,
    /// The operator sent a signal.
    Signal,
    /// Gathered output waits to be passed on.
    Flush,
    /// Output has grown for attached clients.
    News,
    /// The guest's console device has room for input.
    Room,
    /// Standard input.
    Stdin,
    /// Somebody connects to the console.
    ConsoleListener,
    /// Somebody connects to the control socket.
    ControlListener,
    /// A connection, by its number.
    Client(u32),
    /// A queue's doorbell: device and queue.
    Doorbell(u16, u16),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, value) = match self {
            Self::Stop => (0, 0),
            Self::Signal => (1, 0),
            Self::Flush => (2, 0),
            Self::News => (3, 0),
            Self::Room => (4, 0),
            Self::Stdin => (5, 0),
            Self::ConsoleListener => (6, 0),
            Self::ControlListener => (7, 0),
            Self::Client(number) => (8, number),
            Self::Doorbell(device, queue) => (9, u32::from(device) << 16 | u32::from(queue)),
        };
        kind << 32 | u64::from(value)
    }

    fn decode(data: u64) -> Option<Self> {
        let value = data as u32;
        Some(match data >> 32 {
            0 => Self::Stop,
            1 => Self::Signal,
            2 => Self::Flush,
            3 => Self::News,
            4 => Self::Room,
            5 => Self::Stdin,
            6 => Self::ConsoleListener,
            7 => Self::ControlListener,
            8 => Self::Client(value),
            9 => Self::Doorbell((value >> 16) as u16, value as u16),
            _ => return None,
        })
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Input or the end of it.
    Readable,
    /// Input, or room for output.
    ReadableWritable,
    /// Nothing but errors, for now.
    None,
}

impl Interest {
    fn events(self) -> EventSet {
        match self {
            Self::Readable => EventSet::IN,
            Self::ReadableWritable => EventSet::IN | EventSet::OUT,
            Self::None => EventSet::empty(),
        }
    }
}

/// Waits for descriptors.
pub struct Poller {
    epoll: Epoll,
}

impl Poller {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// No descriptor can be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
        })
    }

    /// Starts to wait for `fd`.
    ///
    /// # Errors
    /// `PermissionDenied` for a file that is always ready.
    pub fn add(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let event = EpollEvent::new(interest.events(), token.encode());
        self.epoll.ctl(ControlOperation::Add, fd, event)
    }

    /// Waits for something else of `fd`.
    ///
    /// # Errors
    /// It was not added.
    pub fn modify(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let event = EpollEvent::new(interest.events(), token.encode());
        self.epoll.ctl(ControlOperation::Modify, fd, event)
    }

    /// Stops to wait for `fd`, if it was added.
    pub fn remove(&self, fd: RawFd) {
        let _ = self
            .epoll
            .ctl(ControlOperation::Delete, fd, EpollEvent::default());
    }

    /// Waits until something is ready; nothing if a signal came.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn wait(&self) -> io::Result<Vec<Token>> {
        let mut events = [EpollEvent::default(); BATCH];
        match self.epoll.wait(-1, &mut events) {
            Ok(count) => Ok(events[..count]
                .iter()
                .filter_map(|e| Token::decode(e.data()))
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let tokens = [
            Token::Stop,
            Token::Signal,
            Token::Flush,
            Token::News,
            Token::Room,
            Token::Stdin,
            Token::ConsoleListener,
            Token::ControlListener,
            Token::Client(u32::MAX),
            Token::Doorbell(7, u16::MAX),
        ];
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
