//! A driver's side of a queue, for the tests of devices: [`TestRing`] lays out
//! a ring in guest memory, adds requests and reads what was used.
//!
//! It writes whatever it is told to, so tests can break every rule.

use crate::{GuestMemory, VirtQueue};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
/// First address that a test may use for its buffers.
pub const BUFFERS: u64 = 0x4000;
/// Bytes of guest memory.
pub const MEMORY_LEN: usize = 0x4_0000;

/// One descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    /// Guest address of the buffer.
    pub address: u64,
    /// Its bytes.
    pub len: u32,
    /// 1: goes on, 2: for the device to write, 4: indirect.
    pub flags: u16,
    /// The next one.
    pub next: u16,
}

/// A ring of 16 entries in memory of its own.
pub struct TestRing {
    /// The memory.
    pub memory: GuestMemory,
    /// The device's side.
    pub queue: VirtQueue,
    next_descriptor: u16,
    available: u16,
}

impl Default for TestRing {
    fn default() -> Self {
        Self::new()
    }
}

impl TestRing {
    /// Entries of the ring.
    pub const SIZE: u16 = 16;

    /// An empty ring that is ready.
    ///
    /// # Panics
    /// If memory cannot be had.
    pub fn new() -> Self {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_LEN)])
            .expect("invariant: tests have memory");
        let mut queue = VirtQueue::new(Self::SIZE);
        let ring = queue.ring_mut();
        ring.set_size(Self::SIZE);
        ring.set_desc_table_address(Some(DESCRIPTORS as u32), Some(0));
        ring.set_avail_ring_address(Some(AVAILABLE as u32), Some(0));
        ring.set_used_ring_address(Some(USED as u32), Some(0));
        ring.set_ready(true);
        Self {
            memory,
            queue,
            next_descriptor: 0,
            available: 0,
        }
    }

    /// Writes a descriptor as it is.
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        let at = GuestAddress(DESCRIPTORS + 16 * u64::from(index));
        let Descriptor {
            address,
            len,
            flags,
            next,
        } = descriptor;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory
            .write_slice(&bytes, at)
            .expect("invariant: the table is in memory");
    }

    /// Offers the chain that starts at descriptor `head`.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.available % Self::SIZE);
        self.put_u16(AVAILABLE + 4 + 2 * slot, head);
        self.available = self.available.wrapping_add(1);
        self.put_u16(AVAILABLE + 2, self.available);
    }

    /// Sets the available index to anything.
    pub fn set_available(&mut self, index: u16) {
        self.available = index;
        self.put_u16(AVAILABLE + 2, index);
    }

    /// Adds a request of (address, length, is for the device to write) and
    /// returns its head.
    pub fn add(&mut self, buffers: &[(u64, u32, bool)]) -> u16 {
        let head = self.next_descriptor;
        for (index, (address, len, is_writable)) in buffers.iter().enumerate() {
            let this = self.next_descriptor;
            self.next_descriptor = (this + 1) % Self::SIZE;
            let has_next = index + 1 < buffers.len();
            let flags = u16::from(has_next) | u16::from(*is_writable) << 1;
            let next = self.next_descriptor;
            self.write_descriptor(
                this,
                Descriptor {
                    address: *address,
                    len: *len,
                    flags,
                    next,
                },
            );
        }
        self.offer(head);
        head
    }

    /// What the device gave back: (head, bytes written) each.
    pub fn used(&self) -> Vec<(u32, u32)> {
        let count = u64::from(self.get_u16(USED + 2));
        let word = |at| {
            self.memory
                .read_obj::<u32>(GuestAddress(at))
                .unwrap_or(u32::MAX)
        };
        let entry = |i: u64| USED + 4 + 8 * (i % u64::from(Self::SIZE));
        (0..count)
            .map(|i| (word(entry(i)), word(entry(i) + 4)))
            .collect()
    }

    fn put_u16(&self, at: u64, value: u16) {
        let result = self.memory.write_obj(value, GuestAddress(at));
        result.expect("invariant: the rings are in memory");
    }

    fn get_u16(&self, at: u64) -> u16 {
        self.memory.read_obj(GuestAddress(at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueueFault, Served};

    #[test]
    fn requests_are_served_in_order_and_given_back() {
        let mut ring = TestRing::new();
        ring.add(&[(BUFFERS, 4, false), (BUFFERS + 16, 8, true)]);
        ring.add(&[(BUFFERS + 32, 2, true)]);
        let mut seen = Vec::new();
        let memory = ring.memory.clone();
        let interrupt = ring.queue.serve_all(&memory, |chain| {
            seen.push((chain.readable.len(), chain.writable.len()));
            chain.writable.len() as u32
        });
        assert_eq!(
            interrupt,
            Ok(Served {
                wants_interrupt: true,
                has_more: false
            })
        );
        assert_eq!(seen, [(4, 8), (0, 2)]);
        assert_eq!(ring.used(), [(0, 8), (2, 2)]);
    }

    #[test]
    fn broken_rules_are_faults() {
        let mut ring = TestRing::new();
        ring.add(&[(BUFFERS, 4, true), (BUFFERS, 4, false)]);
        let memory = ring.memory.clone();
        assert_eq!(ring.queue.serve_all(&memory, |_| 0), Err(QueueFault::Order));

        let mut ring = TestRing::new();
        ring.add(&[(MEMORY_LEN as u64 - 1, 2, false)]);
        let memory = ring.memory.clone();
        assert_eq!(
            ring.queue.serve_all(&memory, |_| 0),
            Err(QueueFault::Address)
        );

        let mut ring = TestRing::new();
        ring.set_available(TestRing::SIZE + 1);
        let memory = ring.memory.clone();
        assert_eq!(ring.queue.serve_all(&memory, |_| 0), Err(QueueFault::Ring));
    }

    #[test]
    fn a_driver_that_is_never_done_is_left_after_one_ring_full() {
        let mut ring = TestRing::new();
        for _ in 0..TestRing::SIZE {
            ring.add(&[(BUFFERS, 1, true)]);
        }
        let memory = ring.memory.clone();
        let served = ring.queue.serve_all(&memory, |_| 1).unwrap();
        assert_eq!(
            served,
            Served {
                wants_interrupt: true,
                has_more: true
            }
        );
        ring.add(&[(BUFFERS, 1, true)]);
        let served = ring.queue.serve_all(&memory, |_| 1).unwrap();
        assert_eq!(
            served,
            Served {
                wants_interrupt: true,
                has_more: false
            }
        );
    }

    #[test]
    fn a_loop_of_descriptors_ends() {
        let mut ring = TestRing::new();
        let descriptor = Descriptor {
            address: BUFFERS,
            len: 1,
            flags: 1,
            next: 0,
        };
        ring.write_descriptor(0, descriptor);
        ring.offer(0);
        let memory = ring.memory.clone();
        let mut len = 0;
        assert!(
            ring.queue
                .serve_all(&memory, |chain| {
                    len = chain.readable.len();
                    0
                })
                .is_ok()
        );
        assert!(len <= u64::from(TestRing::SIZE));
    }
}
