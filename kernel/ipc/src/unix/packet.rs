//! Messages: of datagram sockets and of connections that keep their boundaries.

use super::connect::wait_error;
use super::in_flight::InFlight;
use super::port::{PACKET_CAPACITY, Packet, Port};
use super::{Kind, UnixSocket};
use abi::Errno;
use abi::event::Events;
use abi::socket::{MSG_EOR, MSG_PEEK, MSG_TRUNC};
use alloc::sync::Arc;
use vfs::{ControlMessages, Received, Result, Sink, Source};

impl UnixSocket {
    pub(super) fn send_packet(
        &self,
        to: &Arc<Port>,
        data: &mut dyn Source,
        control: ControlMessages,
        nonblock: bool,
    ) -> Result<usize> {
        let len = data.left();
        if len > PACKET_CAPACITY {
            return Err(Errno::EMSGSIZE);
        }
        let dead = if self.kind == Kind::Datagram {
            Errno::ECONNREFUSED
        } else {
            Errno::EPIPE
        };
        let charge = to.charge(len)?;
        let mut bytes = alloc::vec![0; len];
        if data.take(&mut bytes)? != len {
            return Err(Errno::EFAULT);
        }
        let mut packet = Some(Packet {
            data: bytes,
            from: self.port.name(),
            control: InFlight::new(control, to),
            charge,
        });
        let mut push = || {
            if to.is_gone() {
                return Some(Err(dead));
            }
            if to.is_read_shut() {
                return Some(Err(Errno::EPIPE));
            }
            let mut inbox = to.inbox.lock();
            if to.is_gone() {
                return Some(Err(dead));
            }
            if !inbox.takes_packet(len) {
                return None;
            }
            inbox.packet_bytes += len;
            inbox.packets.extend(packet.take());
            to.refresh(&inbox);
            Some(Ok(len))
        };
        let sent = match push() {
            Some(result) => result,
            None if nonblock => Err(Errno::EAGAIN),
            None => {
                let waited = to.room.wait(self.send_deadline(), push);
                waited.unwrap_or_else(|error| Err(wait_error(error)))
            }
        };
        if sent.is_ok() {
            to.head.notify(Events::IN | Events::RDNORM);
        }
        sent
    }

    pub(super) fn receive_packet(
        &self,
        sink: &mut dyn Sink,
        flags: u32,
        nonblock: bool,
    ) -> Result<Received> {
        if self.kind == Kind::Seqpacket {
            self.connected()?;
        }
        let mut pull = || self.pull_packet(sink, flags);
        match pull() {
            Some(result) => result,
            None if nonblock => Err(Errno::EAGAIN),
            None => {
                let deadline = self.receive_deadline();
                let waited = self.port.head.wait_exclusive(Events::IN, deadline, pull);
                waited.unwrap_or_else(|error| Err(wait_error(error)))
            }
        }
    }

    /// Takes the first message; `None` where there is none yet.
    fn pull_packet(&self, sink: &mut dyn Sink, flags: u32) -> Option<Result<Received>> {
        let port = &self.port;
        let no_more = port.has_ended() || port.is_read_shut();
        let mut inbox = port.inbox.lock();
        let Some(packet) = inbox.packets.front() else {
            return no_more.then(|| Ok(Received::default()));
        };
        let full = packet.data.len();
        let count = match sink.put(&packet.data) {
            Ok(count) => count,
            Err(error) => return Some(Err(error)),
        };
        let mut received = Received {
            len: if flags & MSG_TRUNC != 0 { full } else { count },
            flags: if count < full { MSG_TRUNC } else { 0 },
            ..Received::default()
        };
        if self.kind == Kind::Seqpacket {
            received.flags |= MSG_EOR;
        } else {
            received.from = Some(packet.from.clone());
        }
        if flags & MSG_PEEK != 0 {
            received.control = packet.control.copy();
            return Some(Ok(received));
        }
        let taken = inbox.packets.pop_front();
        inbox.packet_bytes -= full;
        port.refresh(&inbox);
        drop(inbox);
        if let Some(packet) = taken {
            received.control = packet.control.take();
            drop(packet.charge);
        }
        port.packet_taken();
        if let Some(peer) = self.peer.get() {
            peer.head.notify(Events::OUT | Events::WRNORM);
        }
        Some(Ok(received))
    }
}
