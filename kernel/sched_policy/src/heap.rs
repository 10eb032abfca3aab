//! A binary heap of slots by a wrapping 64-bit key, with removal of any slot.

use alloc::vec::Vec;

use crate::slots::Slot;

#[derive(Clone, Copy, Debug)]
struct Item {
    key: u64,
    slot: Slot,
}

impl Item {
    /// Keys are less than half of their range apart, so the sign of their
    /// difference orders them also where they wrap.
    #[inline]
    const fn precedes(self, other: Self) -> bool {
        (self.key.wrapping_sub(other.key) as i64) < 0
    }
}

/// The heap; the least key is on top.
#[derive(Debug)]
pub(crate) struct Heap {
    items: Vec<Item>,
    /// Where each slot was last put in `items`; it is there if it still is.
    positions: Vec<u32>,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self {
            items: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Makes room for slots 0 to `count` - 1.
    pub(crate) fn reserve(&mut self, count: usize) {
        if count > self.positions.len() {
            self.positions.resize(count, 0);
            self.items.reserve(count - self.items.len());
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(crate) fn top(&self) -> Option<(u64, Slot)> {
        self.items.first().map(|item| (item.key, item.slot))
    }

    #[inline]
    pub(crate) fn push(&mut self, key: u64, slot: Slot) {
        let at = self.items.len();
        let item = Item { key, slot };
        self.items.push(item);
        if at == 0 {
            self.positions[slot.index()] = 0;
        } else {
            self.rise(at, item);
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u64, Slot)> {
        let last = self.items.pop()?;
        let Some(top) = self.items.first_mut() else {
            return Some((last.key, last.slot));
        };
        let top = core::mem::replace(top, last);
        self.sink(0, last);
        Some((top.key, top.slot))
    }

    /// Removes a slot; false if it was not there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let Some(&at) = self.positions.get(slot.index()) else {
            return false;
        };
        let at = at as usize;
        if self.items.get(at).is_none_or(|item| item.slot != slot) {
            return false;
        }
        self.items.swap_remove(at);
        if let Some(&moved) = self.items.get(at) {
            self.sink(at, moved);
            self.rise(self.positions[moved.slot.index()] as usize, moved);
        }
        true
    }

    /// All slots, in no order that means anything but that the last ones
    /// tend to have the largest keys.
    pub(crate) fn slots(&self) -> impl DoubleEndedIterator<Item = Slot> {
        self.items.iter().map(|item| item.slot)
    }

    fn rise(&mut self, mut at: usize, item: Item) {
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.items[parent];
            if !item.precedes(above) {
                break;
            }
            self.place(at, above);
            at = parent;
        }
        self.place(at, item);
    }

    fn sink(&mut self, mut at: usize, item: Item) {
        loop {
            let left = 2 * at + 1;
            let Some(&first) = self.items.get(left) else {
                break;
            };
            let (child, below) = match self.items.get(left + 1) {
                Some(&second) if second.precedes(first) => (left + 1, second),
                _ => (left, first),
            };
            if !below.precedes(item) {
                break;
            }
            self.place(at, below);
            at = child;
        }
        self.place(at, item);
    }

    #[inline]
    fn place(&mut self, at: usize, item: Item) {
        self.items[at] = item;
        self.positions[item.slot.index()] = at as u32;
    }
}
