//! Unix sockets (unix(7)): [`UnixSocket`].
//!
//! A socket receives through its [`port`], which its peer holds too, so that
//! bytes survive their sender. [`address`] finds sockets by name, [`stream`] and
//! [`packet`] move data, [`connect`] makes connections, [`options`] is the rest.
//!
//! [`in_flight`] finds sockets that only lie in each other's queues.

mod address;
mod connect;
mod in_flight;
mod options;
mod packet;
mod port;
mod stream;

use abi::Errno;
use abi::event::Events;
use abi::fs::FIONREAD;
use abi::socket::{
    AF_UNIX, MSG_DONTWAIT, MSG_OOB, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_SEQPACKET,
    SOCK_STREAM, Ucred,
};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use pages::Account;
use port::Port;
use sync::{Once, SpinLock};
use vfs::{
    Address, Caller, ControlMessages, File, FileKind, Io, Location, Message, Metadata, PollHead,
    Received, Result, Sink, Socket, Source,
};
use wait::{Deadline, WaitQueue};

/// How a socket moves data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes over a connection.
    Stream,
    /// Messages over a connection.
    Seqpacket,
    /// Messages to anybody.
    Datagram,
}

impl Kind {
    /// From a `SOCK_*` number without flags.
    ///
    /// # Errors
    /// `ESOCKTNOSUPPORT`.
    pub fn from_number(number: u32) -> Result<Self> {
        match number {
            SOCK_STREAM => Ok(Self::Stream),
            SOCK_SEQPACKET => Ok(Self::Seqpacket),
            SOCK_DGRAM => Ok(Self::Datagram),
            _ => Err(Errno::ESOCKTNOSUPPORT),
        }
    }

    /// The `SOCK_*` number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Stream => SOCK_STREAM,
            Self::Seqpacket => SOCK_SEQPACKET,
            Self::Datagram => SOCK_DGRAM,
        }
    }
}

/// Connections that wait to be accepted.
struct Listener {
    queue: VecDeque<Arc<UnixSocket>>,
    backlog: usize,
}

/// A Unix socket.
pub struct UnixSocket {
    kind: Kind,
    port: Arc<Port>,
    /// The other side of a connection; set once.
    peer: Once<Arc<Port>>,
    /// Where datagrams go that name nobody.
    target: SpinLock<Option<Arc<Port>>>,
    listener: SpinLock<Option<Listener>>,
    /// Those who wait for room in the listener's queue.
    backlog_room: WaitQueue,
    /// The name's node, which must live as long as the socket.
    node: SpinLock<Option<Location>>,
    write_shut: AtomicBool,
    /// Nanoseconds; 0 for none.
    receive_timeout_ns: AtomicU64,
    send_timeout_ns: AtomicU64,
    me: Weak<UnixSocket>,
    account: Account,
    inode: u64,
}

impl UnixSocket {
    /// A socket that is not connected. `owner` is who makes it, `account` pays
    /// for what it receives.
    #[must_use]
    pub fn new(kind: Kind, owner: Ucred, account: &Account) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            kind,
            port: Port::new(kind, owner, account),
            peer: Once::new(),
            target: SpinLock::new(None),
            listener: SpinLock::new(None),
            backlog_room: WaitQueue::new(),
            node: SpinLock::new(None),
            write_shut: AtomicBool::new(false),
            receive_timeout_ns: AtomicU64::new(0),
            send_timeout_ns: AtomicU64::new(0),
            me: me.clone(),
            account: account.clone(),
            inode: vfs::next_inode_number(),
        })
    }

    /// Two sockets connected to each other (socketpair(2)).
    #[must_use]
    pub fn pair(kind: Kind, owner: Ucred, account: &Account) -> (Arc<Self>, Arc<Self>) {
        let (one, two) = (
            Self::new(kind, owner, account),
            Self::new(kind, owner, account),
        );
        one.join(&two);
        (one, two)
    }

    /// Connects two sockets that nobody else knows yet, or that are ready to be.
    fn join(&self, other: &Self) {
        if self.kind == Kind::Datagram {
            *self.target.lock() = Some(other.port.clone());
            *other.target.lock() = Some(self.port.clone());
            self.port.add_sender(&other.port);
            other.port.add_sender(&self.port);
        } else {
            let _ = self.peer.set(other.port.clone());
            let _ = other.peer.set(self.port.clone());
        }
    }

    /// The other side of a connection.
    fn connected(&self) -> Result<&Arc<Port>> {
        self.peer.get().ok_or(Errno::ENOTCONN)
    }

    /// The other side, or where datagrams go.
    fn partner(&self) -> Option<Arc<Port>> {
        match self.kind {
            Kind::Datagram => self.target.lock().clone(),
            _ => self.peer.get().cloned(),
        }
    }

    fn deadline(timeout_ns: &AtomicU64) -> Deadline {
        match timeout_ns.load(Ordering::Relaxed) {
            0 => None,
            timeout => Some(wait::now_ns().saturating_add(timeout)),
        }
    }

    fn send_deadline(&self) -> Deadline {
        Self::deadline(&self.send_timeout_ns)
    }

    fn receive_deadline(&self) -> Deadline {
        Self::deadline(&self.receive_timeout_ns)
    }

    fn send_data(
        &self,
        to: Option<Arc<Port>>,
        data: &mut dyn Source,
        control: ControlMessages,
        nonblock: bool,
    ) -> Result<usize> {
        if self.write_shut.load(Ordering::Acquire) {
            return Err(Errno::EPIPE);
        }
        match self.kind {
            Kind::Stream => self.send_stream(data, control, nonblock),
            Kind::Seqpacket => {
                let peer = self.connected()?;
                self.send_packet(peer, data, control, nonblock)
            }
            Kind::Datagram => {
                let target = match to {
                    Some(target) => target,
                    None => self.partner().ok_or(Errno::ENOTCONN)?,
                };
                self.send_packet(&target, data, control, nonblock)
            }
        }
    }

    /// Credentials that go along without being asked for.
    fn add_credentials(&self, control: &mut ControlMessages, to: Option<&Port>, sender: Ucred) {
        let wanted = self.port.passes_credentials() || to.is_some_and(Port::passes_credentials);
        if wanted && control.credentials.is_none() {
            control.credentials = Some(sender);
        }
    }

    fn poll_connected(&self, peer: &Port) -> Events {
        let mut events = Events::empty();
        let port = &self.port;
        let gone = peer.is_gone();
        let no_more = gone || port.has_ended() || port.is_read_shut();
        let here = !port.is_empty() || no_more;
        events.set(Events::IN | Events::RDNORM, here);
        events.set(Events::RDHUP, no_more);
        let write_shut = self.write_shut.load(Ordering::Acquire);
        events.set(Events::HUP, gone || no_more && write_shut);
        events.set(Events::OUT | Events::WRNORM, gone || peer.has_much_room());
        events.set(Events::ERR, port.has_error());
        events
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let unread = self.port.close();
        self.forget_name();
        if let Some(peer) = self.peer.get() {
            peer.peer_gone(unread && self.kind == Kind::Stream);
        }
        let listener = self.listener.get_mut().take();
        // Whoever was not accepted is dropped here, and so hangs up.
        drop(listener);
        self.backlog_room.wake_all();
    }
}

impl File for UnixSocket {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        self.receive(sink, 0, io.nonblock)
            .map(|received| received.len)
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let mut control = ControlMessages::default();
        match self.kind {
            Kind::Datagram => {
                let target = self.partner();
                self.add_credentials(&mut control, target.as_deref(), self.port.owner());
            }
            _ => {
                let peer = self.peer.get().map(|peer| &**peer);
                self.add_credentials(&mut control, peer, self.port.owner());
            }
        }
        self.send_data(None, source, control, io.nonblock)
    }

    fn poll(&self) -> Events {
        if let Some(listener) = &*self.listener.lock() {
            let waiting = !listener.queue.is_empty();
            return if waiting {
                Events::IN | Events::RDNORM
            } else {
                Events::empty()
            };
        }
        if let Some(peer) = self.peer.get() {
            return self.poll_connected(peer);
        }
        let mut events = Events::empty();
        if self.kind == Kind::Datagram {
            let shut = self.port.is_read_shut();
            events.set(Events::IN | Events::RDNORM, !self.port.is_empty() || shut);
            events.set(Events::RDHUP, shut);
            let room = self.partner().is_none_or(|target| target.has_packet_room());
            events.set(Events::OUT | Events::WRNORM, room);
        } else {
            // As Linux shows a socket that was never connected.
            events = Events::OUT | Events::WRNORM | Events::HUP;
        }
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.port.head)
    }

    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        if self.listener.lock().is_some() {
            return Err(Errno::EINVAL);
        }
        let count = self.port.next_len() as i32;
        caller.write_user(argument, &count.to_ne_bytes())?;
        Ok(0)
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            inode: self.inode,
            ..Metadata::anonymous(FileKind::Socket, 0o777)
        }
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn label(&self) -> String {
        format!("socket:[{}]", self.inode)
    }
}

impl Socket for UnixSocket {
    fn bind(&self, caller: &dyn Caller, address: &[u8]) -> Result<()> {
        self.bind_name(caller, address)
    }

    fn connect(&self, caller: &dyn Caller, address: &[u8], nonblock: bool) -> Result<()> {
        match self.kind {
            Kind::Datagram => self.set_target(caller, address),
            _ => self.connect_to(caller, address, nonblock),
        }
    }

    fn listen(&self, caller: &dyn Caller, backlog: i32) -> Result<()> {
        self.start_listening(address::owner_of(caller), backlog)
    }

    fn accept(&self, nonblock: bool) -> Result<Arc<dyn File>> {
        Ok(self.accept_one(nonblock)?)
    }

    fn name(&self) -> Result<Address> {
        Ok(self.port.name())
    }

    fn peer_name(&self) -> Result<Address> {
        Ok(self.partner().ok_or(Errno::ENOTCONN)?.name())
    }

    fn send(&self, caller: &dyn Caller, message: Message<'_>, nonblock: bool) -> Result<usize> {
        let Message {
            to,
            data,
            mut control,
            flags,
        } = message;
        if flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        in_flight::admit(&control)?;
        let sender = address::owner_of(caller);
        if let Some(claimed) = control.credentials
            && claimed != sender
            && !caller.credentials().is_superuser()
        {
            return Err(Errno::EPERM);
        }
        let to = match to {
            Some(address) if self.kind == Kind::Datagram => {
                Some(self.find(caller, address)?.port.clone())
            }
            Some(_) if self.peer.get().is_some() => return Err(Errno::EISCONN),
            Some(_) => return Err(Errno::EOPNOTSUPP),
            None => None,
        };
        let receiver = to.clone().or_else(|| self.partner());
        self.add_credentials(&mut control, receiver.as_deref(), sender);
        self.send_data(to, data, control, nonblock || flags & MSG_DONTWAIT != 0)
    }

    fn receive(&self, sink: &mut dyn Sink, flags: u32, nonblock: bool) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let nonblock = nonblock || flags & MSG_DONTWAIT != 0;
        let mut received = match self.kind {
            Kind::Stream => self.receive_stream(sink, flags, nonblock)?,
            _ => self.receive_packet(sink, flags, nonblock)?,
        };
        if !self.port.passes_credentials() {
            received.control.credentials = None;
        }
        Ok(received)
    }

    fn shutdown(&self, how: u32) -> Result<()> {
        let (reads, writes) = match how {
            SHUT_RD => (true, false),
            SHUT_WR => (false, true),
            SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let partner = self.partner().ok_or(Errno::ENOTCONN)?;
        if reads {
            self.port.shut_reading();
        }
        if writes {
            self.write_shut.store(true, Ordering::Release);
            if self.kind != Kind::Datagram {
                partner.end();
            }
        }
        let all = Events::IN | Events::OUT | Events::RDHUP | Events::HUP;
        self.port.head.notify(all);
        partner.head.notify(all);
        Ok(())
    }

    fn option(&self, level: u32, option: u32) -> Result<Vec<u8>> {
        self.get_option(level, option)
    }

    fn set_option(&self, level: u32, option: u32, value: &[u8]) -> Result<()> {
        self.put_option(level, option, value)
    }
}

/// The family, as the first two bytes of an address.
const FAMILY: [u8; 2] = (AF_UNIX as u16).to_ne_bytes();
