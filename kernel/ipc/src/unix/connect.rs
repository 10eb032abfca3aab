//! Making connections: listen(2), connect(2), accept(2).

use super::{Kind, Listener, UnixSocket};
use abi::Errno;
use abi::event::Events;
use abi::socket::{AF_UNSPEC, SOMAXCONN, Ucred};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use vfs::{Caller, Result};
use wait::WaitError;

impl UnixSocket {
    pub(super) fn start_listening(&self, owner: Ucred, backlog: i32) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.peer.get().is_some() || self.port.name().len() <= 2 {
            return Err(Errno::EINVAL);
        }
        // A negative backlog is as large as can be, as on Linux.
        let backlog = (backlog as u32).min(SOMAXCONN) as usize;
        self.port.set_owner(owner);
        let mut listener = self.listener.lock();
        match &mut *listener {
            Some(known) => known.backlog = backlog,
            None => {
                *listener = Some(Listener {
                    queue: VecDeque::new(),
                    backlog,
                })
            }
        }
        drop(listener);
        self.backlog_room.wake_all();
        Ok(())
    }

    pub(super) fn connect_to(
        &self,
        caller: &dyn Caller,
        address: &[u8],
        nonblock: bool,
    ) -> Result<()> {
        if self.listener.lock().is_some() {
            return Err(Errno::EINVAL);
        }
        if self.peer.get().is_some() {
            return Err(Errno::EISCONN);
        }
        let listener = self.find(caller, address)?;
        let owner = super::address::owner_of(caller);
        let server = UnixSocket::new(self.kind, listener.port.owner(), &listener.account);
        server.port.set_name(listener.port.name());
        self.port.set_owner(owner);
        let offer = || listener.offer(&server, self);
        match offer() {
            Some(result) => result,
            None if nonblock => Err(Errno::EAGAIN),
            None => {
                let waited = listener.backlog_room.wait(self.send_deadline(), offer);
                waited.unwrap_or_else(|error| Err(wait_error(error)))
            }
        }
    }

    /// Queues `server`, connected to `client`; `None` where the queue is full.
    fn offer(&self, server: &Arc<UnixSocket>, client: &UnixSocket) -> Option<Result<()>> {
        let mut slot = self.listener.lock();
        let Some(listener) = &mut *slot else {
            return Some(Err(Errno::ECONNREFUSED));
        };
        if self.port.is_dead() {
            return Some(Err(Errno::ECONNREFUSED));
        }
        // One more than asked for, as on Linux.
        if listener.queue.len() > listener.backlog {
            return None;
        }
        if client.peer.set(server.port.clone()).is_err() {
            return Some(Err(Errno::EISCONN));
        }
        let _ = server.peer.set(client.port.clone());
        listener.queue.push_back(server.clone());
        drop(slot);
        self.port.head.notify(Events::IN | Events::RDNORM);
        client.port.head.notify(Events::OUT | Events::WRNORM);
        Some(Ok(()))
    }

    pub(super) fn accept_one(&self, nonblock: bool) -> Result<Arc<UnixSocket>> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let take = || {
            let mut slot = self.listener.lock();
            let Some(listener) = &mut *slot else {
                return Some(Err(Errno::EINVAL));
            };
            match listener.queue.pop_front() {
                Some(socket) => Some(Ok(socket)),
                None if self.port.is_read_shut() => Some(Err(Errno::EINVAL)),
                None => None,
            }
        };
        let accepted = match take() {
            Some(result) => result?,
            None if nonblock => return Err(Errno::EAGAIN),
            None => {
                let deadline = self.receive_deadline();
                let waited = self.port.head.wait_exclusive(Events::IN, deadline, take);
                waited.map_err(wait_error)??
            }
        };
        self.backlog_room.wake_all();
        Ok(accepted)
    }

    /// connect(2) of datagram sockets: where messages go by default.
    pub(super) fn set_target(&self, caller: &dyn Caller, address: &[u8]) -> Result<()> {
        let family = address.first_chunk::<2>().ok_or(Errno::EINVAL)?;
        if u32::from(u16::from_ne_bytes(*family)) == AF_UNSPEC {
            let old = self.target.lock().take();
            drop(old);
            return Ok(());
        }
        let found = self.find(caller, address)?;
        self.may_send_to(&found)?;
        found.port.add_sender(&self.port);
        let old = self.target.lock().replace(found.port.clone());
        drop(old);
        Ok(())
    }

    /// A socket that has a partner takes messages from it only.
    fn may_send_to(&self, other: &UnixSocket) -> Result<()> {
        let theirs = other.target.lock().clone();
        match theirs {
            Some(partner) if !Arc::ptr_eq(&partner, &self.port) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }
}

/// Time-outs of sockets are `EAGAIN`.
pub(super) fn wait_error(error: WaitError) -> Errno {
    error.into()
}
