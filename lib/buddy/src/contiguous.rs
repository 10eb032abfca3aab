//! Runs of frames whose number is no power of two, for DMA arenas.
//!
//! A run is allocated as a row of blocks that need not be buddies, so one can
//! be larger than the largest block.

use crate::zone::{largest_order, zone_of};
use crate::{Buddy, FreeError, Links, MAX_ORDER, Mark};

impl<L: Links> Buddy<L> {
    /// Allocates `count` contiguous frames, the first a multiple of `align`
    /// (a power of two, in frames), the last below frame `limit`. None if
    /// there is no such run. If no single block holds it, all blocks are
    /// looked at.
    pub fn alloc_contiguous(&mut self, count: u32, align: u32, limit: u32) -> Option<u32> {
        if count == 0 || !align.is_power_of_two() {
            return None;
        }
        let order = count
            .max(align)
            .checked_next_power_of_two()?
            .trailing_zeros();
        if order <= u32::from(MAX_ORDER)
            && let Some(start) = self.alloc_below(order as u8, limit)
        {
            let end = start + (1 << order);
            self.links.set_mark(start, Mark::NONE);
            self.free += end - start;
            self.mark_run(start, start + count);
            self.insert_range(start + count, end);
            return Some(start);
        }
        let start = self.find_run(count, align, limit)?;
        self.carve(start, start + count);
        Some(start)
    }

    /// Frees a run with the count it was allocated with.
    ///
    /// # Errors
    /// Any row of blocks that is not allocated and exactly so long. Nothing
    /// has changed then.
    pub fn free_contiguous(&mut self, start: u32, count: u32) -> Result<(), FreeError> {
        let end = start.checked_add(count).ok_or(FreeError::NotManaged)?;
        let mut frame = start;
        while frame < end {
            let block = self.block_of(frame).ok_or(FreeError::NotManaged)?;
            if block.is_free {
                return Err(FreeError::DoubleFree);
            }
            if block.head != frame || (1 << block.order) > end - frame {
                return Err(FreeError::InsideBlock {
                    head: block.head,
                    order: block.order,
                });
            }
            frame += 1 << block.order;
        }
        frame = start;
        while frame < end {
            let order = self.links.mark(frame).allocated_order().unwrap_or_default();
            self.free(frame, order)?;
            frame += 1 << order;
        }
        Ok(())
    }

    /// Marks frames that are in no block as a row of allocated ones.
    fn mark_run(&mut self, start: u32, end: u32) {
        let mut frame = start;
        while frame < end {
            let order = largest_order(frame, end);
            self.links.set_mark(frame, Mark::allocated(order));
            frame += 1 << order;
        }
        self.free -= end - start;
    }

    /// The first run of free blocks that is long enough.
    fn find_run(&self, count: u32, align: u32, limit: u32) -> Option<u32> {
        for (start, end) in self.ranges.as_slice() {
            let mut run = *start;
            let mut frame = *start;
            while frame < *end {
                let mark = self.links.mark(frame);
                if let Some(order) = mark.free_order() {
                    frame += 1 << order;
                    let first = run.checked_next_multiple_of(align)?;
                    if frame
                        .checked_sub(first)
                        .is_some_and(|length| length >= count)
                    {
                        let inside = first.checked_add(count).is_some_and(|end| end <= limit);
                        return inside.then_some(first);
                    }
                } else {
                    frame += 1 << mark.allocated_order().unwrap_or_default();
                    run = frame;
                }
            }
        }
        None
    }

    /// Takes frames out of the free blocks that hold them; what else those
    /// blocks hold stays free.
    fn carve(&mut self, start: u32, end: u32) {
        let mut frame = start;
        while let Some(block) = self.block_of(frame).filter(|b| b.is_free && frame < end) {
            let block_end = block.head + (1 << block.order);
            self.zones[zone_of(block.head)].unlink(&mut self.links, block.head, block.order);
            self.links.set_mark(block.head, Mark::NONE);
            if block.head < start {
                self.insert_range(block.head, start);
            }
            if block_end > end {
                self.insert_range(end, block_end);
            }
            frame = block_end;
        }
        self.mark_run(start, end);
    }
}
