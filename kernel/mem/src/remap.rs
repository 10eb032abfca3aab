//! mremap(2).

use alloc::vec::Vec;
use core::ops::Range;

use abi::Errno;
use hal::mem::{Flush, MapError, OutOfMemory};

use crate::area::{Area, AreaFlags, Backing};
use crate::area_map::reserve;
use crate::map::no_memory;
use crate::space::{State, pages};
use crate::{MIN_ADDRESS, PAGE, Space};

/// Bytes whose entries are moved in one go.
const BATCH: u64 = 2 << 20;

bitflags::bitflags! {
    /// How to remap; the values are those of mremap(2).
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct RemapFlags: u32 {
        /// The mapping may move.
        const MAY_MOVE = 1;
        /// It moves to the address given, replacing what is there.
        const FIXED = 2;
        /// The old range stays mapped, empty.
        const DONT_UNMAP = 4;
    }
}

impl Space {
    /// Grows, shrinks or moves a mapping, and returns where it is (mremap(2)).
    /// `to` counts with [`RemapFlags::FIXED`] only.
    ///
    /// # Errors
    /// EINVAL: addresses that are not pages', a new length of 0, flags that do
    /// not go together, ranges that overlap, an old length of 0 for a private
    /// mapping. EFAULT: the old range is not within one mapping. ENOMEM: no room
    /// to grow, or no memory.
    pub fn mremap(
        &self,
        old: u64,
        old_len: u64,
        new_len: u64,
        flags: RemapFlags,
        to: u64,
    ) -> Result<u64, Errno> {
        let request = Request::new(old, old_len, new_len, flags, to)?;
        let mut state = self.lock();
        if flags.contains(RemapFlags::FIXED) {
            return state.remap_fixed(&request, to);
        }
        state.remap(&request)
    }
}

/// A request whose numbers make sense.
struct Request {
    old: Range<u64>,
    new_len: u64,
    flags: RemapFlags,
}

impl Request {
    fn new(
        start: u64,
        old_len: u64,
        new_len: u64,
        flags: RemapFlags,
        to: u64,
    ) -> Result<Self, Errno> {
        let moves = flags.contains(RemapFlags::MAY_MOVE);
        let needs_move = flags.intersects(RemapFlags::FIXED | RemapFlags::DONT_UNMAP);
        let round = |len: u64| len.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL);
        let (old_len, new_len) = (round(old_len)?, round(new_len)?);
        if !start.is_multiple_of(PAGE)
            || new_len == 0
            || (needs_move && !moves)
            || (flags.contains(RemapFlags::DONT_UNMAP) && old_len != new_len)
        {
            return Err(Errno::EINVAL);
        }
        let old = pages(start, old_len).ok_or(Errno::EFAULT)?;
        if flags.contains(RemapFlags::FIXED) {
            let target = pages(to, new_len).ok_or(Errno::EINVAL)?;
            if target.start < old.end && old.start < target.end {
                return Err(Errno::EINVAL);
            }
            if target.start < MIN_ADDRESS {
                return Err(Errno::EPERM);
            }
        }
        Ok(Self {
            old,
            new_len,
            flags,
        })
    }
}

impl State {
    /// The area that the old range lies in.
    fn remapped_area(&mut self, request: &Request) -> Result<usize, Errno> {
        let old = &request.old;
        let index = self.areas.find(old.start).ok_or(Errno::EFAULT)?;
        let area = self.areas.at(index);
        if old.is_empty() && !area.has(AreaFlags::SHARED) {
            return Err(Errno::EINVAL);
        }
        if old.end > area.end {
            return Err(Errno::EFAULT);
        }
        if let Backing::Object { first, .. } = area.backing {
            let from = area.page_index(first, old.start);
            from.checked_add(request.new_len / PAGE)
                .ok_or(Errno::EINVAL)?;
        }
        Ok(index)
    }

    fn remap_fixed(&mut self, request: &Request, to: u64) -> Result<u64, Errno> {
        self.remapped_area(request)?;
        let target = to..to + request.new_len;
        self.unmap(&target).map_err(no_memory)?;
        self.move_to(request, to)
    }

    fn remap(&mut self, request: &Request) -> Result<u64, Errno> {
        let Request {
            old,
            new_len,
            flags,
        } = request;
        let old_len = old.end - old.start;
        let index = self.remapped_area(request)?;
        if !flags.contains(RemapFlags::DONT_UNMAP) && old_len > 0 {
            if *new_len <= old_len {
                if *new_len < old_len {
                    self.unmap(&(old.start + new_len..old.end))
                        .map_err(no_memory)?;
                }
                return Ok(old.start);
            }
            if self.grow_in_place(index, request)? {
                return Ok(old.start);
            }
        }
        if !flags.contains(RemapFlags::MAY_MOVE) {
            return Err(Errno::ENOMEM);
        }
        let target = self.choose(0, *new_len)?;
        self.move_to(request, target.start)
    }

    /// Extends the area where it is, if nothing is in the way.
    fn grow_in_place(&mut self, index: usize, request: &Request) -> Result<bool, Errno> {
        let area = self.areas.at(index);
        let Some(range) = pages(request.old.start, request.new_len) else {
            return Ok(false);
        };
        let growth = request.old.end..range.end;
        if area.end != request.old.end || !self.areas.is_free(&growth) {
            return Ok(false);
        }
        self.check_limit(growth.end - growth.start)?;
        self.mapped += growth.end - growth.start;
        self.areas.at_mut(index).end = growth.end;
        self.areas.join(index + 1);
        Ok(true)
    }

    /// Moves area and pages to the free range at `to`.
    fn move_to(&mut self, request: &Request, to: u64) -> Result<u64, Errno> {
        let Request {
            old,
            new_len,
            flags,
        } = request;
        let keeps = flags.contains(RemapFlags::DONT_UNMAP) || old.is_empty();
        let old_len = old.end - old.start;
        self.check_limit(if keeps {
            *new_len
        } else {
            new_len.saturating_sub(old_len)
        })?;
        // Two cuts of the old range and the new area itself: after this nothing
        // can fail but the pages' move.
        let inside = if keeps {
            0..0
        } else {
            self.areas.touching(old)
        };
        let garbage = &mut self.garbage.objects;
        self.areas
            .prepare_removal(old, inside.clone(), garbage)
            .map_err(no_memory)?;
        self.areas.prepare_insertion().map_err(no_memory)?;
        let index = self.remapped_area(request)?;
        let area = moved(self.areas.at(index), old.start, to, *new_len);
        let part = old.start..old.start + old_len.min(*new_len);
        self.move_pages(&part, to)?;
        if !keeps {
            self.unmap_prepared(old, inside);
        }
        self.areas.insert(area);
        self.mapped += new_len;
        Ok(to)
    }

    /// Moves what is mapped in `range` to the free range at `to`. Without memory
    /// nothing moves.
    fn move_pages(&mut self, range: &Range<u64>, to: u64) -> Result<(), Errno> {
        self.invalidate(range);
        let result = self.copy_entries(range, to);
        let target = to..to + (range.end - range.start);
        let mut flush = Flush::new();
        self.table.unmap(
            if result.is_ok() {
                range.clone()
            } else {
                target
            },
            &mut flush,
        );
        flush.finish();
        result.map_err(no_memory)
    }

    /// Maps at `to` what is mapped in `range`.
    fn copy_entries(&mut self, range: &Range<u64>, to: u64) -> Result<(), OutOfMemory> {
        let mut found = Vec::new();
        reserve(
            &mut found,
            ((range.end - range.start).min(BATCH) / PAGE) as usize,
        )?;
        let mut next = range.start;
        while next < range.end {
            let end = next.saturating_add(BATCH).min(range.end);
            self.table
                .for_each(next..end, |va, mapping| found.push((va, mapping)));
            for (va, mapping) in found.drain(..) {
                let va = va - range.start + to;
                if self.table.map(va, mapping.frame, mapping.prot) == Err(MapError::OutOfMemory) {
                    return Err(OutOfMemory);
                }
            }
            next = end;
        }
        Ok(())
    }
}

/// The area that `area`'s part from `start` becomes at `to`.
fn moved(area: &Area, start: u64, to: u64, len: u64) -> Area {
    let mut copy = area.clone();
    if let Backing::Object { first, .. } = &mut copy.backing {
        *first += (start - area.start) / PAGE;
    }
    (copy.start, copy.end) = (to, to + len);
    copy
}
