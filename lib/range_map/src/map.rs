//! The map: insertion, finding, removal, splitting and merging.

use alloc::vec::Vec;
use core::ops::Range;

/// An interval and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The value.
    pub value: T,
}

impl<T> Entry<T> {
    /// The interval.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The first number.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The number after the last.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    const fn contains(&self, at: u64) -> bool {
        self.start <= at && at < self.end
    }
}

/// Why an interval was not inserted. The map has not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsertError<T> {
    /// The interval is empty or its end lies before its start.
    Empty(T),
    /// This interval of the map overlaps it; of several the first.
    Conflict {
        /// The one that is there.
        with: Range<u64>,
        /// The value that was not inserted.
        value: T,
    },
}

/// A map from non-overlapping intervals to values.
#[derive(Clone, Debug)]
pub struct RangeMap<T> {
    /// Sorted by start; so sorted by end as well.
    pub(crate) entries: Vec<Entry<T>>,
}

impl<T> RangeMap<T> {
    /// An empty map; it allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// The number of intervals.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sum of the intervals' lengths.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| entry.end - entry.start)
            .sum()
    }

    /// All entries, ascending.
    pub fn iter(&self) -> core::slice::Iter<'_, Entry<T>> {
        self.entries.iter()
    }

    /// Where the first entry that ends after `at` is.
    #[inline]
    fn lower(&self, at: u64) -> usize {
        self.entries.partition_point(|entry| entry.end <= at)
    }

    /// Where the entries that overlap `range` are.
    fn span(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.lower(range.start);
        if range.is_empty() {
            return first..first;
        }
        let count = self.entries[first..].partition_point(|entry| entry.start < range.end);
        first..first + count
    }

    /// The index of the entry that holds `at`. Indices stay valid until the
    /// map changes.
    #[must_use]
    #[inline]
    pub fn index_of(&self, at: u64) -> Option<usize> {
        let index = self.lower(at);
        self.entries
            .get(index)
            .filter(|entry| entry.start <= at)
            .map(|_| index)
    }

    /// As [`RangeMap::index_of`], looking first at `hint`: the index of an
    /// earlier hit, which may be outdated.
    #[must_use]
    #[inline]
    pub fn index_near(&self, at: u64, hint: usize) -> Option<usize> {
        match self.entries.get(hint) {
            Some(entry) if entry.contains(at) => Some(hint),
            _ => self.index_of(at),
        }
    }

    /// The entry at an index.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&Entry<T>> {
        self.entries.get(index)
    }

    /// The entry at an index; its interval cannot be changed.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<(Range<u64>, &mut T)> {
        self.entries
            .get_mut(index)
            .map(|entry| (entry.range(), &mut entry.value))
    }

    /// The entry that holds `at`.
    #[must_use]
    #[inline]
    pub fn find(&self, at: u64) -> Option<&Entry<T>> {
        self.index_of(at).map(|index| &self.entries[index])
    }

    /// The interval that holds `at`, and its value to change.
    #[inline]
    pub fn find_mut(&mut self, at: u64) -> Option<(Range<u64>, &mut T)> {
        self.get_mut(self.index_of(at)?)
    }

    /// The first entry that ends after `at`: the one that holds it, or else
    /// the next.
    #[must_use]
    pub fn next_from(&self, at: u64) -> Option<&Entry<T>> {
        self.entries.get(self.lower(at))
    }

    /// The entries that overlap `range`, ascending.
    pub fn overlapping(&self, range: Range<u64>) -> core::slice::Iter<'_, Entry<T>> {
        self.entries[self.span(&range)].iter()
    }

    /// The intervals that overlap `range`, ascending, and their values to change.
    pub fn overlapping_mut(
        &mut self,
        range: Range<u64>,
    ) -> impl Iterator<Item = (Range<u64>, &mut T)> {
        let span = self.span(&range);
        self.entries[span]
            .iter_mut()
            .map(|entry| (entry.range(), &mut entry.value))
    }

    /// Whether every number of `range` is in an interval.
    #[must_use]
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for entry in self.overlapping(range.clone()) {
            if entry.start > at {
                return false;
            }
            at = entry.end;
        }
        at >= range.end
    }

    /// Adds an interval; its index.
    ///
    /// # Errors
    /// See [`InsertError`].
    pub fn insert(&mut self, range: Range<u64>, value: T) -> Result<usize, InsertError<T>> {
        if range.is_empty() {
            return Err(InsertError::Empty(value));
        }
        let index = self.lower(range.start);
        if let Some(there) = self
            .entries
            .get(index)
            .filter(|there| there.start < range.end)
        {
            return Err(InsertError::Conflict {
                with: there.range(),
                value,
            });
        }
        self.entries.insert(
            index,
            Entry {
                start: range.start,
                end: range.end,
                value,
            },
        );
        Ok(index)
    }

    /// Divides the entry that holds both `at` and the number before it.
    /// `split` is given its value and the distance of `at` from its start; it
    /// leaves the lower part and returns the upper part.
    fn split_at(&mut self, at: u64, split: &mut impl FnMut(&mut T, u64) -> T) {
        let index = self.lower(at);
        if let Some(entry) = self.entries.get_mut(index).filter(|entry| entry.start < at) {
            let value = split(&mut entry.value, at - entry.start);
            let end = core::mem::replace(&mut entry.end, at);
            self.entries.insert(
                index + 1,
                Entry {
                    start: at,
                    end,
                    value,
                },
            );
        }
    }

    /// Divides entries so that none is partly inside `range` and partly
    /// outside, and returns the indices of those inside. `split` is given a
    /// value and the distance from its interval's start at which to divide;
    /// it leaves the lower part and returns the upper part.
    pub fn isolate(
        &mut self,
        range: Range<u64>,
        mut split: impl FnMut(&mut T, u64) -> T,
    ) -> Range<usize> {
        if !range.is_empty() {
            self.split_at(range.start, &mut split);
            self.split_at(range.end, &mut split);
        }
        self.span(&range)
    }

    /// Removes every number of `range`, dividing entries that reach beyond
    /// it; `split` as for [`RangeMap::isolate`]. What was removed is handed
    /// out in ascending order; all of it is removed also if the iterator is
    /// dropped early.
    pub fn remove(
        &mut self,
        range: Range<u64>,
        split: impl FnMut(&mut T, u64) -> T,
    ) -> alloc::vec::Drain<'_, Entry<T>> {
        let inside = self.isolate(range, split);
        self.entries.drain(inside)
    }

    /// Removes one entry as a whole.
    pub fn remove_at(&mut self, index: usize) -> Option<Entry<T>> {
        (index < self.entries.len()).then(|| self.entries.remove(index))
    }

    /// Moves the end of the entry at `index`, up or down. The value is the
    /// caller's to adjust.
    ///
    /// # Errors
    /// As [`RangeMap::insert`]; `Empty` also for an index without an entry.
    pub fn set_end(&mut self, index: usize, end: u64) -> Result<(), InsertError<()>> {
        let limit = self.entries.get(index + 1).map(Entry::range);
        let Some(entry) = self
            .entries
            .get_mut(index)
            .filter(|entry| entry.start < end)
        else {
            return Err(InsertError::Empty(()));
        };
        match limit {
            Some(with) if with.start < end => Err(InsertError::Conflict { with, value: () }),
            _ => {
                entry.end = end;
                Ok(())
            }
        }
    }

    /// As [`RangeMap::set_end`], for the start: a stack grows down.
    ///
    /// # Errors
    /// As [`RangeMap::set_end`].
    pub fn set_start(&mut self, index: usize, start: u64) -> Result<(), InsertError<()>> {
        let limit = index
            .checked_sub(1)
            .and_then(|before| self.entries.get(before))
            .map(Entry::range);
        let Some(entry) = self
            .entries
            .get_mut(index)
            .filter(|entry| start < entry.end)
        else {
            return Err(InsertError::Empty(()));
        };
        match limit {
            Some(with) if with.end > start => Err(InsertError::Conflict { with, value: () }),
            _ => {
                entry.start = start;
                Ok(())
            }
        }
    }

    /// Joins entries that touch each other, among those that overlap or touch
    /// `range`. `join` is given the lower value, the upper entry and the lower
    /// one's length; it returns whether they are one, having made the lower
    /// value stand for both.
    pub fn merge(
        &mut self,
        range: Range<u64>,
        mut join: impl FnMut(&mut T, &Entry<T>, u64) -> bool,
    ) {
        let mut index = self
            .entries
            .partition_point(|entry| entry.end < range.start);
        while index + 1 < self.entries.len() && self.entries[index].end <= range.end {
            let (lower, upper) = self.entries.split_at_mut(index + 1);
            let (lower, upper) = (&mut lower[index], &upper[0]);
            let length = lower.end - lower.start;
            if lower.end == upper.start && join(&mut lower.value, upper, length) {
                lower.end = upper.end;
                self.entries.remove(index + 1);
            } else {
                index += 1;
            }
        }
    }

    /// Removes everything, ascending.
    pub fn drain(&mut self) -> alloc::vec::Drain<'_, Entry<T>> {
        self.entries.drain(..)
    }
}

impl<T> Default for RangeMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T> IntoIterator for &'a RangeMap<T> {
    type Item = &'a Entry<T>;
    type IntoIter = core::slice::Iter<'a, Entry<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
