//! [`AreaMap`]: the areas of a space, by address.
//!
//! A sorted array: programs have few areas, lookups hit the last one found, and
//! an array can be asked for room *before* anything is changed, so that running
//! out of memory leaves the map as it was.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use hal::mem::OutOfMemory;

use crate::area::{Area, AreaFlags, Backing};
use crate::{MemoryObject, PAGE, USER_END};

/// Areas one space may have before it gets no more (vm.max_map_count).
const MAX_AREAS: usize = 65_530;
/// What stays free below an area that grows downwards.
pub(crate) const STACK_GUARD: u64 = 256 * PAGE;

#[derive(Default)]
pub(crate) struct AreaMap {
    areas: Vec<Area>,
    /// Index of the area found last.
    hit: usize,
    /// Between here and the top of the last search there is no gap at all.
    full_from: u64,
    searched_top: u64,
}

/// Room for `extra` more elements, or nothing happened.
pub(crate) fn reserve<T>(list: &mut Vec<T>, extra: usize) -> Result<(), OutOfMemory> {
    #[cfg(test)]
    hal::inject::allocation()?;
    list.try_reserve(extra).map_err(|_| OutOfMemory)
}

impl AreaMap {
    pub(crate) fn len(&self) -> usize {
        self.areas.len()
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Area> {
        self.areas.iter()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Area> {
        self.areas.get(index)
    }

    pub(crate) fn at(&self, index: usize) -> &Area {
        &self.areas[index]
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> &mut Area {
        &mut self.areas[index]
    }

    pub(crate) fn slice(&self, indices: Range<usize>) -> &[Area] {
        &self.areas[indices]
    }

    /// Makes sure that there is room for `extra` more areas.
    pub(crate) fn reserve(&mut self, extra: usize) -> Result<(), OutOfMemory> {
        reserve(&mut self.areas, extra)
    }

    /// Makes sure that one more area may be inserted, besides what two cuts need.
    pub(crate) fn prepare_insertion(&mut self) -> Result<(), OutOfMemory> {
        if self.areas.len() > MAX_AREAS {
            Err(OutOfMemory)
        } else {
            self.reserve(3)
        }
    }

    /// Index of the first area that ends above `va`.
    #[inline]
    pub(crate) fn position(&self, va: u64) -> usize {
        match self.areas.get(self.hit) {
            Some(area) if area.contains(va) => self.hit,
            _ => self.areas.partition_point(|area| area.end <= va),
        }
    }

    /// Index of the area that `va` lies in.
    #[inline]
    pub(crate) fn find(&mut self, va: u64) -> Option<usize> {
        let index = self.position(va);
        self.areas.get(index).filter(|area| area.start <= va)?;
        self.hit = index;
        Some(index)
    }

    /// Indices of the areas that touch `range`, which is not empty.
    pub(crate) fn touching(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.position(range.start);
        let above = self.areas[first..].iter();
        first..first + above.take_while(|area| area.start < range.end).count()
    }

    pub(crate) fn is_free(&self, range: &Range<u64>) -> bool {
        self.touching(range).is_empty()
    }

    /// Adds an area where there is none, joining it with its neighbours. Needs
    /// room for one.
    pub(crate) fn insert(&mut self, area: Area) {
        let index = self.position(area.start);
        let joins_next = self.areas.get(index).is_some_and(|next| area.joins(next));
        let joins_last = index > 0 && self.areas[index - 1].joins(&area);
        match (joins_last, joins_next) {
            (true, false) => self.areas[index - 1].absorb(area),
            (true, true) => {
                self.areas[index - 1].absorb(area);
                self.join(index);
            }
            (false, true) => {
                let next = &mut self.areas[index];
                next.start = area.start;
                next.flags |= area.flags;
                next.backing = area.backing;
            }
            (false, false) => self.areas.insert(index, area),
        }
    }

    /// Joins the area at `index` with the one before it, if they fit.
    pub(crate) fn join(&mut self, index: usize) {
        if index > 0 && index < self.areas.len() && self.areas[index - 1].joins(&self.areas[index])
        {
            let next = self.areas.remove(index);
            self.areas[index - 1].absorb(next);
        }
    }

    /// Cuts the area at `index` at `va`, if that lies inside it. Whether it did.
    fn split(&mut self, index: usize, va: u64) -> bool {
        let area = &mut self.areas[index];
        let is_inside = area.start < va && va < area.end;
        if is_inside {
            let upper = area.split_off(va);
            self.areas.insert(index + 1, upper);
        }
        is_inside
    }

    /// Makes sure that areas `inside` may be cut at both ends of `range`.
    pub(crate) fn prepare_cuts(
        &mut self,
        range: &Range<u64>,
        inside: Range<usize>,
    ) -> Result<(), OutOfMemory> {
        let [first, ..] = &self.areas[inside.clone()] else {
            return Ok(());
        };
        let last = &self.areas[inside.end - 1];
        let cuts = usize::from(first.start < range.start) + usize::from(last.end > range.end);
        // Without a cut there is nothing that the limit could be about.
        if cuts > 0 && self.areas.len() + cuts > MAX_AREAS {
            return Err(OutOfMemory);
        }
        self.reserve(2)
    }

    /// Cuts areas `inside`, those that touch `range`, at both its ends; the
    /// indices of the parts within. After [`AreaMap::prepare_cuts`].
    pub(crate) fn carve(&mut self, range: &Range<u64>, inside: Range<usize>) -> Range<usize> {
        if inside.is_empty() {
            return inside;
        }
        self.split(inside.end - 1, range.end);
        let shift = usize::from(self.split(inside.start, range.start));
        inside.start + shift..inside.end + shift
    }

    /// Makes sure that [`AreaMap::remove`] of `range` from areas `inside` cannot
    /// fail.
    pub(crate) fn prepare_removal(
        &mut self,
        range: &Range<u64>,
        inside: Range<usize>,
        garbage: &mut Vec<Arc<dyn MemoryObject>>,
    ) -> Result<(), OutOfMemory> {
        self.prepare_cuts(range, inside.clone())?;
        let is_object = |area: &&Area| matches!(area.backing, Backing::Object { .. });
        let objects = self.areas[inside].iter().filter(is_object).count();
        if objects > 0 {
            reserve(garbage, objects)
        } else {
            Ok(())
        }
    }

    /// Takes away what of areas `inside` lies in `range`, after
    /// [`AreaMap::prepare_removal`]. Objects go to `garbage`, to be dropped
    /// without a lock. The bytes removed.
    pub(crate) fn remove(
        &mut self,
        range: &Range<u64>,
        inside: Range<usize>,
        garbage: &mut Vec<Arc<dyn MemoryObject>>,
    ) -> u64 {
        let inside = self.carve(range, inside);
        self.full_from = self.full_from.max(range.end.saturating_add(STACK_GUARD));
        let mut bytes = 0;
        for area in self.areas.drain(inside) {
            bytes += area.len();
            if let Backing::Object { object, .. } = area.backing {
                garbage.push(object);
            }
        }
        bytes
    }

    /// Where free room begins below the area with this index.
    fn room_end(&self, index: usize) -> u64 {
        self.areas.get(index).map_or(USER_END, |area| {
            let guard = if area.has(AreaFlags::GROWS_DOWN) {
                STACK_GUARD
            } else {
                0
            };
            area.start.saturating_sub(guard)
        })
    }

    /// The highest free range of `len` bytes between `low` and `top`.
    pub(crate) fn find_gap(&mut self, len: u64, low: u64, top: u64) -> Option<u64> {
        if self.searched_top != top {
            (self.searched_top, self.full_from) = (top, top);
        }
        let mut index = self.position(self.full_from.min(top));
        let mut end = self.room_end(index).min(self.full_from).min(top);
        let mut full = true;
        loop {
            let below = index
                .checked_sub(1)
                .map_or(low, |last| self.areas[last].end.max(low));
            if end >= below && end - below >= len {
                return Some(end - len);
            }
            full &= end <= below;
            index = index.checked_sub(1)?;
            end = self.room_end(index).min(end);
            if full {
                self.full_from = self.areas[index].start;
            }
            if end <= low {
                return None;
            }
        }
    }
}
