//! A binary heap of slots by a wrapping 64-bit key, with removal of any slot.

use alloc::vec::Vec;

use crate::slots::Slot;

/// Not in the heap.
const ABSENT: u32 = u32::MAX;

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
    /// Where each slot is in `items`.
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
            self.positions.resize(count, ABSENT);
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
        self.items.push(Item { key, slot });
        self.rise(at);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u64, Slot)> {
        let top = self.top()?;
        self.take(0);
        Some(top)
    }

    /// Removes a slot; false if it was not there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        match self.positions.get(slot.index()) {
            None | Some(&ABSENT) => false,
            Some(&at) => {
                self.take(at as usize);
                true
            }
        }
    }

    /// All slots, in no order that means anything but that the last ones
    /// tend to have the largest keys.
    pub(crate) fn slots(&self) -> impl DoubleEndedIterator<Item = Slot> {
        self.items.iter().map(|item| item.slot)
    }

    #[inline]
    fn take(&mut self, at: usize) {
        let gone = self.items.swap_remove(at);
        self.positions[gone.slot.index()] = ABSENT;
        if at < self.items.len() {
            self.sink(at);
            self.rise(at);
        }
    }

    #[inline]
    fn rise(&mut self, mut at: usize) {
        let item = self.items[at];
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

    fn sink(&mut self, mut at: usize) {
        let item = self.items[at];
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
