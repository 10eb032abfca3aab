//! Free space between the intervals.

use core::ops::Range;

use crate::RangeMap;

impl<T> RangeMap<T> {
    /// The maximal parts of `within` that are in no interval, ascending.
    pub fn gaps(&self, within: Range<u64>) -> impl DoubleEndedIterator<Item = Range<u64>> {
        let first = self
            .entries
            .partition_point(|entry| entry.end <= within.start);
        let last = self
            .entries
            .partition_point(|entry| entry.start < within.end)
            .max(first);
        // Gap n lies below entry n; the last one above all of them.
        (first..=last).filter_map(move |index| {
            let below = index
                .checked_sub(1)
                .and_then(|before| self.entries.get(before));
            let start = below.map_or(0, |entry| entry.end).max(within.start);
            let end = self
                .entries
                .get(index)
                .map_or(u64::MAX, |entry| entry.start)
                .min(within.end);
            (start < end).then_some(start..end)
        })
    }

    /// The lowest multiple of `align`, a power of two, at which `length`
    /// numbers within `within` are free. None if there is no such place or
    /// the length is 0.
    #[must_use]
    pub fn find_gap_up(&self, length: u64, align: u64, within: Range<u64>) -> Option<u64> {
        if length == 0 || !align.is_power_of_two() {
            return None;
        }
        self.gaps(within).find_map(|gap| {
            let start = gap.start.checked_next_multiple_of(align)?;
            (start <= gap.end && gap.end - start >= length).then_some(start)
        })
    }

    /// As [`RangeMap::find_gap_up`], the highest such place.
    #[must_use]
    pub fn find_gap_down(&self, length: u64, align: u64, within: Range<u64>) -> Option<u64> {
        if length == 0 || !align.is_power_of_two() {
            return None;
        }
        self.gaps(within).rev().find_map(|gap| {
            let start = gap.end.checked_sub(length)? & !(align - 1);
            (start >= gap.start).then_some(start)
        })
    }
}
