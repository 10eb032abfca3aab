//! Who waits in a queue, by small numbers that heaps can hold.

use alloc::vec::Vec;

/// A place in [`Slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    /// No place.
    pub(crate) const NONE: Self = Self(u32::MAX);

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One that waits, with what stealing needs to know of it.
#[derive(Debug)]
pub(crate) struct Waiting<Id> {
    pub(crate) id: Id,
    pub(crate) weight: u32,
    pub(crate) reservation: u32,
    pub(crate) vruntime: u64,
    pub(crate) reserve_at: u64,
    pub(crate) came_at: u64,
}

/// The waiting threads of a queue.
#[derive(Debug)]
pub(crate) struct Slots<Id> {
    places: Vec<Option<Waiting<Id>>>,
    vacant: Vec<Slot>,
}

impl<Id> Slots<Id> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Makes room for `count` in all.
    pub(crate) fn reserve(&mut self, count: usize) {
        while self.places.len() < count {
            self.vacant.push(Slot(self.places.len() as u32));
            self.places.push(None);
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.vacant.is_empty()
    }

    /// Gives one a place; the queue is not full.
    #[inline]
    pub(crate) fn insert(&mut self, waiting: Waiting<Id>) -> Slot {
        let slot = self.vacant.pop().unwrap_or(Slot::NONE);
        if let Some(place) = self.places.get_mut(slot.index()) {
            *place = Some(waiting);
        }
        slot
    }

    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Waiting<Id>> {
        let waiting = self.places.get_mut(slot.index())?.take()?;
        self.vacant.push(slot);
        Some(waiting)
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Waiting<Id>> {
        self.places.get(slot.index())?.as_ref()
    }

    pub(crate) fn set_vruntime(&mut self, slot: Slot, vruntime: u64) {
        if let Some(Some(waiting)) = self.places.get_mut(slot.index()) {
            waiting.vruntime = vruntime;
        }
    }
}
