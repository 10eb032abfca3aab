//! Who waits in a queue, by small numbers that a heap can hold.

use alloc::vec::Vec;

/// A place in [`Slots`].
pub(crate) type Slot = u32;
/// No place.
pub(crate) const NO_SLOT: Slot = u32::MAX;

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
            self.vacant.push(self.places.len() as Slot);
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
        let slot = self.vacant.pop().unwrap_or(NO_SLOT);
        if let Some(place) = self.places.get_mut(slot as usize) {
            *place = Some(waiting);
        }
        slot
    }

    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Waiting<Id>> {
        let waiting = self.places.get_mut(slot as usize)?.take()?;
        self.vacant.push(slot);
        Some(waiting)
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Waiting<Id>> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(crate) fn set_vruntime(&mut self, slot: Slot, vruntime: u64) {
        if let Some(Some(waiting)) = self.places.get_mut(slot as usize) {
            waiting.vruntime = vruntime;
        }
    }
}
