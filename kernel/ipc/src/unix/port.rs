//! [`Port`]: where a socket receives. The socket owns it; who sends to the socket
//! holds it too.

use super::in_flight::InFlight;
use super::{FAMILY, Kind};
use crate::ring::Ring;
use abi::Errno;
use abi::event::Events;
use abi::socket::Ucred;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use pages::{Account, Charge, PAGE_SIZE};
use sync::SpinLock;
use vfs::{Address, PollHead, Result};
use wait::{Mutex, WaitQueue};

/// Bytes that a stream holds.
const STREAM_CAPACITY: usize = 256 * 1024;
/// Bytes of messages that wait.
pub(super) const PACKET_CAPACITY: usize = 208 * 1024;
/// Messages that wait.
const MAX_PACKETS: usize = 512;

/// Ancillary data at a place of a stream.
pub(super) struct Mark {
    /// Bytes sent before it.
    pub at: u64,
    pub control: InFlight,
}

/// A message that waits.
pub(super) struct Packet {
    pub data: Vec<u8>,
    pub from: Address,
    pub control: InFlight,
    pub charge: Charge,
}

/// What was sent and not yet received.
pub(super) struct Inbox {
    pub ring: Ring,
    /// Bytes taken out of the ring so far.
    pub taken: u64,
    pub marks: VecDeque<Mark>,
    pub packets: VecDeque<Packet>,
    pub packet_bytes: usize,
}

impl Inbox {
    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.taken + self.ring.len() as u64
    }

    /// Is there room for a message of `len` bytes?
    pub fn takes_packet(&self, len: usize) -> bool {
        self.packets.is_empty()
            || self.packets.len() < MAX_PACKETS && self.packet_bytes + len <= PACKET_CAPACITY
    }
}

/// Where a socket receives.
pub(super) struct Port {
    pub kind: Kind,
    pub inbox: Mutex<Inbox>,
    pub head: PollHead,
    /// Senders of messages that wait for room.
    pub room: WaitQueue,
    /// Copies of the inbox's counts, for poll: bytes of a stream, or messages
    /// and their bytes.
    bytes: AtomicUsize,
    packets: AtomicUsize,
    /// Length of the first message.
    first_len: AtomicUsize,
    /// The other side sends no more.
    ended: AtomicBool,
    read_shut: AtomicBool,
    /// The socket is gone.
    gone: AtomicBool,
    error: AtomicI32,
    pass_credentials: AtomicBool,
    name: SpinLock<Address>,
    owner: SpinLock<Ucred>,
    /// Ports of datagram sockets that send here by default.
    senders: SpinLock<Vec<Weak<Port>>>,
    pub account: Account,
}

impl Port {
    pub fn new(kind: Kind, owner: Ucred, account: &Account) -> Arc<Self> {
        let inbox = Inbox {
            ring: Ring::new(STREAM_CAPACITY, account.clone()),
            taken: 0,
            marks: VecDeque::new(),
            packets: VecDeque::new(),
            packet_bytes: 0,
        };
        Arc::new(Self {
            kind,
            inbox: Mutex::new(inbox),
            head: PollHead::new(),
            room: WaitQueue::new(),
            bytes: AtomicUsize::new(0),
            packets: AtomicUsize::new(0),
            first_len: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            read_shut: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            error: AtomicI32::new(0),
            pass_credentials: AtomicBool::new(false),
            name: SpinLock::new(FAMILY.to_vec()),
            owner: SpinLock::new(owner),
            senders: SpinLock::new(Vec::new()),
            account: account.clone(),
        })
    }

    /// Charges for a message's bytes, in whole pages' worth.
    pub fn charge(&self, len: usize) -> Result<Charge> {
        Ok(self.account.charge(len.div_ceil(PAGE_SIZE) as u64)?)
    }

    /// The inbox has changed: the counts beside it follow.
    pub fn refresh(&self, inbox: &Inbox) {
        self.bytes
            .store(inbox.ring.len() + inbox.packet_bytes, Ordering::Release);
        self.packets.store(inbox.packets.len(), Ordering::Release);
        let first = inbox.packets.front().map_or(0, |packet| packet.data.len());
        self.first_len.store(first, Ordering::Release);
    }

    /// The same for a stream, which has only bytes.
    #[inline]
    pub fn refresh_bytes(&self, inbox: &Inbox) {
        self.bytes.store(inbox.ring.len(), Ordering::Release);
    }

    pub fn is_empty(&self) -> bool {
        match self.kind {
            Kind::Stream => self.bytes.load(Ordering::Acquire) == 0,
            _ => self.packets.load(Ordering::Acquire) == 0,
        }
    }

    /// Bytes for `FIONREAD`: of a stream, or of the next message.
    pub fn next_len(&self) -> usize {
        match self.kind {
            Kind::Stream => self.bytes.load(Ordering::Acquire),
            _ => self.first_len.load(Ordering::Acquire),
        }
    }

    /// Room enough to tell a poller of it?
    pub fn has_much_room(&self) -> bool {
        match self.kind {
            Kind::Stream => self.bytes.load(Ordering::Acquire) <= STREAM_CAPACITY / 2,
            _ => self.has_packet_room(),
        }
    }

    pub fn has_packet_room(&self) -> bool {
        self.packets.load(Ordering::Acquire) < MAX_PACKETS
            && self.bytes.load(Ordering::Acquire) <= PACKET_CAPACITY / 2
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub fn is_read_shut(&self) -> bool {
        self.read_shut.load(Ordering::Acquire)
    }

    pub fn shut_reading(&self) {
        self.read_shut.store(true, Ordering::Release);
        self.room.wake_all();
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Does nobody read here any more?
    pub fn is_dead(&self) -> bool {
        self.is_gone() || self.is_read_shut()
    }

    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::Acquire) != 0
    }

    /// The pending error, which is then none.
    pub fn take_error(&self) -> i32 {
        self.error.swap(0, Ordering::AcqRel)
    }

    pub fn passes_credentials(&self) -> bool {
        self.pass_credentials.load(Ordering::Relaxed)
    }

    pub fn set_passes_credentials(&self, on: bool) {
        self.pass_credentials.store(on, Ordering::Relaxed);
    }

    pub fn name(&self) -> Address {
        self.name.lock().clone()
    }

    pub fn set_name(&self, name: Address) {
        *self.name.lock() = name;
    }

    pub fn owner(&self) -> Ucred {
        *self.owner.lock()
    }

    pub fn set_owner(&self, owner: Ucred) {
        *self.owner.lock() = owner;
    }

    pub fn add_sender(&self, sender: &Arc<Port>) {
        let mut senders = self.senders.lock();
        senders.retain(|known| known.strong_count() > 0);
        senders.push(Arc::downgrade(sender));
    }

    /// A message was taken: whoever waits to send may go on.
    pub fn packet_taken(&self) {
        self.room.wake_all();
        let senders: Vec<_> = self
            .senders
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for sender in senders {
            sender.head.notify(Events::OUT | Events::WRNORM);
        }
    }

    /// The socket is gone. Returns whether anything was left unread.
    pub fn close(&self) -> bool {
        self.gone.store(true, Ordering::Release);
        let unread = self.discard();
        self.packet_taken();
        unread
    }

    /// Drops what waits. Returns whether anything did.
    pub fn discard(&self) -> bool {
        let (marks, packets, unread) = {
            let mut inbox = self.inbox.lock();
            let bytes = inbox.ring.len();
            let unread = bytes > 0 || !inbox.packets.is_empty();
            inbox.ring.consume(bytes);
            inbox.taken += bytes as u64;
            inbox.packet_bytes = 0;
            let marks = core::mem::take(&mut inbox.marks);
            let packets = core::mem::take(&mut inbox.packets);
            self.refresh(&inbox);
            (marks, packets, unread)
        };
        // Files in flight may be the last of their kind: without locks.
        drop((marks, packets));
        unread
    }

    /// The other side is gone; `reset` where it left bytes unread.
    pub fn peer_gone(&self, reset: bool) {
        if reset {
            self.error
                .store(Errno::ECONNRESET.code(), Ordering::Release);
        }
        self.end();
        self.head
            .notify(Events::IN | Events::OUT | Events::HUP | Events::RDHUP);
    }
}
