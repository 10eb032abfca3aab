//! The ranges of frames under management: sorted, none adjacent to another.

use crate::AddError;

/// The most separate ranges that can be managed; a firmware's memory map has
/// a few dozen once neighbours are joined.
pub const MAX_RANGES: usize = 128;

/// Frame ranges as (start, end).
#[derive(Debug)]
pub(crate) struct Ranges {
    list: [(u32, u32); MAX_RANGES],
    len: usize,
}

impl Ranges {
    pub(crate) const EMPTY: Self = Self {
        list: [(0, 0); MAX_RANGES],
        len: 0,
    };

    pub(crate) fn as_slice(&self) -> &[(u32, u32)] {
        &self.list[..self.len]
    }

    /// Adds a range that is not empty, joining it with its neighbours.
    pub(crate) fn insert(&mut self, start: u32, end: u32) -> Result<(), AddError> {
        let at = self.as_slice().partition_point(|range| range.1 <= start);
        if self.as_slice().get(at).is_some_and(|next| next.0 < end) {
            return Err(AddError::Overlaps);
        }
        let joins_left = at > 0 && self.list[at - 1].1 == start;
        let joins_right = at < self.len && self.list[at].0 == end;
        match (joins_left, joins_right) {
            (true, true) => {
                self.list[at - 1].1 = self.list[at].1;
                self.list.copy_within(at + 1..self.len, at);
                self.len -= 1;
            }
            (true, false) => self.list[at - 1].1 = end,
            (false, true) => self.list[at].0 = start,
            (false, false) if self.len == MAX_RANGES => return Err(AddError::TooManyRanges),
            (false, false) => {
                self.list.copy_within(at..self.len, at + 1);
                self.list[at] = (start, end);
                self.len += 1;
            }
        }
        Ok(())
    }
}
