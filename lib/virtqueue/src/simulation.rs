//! The device's side of a queue over plain memory, for tests of drivers.
//!
//! [`SharedMemory`] stands for RAM with physical addresses; [`DeviceSide`]
//! reads requests from it as hardware would, checking every rule that binds
//! the driver (virtio 1.2, section 2.7), and panics where one is broken: the
//! panic is the failing test.

use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use crate::queue::passes;
use crate::{Layout, QueueFeatures, QueueMemory, Segment};

/// RAM from physical address `base` on; clones share it.
#[derive(Clone)]
pub struct SharedMemory {
    base: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl SharedMemory {
    /// `length` bytes of zero at physical address `base`.
    pub fn new(base: u64, length: usize) -> Self {
        Self {
            base,
            bytes: Arc::new(Mutex::new(std::vec![0; length])),
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes
            .lock()
            .expect("invariant: no test panics while it holds the bytes")
    }

    /// Bytes at a physical address.
    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let start = (address - self.base) as usize;
        self.bytes()[start..start + length].to_vec()
    }

    /// Changes bytes at a physical address.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        let start = (address - self.base) as usize;
        self.bytes()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert_eq!(
            offset % N,
            0,
            "access of {N} bytes at {offset:#x} is not aligned"
        );
        self.bytes()[offset..offset + N]
            .try_into()
            .expect("invariant: N bytes")
    }
}

impl QueueMemory for SharedMemory {
    fn length(&self) -> usize {
        self.bytes().len()
    }

    fn device_address(&self, offset: usize) -> u64 {
        self.base + offset as u64
    }

    fn read_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }

    fn read_u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.get(offset))
    }

    fn write_u16(&self, offset: usize, value: u16) {
        assert_eq!(
            offset % 2,
            0,
            "write of 2 bytes at {offset:#x} is not aligned"
        );
        self.write(self.base + offset as u64, &value.to_le_bytes());
    }

    fn write_u64(&self, offset: usize, value: u64) {
        assert_eq!(
            offset % 8,
            0,
            "write of 8 bytes at {offset:#x} is not aligned"
        );
        self.write(self.base + offset as u64, &value.to_le_bytes());
    }
}

/// A request as the device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The head descriptor.
    pub id: u16,
    /// Its data, in order.
    pub segments: Vec<Segment>,
}

impl Request {
    /// Bytes that the device may write.
    pub fn writable(&self) -> u32 {
        self.segments
            .iter()
            .filter(|s| s.device_writes)
            .map(|s| s.length)
            .sum()
    }
}

/// The device's view of one queue.
pub struct DeviceSide<M> {
    memory: M,
    features: QueueFeatures,
    size: u16,
    addresses: [u64; 3],
    /// Requests taken.
    next_available: u16,
    /// Completions given.
    used: u16,
    signalled: u16,
    /// Whether the next request must have been told of.
    asleep: bool,
}

impl<M: QueueMemory> DeviceSide<M> {
    /// A device on the queue that the driver set up with these `addresses`
    /// (descriptors, available ring, used ring), all inside `memory`.
    pub fn new(memory: M, size: u16, addresses: [u64; 3], features: QueueFeatures) -> Self {
        let (next_available, used, signalled) = (0, 0, 0);
        Self {
            memory,
            features,
            size,
            addresses,
            next_available,
            used,
            signalled,
            asleep: true,
        }
    }

    /// The same, for a queue at the start of `memory`.
    pub fn over(memory: M, layout: &Layout, features: QueueFeatures) -> Self {
        let parts = [layout.descriptors(), layout.available(), layout.used()];
        let addresses = parts.map(|offset| memory.device_address(offset));
        Self::new(memory, layout.size(), addresses, features)
    }

    fn offset(&self, address: u64) -> usize {
        (address - self.memory.device_address(0)) as usize
    }

    fn part(&self, part: usize, offset: usize) -> usize {
        self.offset(self.addresses[part]) + offset
    }

    /// Takes the next request that the driver published.
    pub fn take(&mut self) -> Option<Request> {
        let index = self.memory.read_u16(self.part(1, 2));
        let ahead = index.wrapping_sub(self.next_available);
        assert!(
            ahead <= self.size,
            "available index runs {ahead} ahead of the device"
        );
        if ahead == 0 {
            return None;
        }
        let slot = usize::from(self.next_available % self.size);
        let id = self.memory.read_u16(self.part(1, 4 + 2 * slot));
        self.next_available = self.next_available.wrapping_add(1);
        Some(Request {
            id,
            segments: self.walk(id),
        })
    }

    fn walk(&self, head: u16) -> Vec<Segment> {
        let table = self.part(0, 0);
        let (address, length, flags, _) = self.descriptor(table, head, self.size);
        if flags & 4 != 0 {
            assert!(
                self.features.indirect,
                "indirect descriptors were not negotiated"
            );
            assert_eq!(flags, 4, "an indirect descriptor has no other flag");
            let entries = u16::try_from(length / 16).expect("invariant: a table of few entries");
            return self.follow(self.offset(address), 0, entries);
        }
        self.follow(table, head, self.size)
    }

    fn follow(&self, table: usize, first: u16, entries: u16) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut index = first;
        loop {
            let (address, length, flags, next) = self.descriptor(table, index, entries);
            let device_writes = flags & 2 != 0;
            let order = segments
                .last()
                .is_none_or(|last| device_writes || !last.device_writes);
            assert!(order, "a segment to be read follows one to be written");
            assert!(length > 0, "segment of length 0");
            segments.push(Segment {
                address,
                length,
                device_writes,
            });
            assert!(
                segments.len() <= usize::from(entries),
                "the chain is a loop"
            );
            if flags & 1 == 0 {
                return segments;
            }
            index = next;
        }
    }

    fn descriptor(&self, table: usize, index: u16, entries: u16) -> (u64, u32, u16, u16) {
        assert!(index < entries, "descriptor {index} of {entries}");
        let offset = table + usize::from(index) * 16;
        let (address, word) = (
            self.memory.read_u64(offset),
            self.memory.read_u64(offset + 8),
        );
        (
            address,
            word as u32,
            (word >> 32) as u16,
            (word >> 48) as u16,
        )
    }

    /// Completes a request. Returns whether the driver wants an interrupt.
    pub fn complete(&mut self, id: u16, written: u32) -> bool {
        self.put_used(u32::from(id), written);
        self.wants_interrupt()
    }

    /// Writes a used element, true or not, and moves the index.
    pub fn put_used(&mut self, id: u32, written: u32) {
        let slot = usize::from(self.used % self.size);
        let element = u64::from(id) | u64::from(written) << 32;
        self.memory.write_u64(self.part(2, 4 + 8 * slot), element);
        self.used = self.used.wrapping_add(1);
        self.set_used_index(self.used);
    }

    /// Writes the used index, true or not.
    pub fn set_used_index(&mut self, index: u16) {
        self.memory.write_u16(self.part(2, 2), index);
    }

    fn wants_interrupt(&mut self) -> bool {
        let old = core::mem::replace(&mut self.signalled, self.used);
        if self.features.event_index {
            let event = self.part(1, 4 + 2 * usize::from(self.size));
            passes(self.memory.read_u16(event), old, self.used)
        } else {
            self.memory.read_u16(self.part(1, 0)) & 1 == 0
        }
    }

    /// Says that the device sleeps until it is told of a request (`true`), or
    /// looks by itself.
    pub fn set_asleep(&mut self, asleep: bool) {
        self.asleep = asleep;
        if self.features.event_index {
            let event = if asleep {
                self.next_available
            } else {
                self.next_available.wrapping_sub(1)
            };
            self.memory
                .write_u16(self.part(2, 4 + 8 * usize::from(self.size)), event);
        } else {
            self.memory.write_u16(self.part(2, 0), u16::from(!asleep));
        }
    }

    /// Whether the device sleeps until it is told.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }
}
