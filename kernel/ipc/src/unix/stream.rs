//! Bytes over a connection.
//!
//! Ancillary data hangs at a place in the stream. A receipt that starts there
//! gets it, and no receipt goes past such a place.

use super::UnixSocket;
use super::connect::wait_error;
use super::in_flight::InFlight;
use super::port::{Inbox, Mark, Port};
use abi::Errno;
use abi::event::Events;
use abi::socket::{MSG_PEEK, MSG_WAITALL};
use vfs::{ControlMessages, Received, Result, Sink, Source};

const READABLE: Events = Events::IN.union(Events::RDNORM);
const WRITABLE: Events = Events::OUT.union(Events::WRNORM);

fn is_empty(control: &ControlMessages) -> bool {
    control.files.is_empty() && control.credentials.is_none()
}

impl UnixSocket {
    pub(super) fn send_stream(
        &self,
        data: &mut dyn Source,
        control: ControlMessages,
        nonblock: bool,
    ) -> Result<usize> {
        let peer = self.connected()?;
        let mut control = Some(control).filter(|control| !is_empty(control));
        let mut done = 0;
        while data.left() > 0 {
            let step = match push(peer, data, &mut control) {
                Some(step) => step,
                None if nonblock => Err(Errno::EAGAIN),
                None => {
                    let push = || push(peer, data, &mut control);
                    let waited = self.port.head.wait(Events::OUT, self.send_deadline(), push);
                    waited.unwrap_or_else(|error| Err(wait_error(error)))
                }
            };
            match step {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    pub(super) fn receive_stream(
        &self,
        sink: &mut dyn Sink,
        flags: u32,
        nonblock: bool,
    ) -> Result<Received> {
        let peer = self.connected().map_err(|_| Errno::EINVAL)?;
        let mut received = Received::default();
        let peek = flags & MSG_PEEK != 0;
        let fill = flags & MSG_WAITALL != 0 && !peek;
        if sink.room() == 0 {
            return Ok(received);
        }
        let deadline = self.receive_deadline();
        loop {
            let step = match self.pull(peer, sink, &mut received, peek) {
                Some(step) => step,
                None if nonblock => Err(Errno::EAGAIN),
                None => {
                    let pull = || self.pull(peer, sink, &mut received, peek);
                    let waited = self.port.head.wait(Events::IN, deadline, pull);
                    waited.unwrap_or_else(|error| Err(wait_error(error)))
                }
            };
            match step {
                Ok(0) => break,
                Ok(count) => received.len += count,
                Err(error) if received.len == 0 => return Err(error),
                Err(_) => break,
            }
            if !fill || sink.room() == 0 || !is_empty(&received.control) {
                break;
            }
        }
        Ok(received)
    }

    /// Takes what is there; `None` where that is nothing yet.
    fn pull(
        &self,
        peer: &Port,
        sink: &mut dyn Sink,
        received: &mut Received,
        peek: bool,
    ) -> Option<Result<usize>> {
        let port = &self.port;
        // Looked at first: what is sent before the end is then seen below.
        let no_more = port.has_ended() || port.is_read_shut();
        let mut inbox = port.inbox.lock();
        if inbox.ring.len() == 0 {
            drop(inbox);
            if port.has_error() {
                let code = port.take_error();
                return (code != 0).then_some(Err(Errno::ECONNRESET));
            }
            return no_more.then_some(Ok(0));
        }
        if received.len > 0
            && inbox
                .marks
                .front()
                .is_some_and(|mark| mark.at == inbox.taken)
        {
            return Some(Ok(0));
        }
        let limit = take_mark(&mut inbox, received, peek);
        let result = if peek {
            inbox.ring.peek(sink, limit)
        } else {
            inbox.ring.pop(sink, limit)
        };
        if let (Ok(count), false) = (result, peek) {
            inbox.taken += count as u64;
            port.refresh_bytes(&inbox);
        }
        drop(inbox);
        if !peek {
            peer.head.notify(WRITABLE);
        }
        Some(result)
    }
}

/// Takes the ancillary data at the front, if any, and returns how many bytes
/// there are before the next.
fn take_mark(inbox: &mut Inbox, received: &mut Received, peek: bool) -> usize {
    let here = inbox.taken;
    let at_front = inbox.marks.front().is_some_and(|mark| mark.at == here);
    if at_front && peek {
        if let Some(mark) = inbox.marks.front() {
            received.control = mark.control.copy();
        }
    } else if at_front && let Some(mark) = inbox.marks.pop_front() {
        received.control = mark.control.take();
    }
    let next = inbox.marks.iter().find(|mark| mark.at > here);
    next.map_or(usize::MAX, |mark| (mark.at - here) as usize)
}

/// Puts in what fits; `None` where nothing does.
fn push(
    peer: &Port,
    data: &mut dyn Source,
    control: &mut Option<ControlMessages>,
) -> Option<Result<usize>> {
    if peer.is_dead() {
        return Some(Err(Errno::EPIPE));
    }
    let mut inbox = peer.inbox.lock();
    if peer.is_dead() {
        // Closed while this waited for the lock: nobody would empty it again.
        return Some(Err(Errno::EPIPE));
    }
    let room = inbox.ring.room();
    if room == 0 {
        return None;
    }
    let at = inbox.sent();
    let count = data.left().min(room);
    let result = inbox.ring.push(data, count);
    if result.is_ok()
        && let Some(control) = control.take()
    {
        let control = InFlight::new(control, peer);
        inbox.marks.push_back(Mark { at, control });
    }
    peer.refresh_bytes(&inbox);
    drop(inbox);
    peer.head.notify(READABLE);
    Some(result)
}
