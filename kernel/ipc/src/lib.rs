//! What processes talk and wait through: [`Pipe`], [`EventFd`], [`TimerFd`],
//! [`Epoll`], [`poll`] and Unix sockets ([`unix`]).
//!
//! Every object is a `vfs::File` with one poll head; system calls only decode
//! their arguments and call the constructors here.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod epoll;
mod eventfd;
mod fifo;
mod pipe;
mod poll;
mod ring;
mod timerfd;
pub mod unix;

pub use epoll::Epoll;
pub use eventfd::EventFd;
pub use fifo::register_fifos;
pub use pipe::{PIPE_BUF, Pipe, PipeEnd};
pub use poll::{PollEntry, poll};
pub use timerfd::{Clock, TimerFd};
