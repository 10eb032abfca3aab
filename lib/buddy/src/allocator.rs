//! Allocation and freeing of single blocks.

use crate::ranges::Ranges;
use crate::zone::{ZONES, Zone, begins_zone, largest_order, zone_of};
use crate::{AddError, FreeError, Links, MAX_ORDER, Mark, NONE, ORDERS, ZONE_ENDS};

/// The allocator; see the crate's text.
#[derive(Debug)]
pub struct Buddy<L> {
    pub(crate) links: L,
    pub(crate) zones: [Zone; ZONES],
    pub(crate) ranges: Ranges,
    pub(crate) free: u32,
    managed: u32,
}

/// A block of 2^order frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first frame.
    pub head: u32,
    /// Its order.
    pub order: u8,
    /// Whether it is free.
    pub is_free: bool,
}

/// Where the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Frames under management.
    pub managed: u32,
    /// Free frames.
    pub free: u32,
    /// Free blocks by order.
    pub free_blocks: [u32; ORDERS],
    /// Free frames by zone; see [`ZONE_ENDS`].
    pub free_in_zone: [u32; ZONES],
}

impl<L: Links> Buddy<L> {
    /// An allocator without frames.
    pub const fn new(links: L) -> Self {
        let zones = [Zone::EMPTY; ZONES];
        Self {
            links,
            zones,
            ranges: Ranges::EMPTY,
            free: 0,
            managed: 0,
        }
    }

    /// Takes `count` frames from `start` under management, as free.
    ///
    /// # Errors
    /// See [`AddError`]; nothing has changed then.
    pub fn add_range(&mut self, start: u32, count: u32) -> Result<(), AddError> {
        let end = start.checked_add(count).ok_or(AddError::OutOfBounds)?;
        if count == 0 || end > self.links.len() || end == NONE {
            return Err(AddError::OutOfBounds);
        }
        self.ranges.insert(start, end)?;
        self.managed += count;
        self.free += count;
        self.insert_range(start, end);
        Ok(())
    }

    /// Allocates a block of `order`, aligned to its size; from the highest
    /// zone that has one. None if there is none.
    #[inline]
    pub fn alloc(&mut self, order: u8) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        let mut zone = ZONES;
        while zone > 0 {
            zone -= 1;
            if let Some(frame) = self.alloc_in(zone, order) {
                return Some(frame);
            }
        }
        None
    }

    /// Allocates a block that ends at or before frame `limit`. Where `limit`
    /// is within a zone, that zone's lists are searched.
    pub fn alloc_below(&mut self, order: u8, limit: u32) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        (0..ZONES).rev().find_map(|zone| {
            let start = if zone == 0 { 0 } else { ZONE_ENDS[zone - 1] };
            if limit >= ZONE_ENDS[zone] {
                self.alloc_in(zone, order)
            } else if limit > start {
                self.search_in(zone, order, limit)
            } else {
                None
            }
        })
    }

    #[inline]
    fn alloc_in(&mut self, zone: usize, order: u8) -> Option<u32> {
        let found = self.zones[zone].smallest(order)?;
        let frame = self.zones[zone].pop(&mut self.links, found);
        if found > order {
            self.give_back(zone, frame, found, order);
        }
        self.mark_taken(frame, order);
        Some(frame)
    }

    fn search_in(&mut self, zone: usize, order: u8, limit: u32) -> Option<u32> {
        let last = limit.checked_sub(1 << order)?;
        let mut from = order;
        while let Some(found) = self.zones[zone].smallest(from) {
            let mut frame = self.zones[zone].head(found);
            while frame != NONE && frame > last {
                frame = self.links.next(frame);
            }
            if frame != NONE {
                self.zones[zone].unlink(&mut self.links, frame, found);
                self.give_back(zone, frame, found, order);
                self.mark_taken(frame, order);
                return Some(frame);
            }
            from = found + 1;
        }
        None
    }

    /// Makes free blocks of an unlinked block but for its lowest part.
    fn give_back(&mut self, zone: usize, frame: u32, found: u8, order: u8) {
        let mut half = found;
        while half > order {
            half -= 1;
            self.zones[zone].push(&mut self.links, frame + (1 << half), half);
        }
    }

    #[inline]
    fn mark_taken(&mut self, frame: u32, order: u8) {
        self.links.set_mark(frame, Mark::allocated(order));
        self.free -= 1 << order;
    }

    /// Frees a block with the order it was allocated with.
    ///
    /// # Errors
    /// Any block that is not allocated exactly so; see [`FreeError`].
    #[inline]
    pub fn free(&mut self, frame: u32, order: u8) -> Result<(), FreeError> {
        if frame >= self.links.len() || self.links.mark(frame) != Mark::allocated(order) {
            return Err(self.why_not_freed(frame));
        }
        self.free += 1 << order;
        self.insert_merging(frame, order);
        Ok(())
    }

    /// Makes a free block of frames, joining it with its free buddies.
    #[inline]
    pub(crate) fn insert_merging(&mut self, mut frame: u32, mut order: u8) {
        let zone = &mut self.zones[zone_of(frame)];
        while order < MAX_ORDER {
            let bit = 1 << order;
            let (buddy, upper) = (frame ^ bit, frame | bit);
            let known = buddy < self.links.len();
            if !known || self.links.mark(buddy) != Mark::free(order) || begins_zone(upper) {
                break;
            }
            zone.unlink(&mut self.links, buddy, order);
            self.links.set_mark(upper, Mark::NONE);
            frame &= !bit;
            order += 1;
        }
        zone.push(&mut self.links, frame, order);
    }

    /// Makes free blocks of frames that are in no block.
    pub(crate) fn insert_range(&mut self, start: u32, end: u32) {
        let mut frame = start;
        while frame < end {
            let order = largest_order(frame, end);
            self.insert_merging(frame, order);
            frame += 1 << order;
        }
    }

    #[cold]
    fn why_not_freed(&self, frame: u32) -> FreeError {
        match self.block_of(frame) {
            None => FreeError::NotManaged,
            Some(Block { is_free: true, .. }) => FreeError::DoubleFree,
            Some(Block { head, order, .. }) if head == frame => {
                FreeError::WrongOrder { allocated: order }
            }
            Some(Block { head, order, .. }) => FreeError::InsideBlock { head, order },
        }
    }

    /// The block that a frame is in; none if it is not managed.
    #[must_use]
    pub fn block_of(&self, frame: u32) -> Option<Block> {
        if frame >= self.links.len() {
            return None;
        }
        (0..=MAX_ORDER).find_map(|least| {
            let head = frame & (u32::MAX << least);
            let mark = self.links.mark(head);
            let (order, is_free) = match (mark.free_order(), mark.allocated_order()) {
                (Some(order), _) => (order, true),
                (_, Some(order)) => (order, false),
                _ => return None,
            };
            (order >= least).then_some(Block {
                head,
                order,
                is_free,
            })
        })
    }

    /// Turns an allocated block into allocated blocks of a smaller order, to
    /// be freed one by one.
    ///
    /// # Errors
    /// If no such block is allocated; see [`FreeError`].
    pub fn split_allocated(&mut self, frame: u32, order: u8, into: u8) -> Result<(), FreeError> {
        if frame >= self.links.len() || self.links.mark(frame) != Mark::allocated(order) {
            return Err(self.why_not_freed(frame));
        }
        if into < order {
            for piece in (frame..frame + (1 << order)).step_by(1 << into) {
                self.links.set_mark(piece, Mark::allocated(into));
            }
        }
        Ok(())
    }

    /// The number of free frames.
    pub const fn free_frames(&self) -> u32 {
        self.free
    }

    /// The number of frames under management, free or not.
    pub const fn managed_frames(&self) -> u32 {
        self.managed
    }

    /// The largest order of which a block is free.
    #[must_use]
    pub fn largest_free_order(&self) -> Option<u8> {
        (0..=MAX_ORDER)
            .rev()
            .find(|order| self.zones.iter().any(|z| z.count(usize::from(*order)) != 0))
    }

    /// Where the frames are.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut free_blocks = [0; ORDERS];
        let mut free_in_zone = [0; ZONES];
        for (zone, free) in self.zones.iter().zip(&mut free_in_zone) {
            for (order, blocks) in free_blocks.iter_mut().enumerate() {
                *blocks += zone.count(order);
                *free += zone.count(order) << order;
            }
        }
        Statistics {
            managed: self.managed,
            free: self.free,
            free_blocks,
            free_in_zone,
        }
    }

    /// The per-frame state.
    pub const fn links(&self) -> &L {
        &self.links
    }

    /// The per-frame state. The owner may change what it keeps there besides
    /// the allocator's part, and `next` and `prev` of allocated frames.
    pub const fn links_mut(&mut self) -> &mut L {
        &mut self.links
    }
}
