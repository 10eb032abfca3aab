//! A binary heap of *slots*, small numbers that stand for whatever the owner
//! keeps under them, ordered by a key. Unlike the heap of `alloc`, it removes
//! any slot, not only the least, in logarithmic time: queues of timers and of
//! threads need that.
//!
//! The main type is [`IndexedHeap`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

#[cfg(test)]
mod tests;

/// What a heap orders by.
pub trait Key: Copy {
    /// Whether this key comes before another. Must be a strict order among
    /// the keys that are in a heap at one time.
    fn precedes(self, other: Self) -> bool;
}

impl Key for u64 {
    #[inline]
    fn precedes(self, other: Self) -> bool {
        self < other
    }
}

#[derive(Clone, Copy, Debug)]
struct Item<K> {
    key: K,
    slot: u32,
}

/// The heap. It holds a slot at most once.
#[derive(Debug)]
pub struct IndexedHeap<K> {
    items: Vec<Item<K>>,
    /// Where each slot was last put in `items`; it is there if it still is.
    positions: Vec<u32>,
}

impl<K: Key> IndexedHeap<K> {
    /// An empty heap.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            items: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Makes room for slots 0 to `count` - 1. Other slots must not be pushed.
    pub fn reserve(&mut self, count: usize) {
        if count > self.positions.len() {
            self.positions.resize(count, 0);
            self.items.reserve(count - self.items.len());
        }
    }

    /// The number of slots in the heap.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The least key and its slot.
    #[must_use]
    #[inline]
    pub fn top(&self) -> Option<(K, u32)> {
        self.items.first().map(|item| (item.key, item.slot))
    }

    /// Adds a slot that is not in the heap and for which there is room.
    #[inline(always)]
    pub fn push(&mut self, key: K, slot: u32) {
        let at = self.items.len();
        let item = Item { key, slot };
        self.items.push(item);
        if at == 0 {
            self.positions[slot as usize] = 0;
        } else {
            self.rise(at, item);
        }
    }

    /// Removes the least key.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(K, u32)> {
        let last = self.items.pop()?;
        let Some(top) = self.items.first_mut() else {
            return Some((last.key, last.slot));
        };
        let top = core::mem::replace(top, last);
        self.sink(0, last);
        Some((top.key, top.slot))
    }

    /// Removes a slot; its key, or none if it was not there.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> Option<K> {
        let at = self.position(slot)?;
        let last = self.items.pop()?;
        let Some(place) = self.items.get_mut(at) else {
            return Some(last.key);
        };
        let gone = core::mem::replace(place, last);
        if last.key.precedes(gone.key) {
            self.rise(at, last);
        } else {
            self.sink(at, last);
        }
        Some(gone.key)
    }

    /// The key of a slot, if it is in the heap.
    #[must_use]
    pub fn key(&self, slot: u32) -> Option<K> {
        self.position(slot).map(|at| self.items[at].key)
    }

    /// All slots, the least first, the others in no order that means anything
    /// but that the last ones tend to have large keys.
    pub fn slots(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.items.iter().map(|item| item.slot)
    }

    #[inline]
    fn position(&self, slot: u32) -> Option<usize> {
        let at = *self.positions.get(slot as usize)? as usize;
        (self.items.get(at)?.slot == slot).then_some(at)
    }

    fn rise(&mut self, mut at: usize, item: Item<K>) {
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.items[parent];
            if !item.key.precedes(above.key) {
                break;
            }
            self.place(at, above);
            at = parent;
        }
        self.place(at, item);
    }

    fn sink(&mut self, mut at: usize, item: Item<K>) {
        loop {
            let left = 2 * at + 1;
            let Some(&first) = self.items.get(left) else {
                break;
            };
            let (child, below) = match self.items.get(left + 1) {
                Some(&second) if second.key.precedes(first.key) => (left + 1, second),
                _ => (left, first),
            };
            if !below.key.precedes(item.key) {
                break;
            }
            self.place(at, below);
            at = child;
        }
        self.place(at, item);
    }

    #[inline]
    fn place(&mut self, at: usize, item: Item<K>) {
        self.items[at] = item;
        self.positions[item.slot as usize] = at as u32;
    }
}

impl<K: Key> Default for IndexedHeap<K> {
    fn default() -> Self {
        Self::new()
    }
}
