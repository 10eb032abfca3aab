//! Timers: values that become due at a deadline in nanoseconds.
//!
//! The main type is [`TimerQueue`]; it has no clock, callers pass the time.
//! A kernel that stops its tick asks for [`TimerQueue::next_deadline`].
//! A [`TimerId`] names one arming of one timer for ever: once that timer has
//! expired or was cancelled, its id finds nothing, also when its place has
//! been used again.
//!
//! Deadlines are exact and the next one is known at once. That is why it is a
//! heap and no wheel: a wheel would round deadlines or search its buckets.
//! Timers with equal deadlines expire in any order.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use indexed_heap::IndexedHeap;

#[cfg(test)]
mod tests;

/// One arming of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

impl TimerId {
    /// The id as two numbers: its place, below the most timers that were ever
    /// armed at one time, and how often that place was used before.
    #[must_use]
    pub const fn parts(self) -> (u32, u32) {
        (self.slot, self.generation)
    }

    /// The id that [`TimerId::parts`] took apart. Other numbers make an id that
    /// finds nothing, or what is armed there.
    #[must_use]
    pub const fn from_parts(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }
}

/// Ends the chain of vacant places.
const NO_SLOT: u32 = u32::MAX;

#[derive(Debug)]
enum State<T> {
    Armed(T),
    /// With the next vacant place.
    Vacant(u32),
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    state: State<T>,
}

/// The armed timers.
#[derive(Debug)]
pub struct TimerQueue<T> {
    places: Vec<Place<T>>,
    /// The first vacant place.
    vacant: u32,
    heap: IndexedHeap<u64>,
}

impl<T> TimerQueue<T> {
    /// A queue without timers; it allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: NO_SLOT,
            heap: IndexedHeap::new(),
        }
    }

    /// Makes room for `count` timers in all. With it in time, no other call
    /// allocates.
    pub fn reserve(&mut self, count: usize) {
        for slot in self.places.len()..count {
            self.places.push(Place {
                generation: 0,
                state: State::Vacant(self.vacant),
            });
            self.vacant = slot as u32;
        }
        self.heap.reserve(self.places.len());
    }

    /// Arms a timer.
    #[inline]
    pub fn insert(&mut self, deadline: u64, value: T) -> TimerId {
        if self.vacant == NO_SLOT {
            self.reserve(self.places.len() * 2 + 8);
        }
        let slot = self.vacant;
        let place = &mut self.places[slot as usize];
        if let State::Vacant(next) = place.state {
            self.vacant = next;
        }
        place.state = State::Armed(value);
        let generation = place.generation;
        self.heap.push(deadline, slot);
        TimerId { slot, generation }
    }

    /// Disarms a timer; its value, or none if it has expired or was cancelled.
    #[inline]
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        if self.places.get(id.slot as usize)?.generation != id.generation {
            return None;
        }
        self.heap.remove(id.slot)?;
        self.vacate(id.slot)
    }

    /// Moves an armed timer to another deadline. False if it is not armed.
    pub fn rearm(&mut self, id: TimerId, deadline: u64) -> bool {
        let armed = self.is_armed(id);
        if armed {
            self.heap.remove(id.slot);
            self.heap.push(deadline, id.slot);
        }
        armed
    }

    /// Whether a timer has neither expired nor been cancelled.
    #[must_use]
    pub fn is_armed(&self, id: TimerId) -> bool {
        self.deadline(id).is_some()
    }

    /// When an armed timer will expire.
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        let place = self.places.get(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        self.heap.key(id.slot)
    }

    /// The earliest deadline.
    #[must_use]
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        self.heap.top().map(|(deadline, _)| deadline)
    }

    /// Takes one timer whose deadline is not after `now`, the earliest first.
    /// For owners that must let go of the queue between two timers.
    #[inline]
    pub fn pop_expired(&mut self, now: u64) -> Option<(u64, T)> {
        let (deadline, slot) = self.heap.top()?;
        if deadline > now {
            return None;
        }
        self.heap.pop();
        self.vacate(slot).map(|value| (deadline, value))
    }

    /// Takes all timers whose deadlines are not after `now` and calls `each`
    /// with deadline and value. Returns how many there were.
    pub fn expire(&mut self, now: u64, mut each: impl FnMut(u64, T)) -> usize {
        let mut count = 0;
        while let Some((deadline, value)) = self.pop_expired(now) {
            each(deadline, value);
            count += 1;
        }
        count
    }

    /// The number of armed timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    #[inline]
    fn vacate(&mut self, slot: u32) -> Option<T> {
        let place = &mut self.places[slot as usize];
        match core::mem::replace(&mut place.state, State::Vacant(self.vacant)) {
            State::Armed(value) => {
                place.generation = place.generation.wrapping_add(1);
                self.vacant = slot;
                Some(value)
            }
            vacant => {
                place.state = vacant;
                None
            }
        }
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}
