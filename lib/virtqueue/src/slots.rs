//! [`Slots`]: the driver's own record of every descriptor.
//!
//! Which descriptors are free, how they are chained and which request each
//! head stands for is kept here, in memory that the device cannot reach.

use alloc::boxed::Box;

use crate::DeviceError;

struct Slot<T> {
    /// The request, if this descriptor is the head of one in flight.
    token: Option<T>,
    /// When the request was added, for ordered recovery.
    sequence: u64,
    /// Bytes that the device may write for it.
    writable: u32,
    /// Descriptors that it holds.
    count: u16,
    /// The next descriptor of its chain, or of the free list.
    next: u16,
}

/// All descriptors of one queue.
pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    free_head: u16,
    free_count: u16,
    in_flight: u16,
    next_sequence: u64,
}

impl<T> Slots<T> {
    pub fn new(size: u16) -> Self {
        let slot = |next| Slot {
            token: None,
            sequence: 0,
            writable: 0,
            count: 0,
            next,
        };
        // The last one's link wraps to 0; it is never followed, since free_count ends first.
        let slots = (1..=size).map(|next| slot(next % size)).collect();
        Self {
            slots,
            free_head: 0,
            free_count: size,
            in_flight: 0,
            next_sequence: 0,
        }
    }

    /// The descriptor that the next request gets as its head.
    pub fn free_head(&self) -> u16 {
        self.free_head
    }

    pub fn free_count(&self) -> u16 {
        self.free_count
    }

    pub fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// The descriptor after `index` in the free list.
    pub fn next(&self, index: u16) -> u16 {
        self.slots[usize::from(index)].next
    }

    /// Takes the first `count` free descriptors for a request, of which
    /// `tail` is the last.
    #[inline]
    pub fn take(&mut self, count: u16, tail: u16, writable: u32, token: T) {
        let head = self.free_head;
        self.free_head = self.next(tail);
        self.free_count -= count;
        self.in_flight += 1;
        let slot = &mut self.slots[usize::from(head)];
        slot.token = Some(token);
        slot.sequence = self.next_sequence;
        slot.writable = writable;
        slot.count = count;
        self.next_sequence += 1;
    }

    /// Ends the request that the device completed by `id`, which it says to
    /// have written `length` bytes for.
    pub fn complete(&mut self, id: u32, length: u32) -> Result<(u16, T), DeviceError> {
        let unknown = DeviceError::Id { found: id };
        let slot = self.slots.get_mut(id as usize).ok_or(unknown)?;
        let head = id as u16;
        if slot.token.is_some() && length > slot.writable {
            return Err(DeviceError::Length {
                id: head,
                found: length,
                allowed: slot.writable,
            });
        }
        let token = slot.token.take().ok_or(unknown)?;
        self.release(head);
        Ok((head, token))
    }

    /// Puts the chain of `head` back on the free list.
    fn release(&mut self, head: u16) {
        let count = self.slots[usize::from(head)].count;
        let tail = (1..count).fold(head, |index, _| self.next(index));
        self.slots[usize::from(tail)].next = self.free_head;
        self.free_head = head;
        self.free_count += count;
        self.in_flight -= 1;
    }

    /// Ends the request that was added first, without the device's word.
    pub fn take_oldest(&mut self) -> Option<(u16, T)> {
        let flying = (0u16..)
            .zip(self.slots.iter())
            .filter(|(_, slot)| slot.token.is_some());
        let (head, _) = flying.min_by_key(|(_, slot)| slot.sequence)?;
        let token = self.slots[usize::from(head)].token.take()?;
        self.release(head);
        Some((head, token))
    }
}
