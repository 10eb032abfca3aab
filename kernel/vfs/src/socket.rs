//! [`Socket`]: what a file can do that is a socket (socket(7)).
//!
//! The system call layer copies addresses and ancillary data; a socket sees
//! bytes and [`Message`]s.

use crate::{Caller, Errno, OpenFile, Result, Sink, Source};
use abi::socket::Ucred;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A socket address: the family in the first two bytes, then what it defines.
pub type Address = Vec<u8>;

/// Ancillary data, decoded.
#[derive(Default)]
pub struct ControlMessages {
    /// `SCM_RIGHTS`: files passed on.
    pub files: Vec<Arc<OpenFile>>,
    /// `SCM_CREDENTIALS`: who sends.
    pub credentials: Option<Ucred>,
}

/// A message to be sent.
pub struct Message<'a> {
    /// To whom; `None` to the connected peer.
    pub to: Option<&'a [u8]>,
    /// The bytes.
    pub data: &'a mut dyn Source,
    /// Ancillary data.
    pub control: ControlMessages,
    /// `MSG_*`.
    pub flags: u32,
}

/// What came with received bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the sink; with `MSG_TRUNC` asked for, the message's length.
    pub len: usize,
    /// Who sent them, where the socket is not connected.
    pub from: Option<Address>,
    /// Ancillary data.
    pub control: ControlMessages,
    /// `MSG_TRUNC`, `MSG_EOR`.
    pub flags: u32,
}

/// A socket's own calls. `nonblock` is that of the open file.
pub trait Socket {
    /// bind(2).
    ///
    /// # Errors
    /// `EINVAL`, `EADDRINUSE`, `EACCES`, `ENOENT`, ...
    fn bind(&self, caller: &dyn Caller, address: &[u8]) -> Result<()>;
    /// connect(2).
    ///
    /// # Errors
    /// `ECONNREFUSED`, `EISCONN`, `EAGAIN`, `EPROTOTYPE`, ...
    fn connect(&self, caller: &dyn Caller, address: &[u8], nonblock: bool) -> Result<()>;
    /// listen(2).
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `EINVAL`.
    fn listen(&self, caller: &dyn Caller, backlog: i32) -> Result<()>;
    /// accept(2): the new socket, to be opened and installed by the caller.
    ///
    /// # Errors
    /// `EAGAIN`, `EINVAL`, `EOPNOTSUPP`, `ERESTART`.
    fn accept(&self, nonblock: bool) -> Result<Arc<dyn crate::File>>;
    /// getsockname(2).
    ///
    /// # Errors
    /// None in most families.
    fn name(&self) -> Result<Address>;
    /// getpeername(2).
    ///
    /// # Errors
    /// `ENOTCONN`.
    fn peer_name(&self) -> Result<Address>;
    /// sendmsg(2) and its kin.
    ///
    /// # Errors
    /// `EPIPE`, `EAGAIN`, `ENOTCONN`, `EMSGSIZE`, ...
    fn send(&self, caller: &dyn Caller, message: Message<'_>, nonblock: bool) -> Result<usize>;
    /// recvmsg(2) and its kin.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOTCONN`, `ECONNRESET`, ...
    fn receive(&self, sink: &mut dyn Sink, flags: u32, nonblock: bool) -> Result<Received>;
    /// shutdown(2).
    ///
    /// # Errors
    /// `ENOTCONN`, `EINVAL`.
    fn shutdown(&self, how: u32) -> Result<()>;
    /// getsockopt(2): the option's bytes.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    fn option(&self, _level: u32, _option: u32) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }
    /// setsockopt(2).
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL`.
    fn set_option(&self, _level: u32, _option: u32, _value: &[u8]) -> Result<()> {
        Err(Errno::ENOPROTOOPT)
    }
}
