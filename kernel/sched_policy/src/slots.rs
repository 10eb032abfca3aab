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

#[derive(Debug)]
enum Place<Id> {
    Taken(Waiting<Id>),
    /// With the next vacant place.
    Vacant(Slot),
}

/// The waiting threads of a queue.
#[derive(Debug)]
pub(crate) struct Slots<Id> {
    places: Vec<Place<Id>>,
    /// The first vacant place.
    vacant: Slot,
}

impl<Id> Slots<Id> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: NO_SLOT,
        }
    }

    /// Makes room for `count` in all.
    pub(crate) fn reserve(&mut self, count: usize) {
        while self.places.len() < count {
            let slot = self.places.len() as Slot;
            self.places.push(Place::Vacant(self.vacant));
            self.vacant = slot;
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.vacant == NO_SLOT
    }

    /// Gives one a place; the queue is not full.
    #[inline(always)]
    pub(crate) fn insert(&mut self, waiting: Waiting<Id>) -> Slot {
        let slot = self.vacant;
        let place = &mut self.places[slot as usize];
        if let Place::Vacant(next) = place {
            self.vacant = *next;
        }
        *place = Place::Taken(waiting);
        slot
    }

    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Waiting<Id>> {
        let place = self.places.get_mut(slot as usize)?;
        if let Place::Vacant(_) = place {
            return None;
        }
        match core::mem::replace(place, Place::Vacant(self.vacant)) {
            Place::Taken(waiting) => {
                self.vacant = slot;
                Some(waiting)
            }
            Place::Vacant(_) => None,
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Waiting<Id>> {
        match self.places.get(slot as usize)? {
            Place::Taken(waiting) => Some(waiting),
            Place::Vacant(_) => None,
        }
    }

    pub(crate) fn set_vruntime(&mut self, slot: Slot, vruntime: u64) {
        if let Some(Place::Taken(waiting)) = self.places.get_mut(slot as usize) {
            waiting.vruntime = vruntime;
        }
    }
}
