//! A zone: the free lists of frames that a class of devices can reach.
//!
//! Old devices address 16 MiB, many others 4 GiB. Keeping their frames in
//! lists of their own makes a request below such a limit as cheap as any
//! other, and lets ordinary requests spare them.

use crate::{Links, MAX_ORDER, Mark, NONE, ORDERS};

/// Where each zone ends: 16 MiB, 4 GiB, everything.
pub const ZONE_ENDS: [u32; ZONES] = [1 << 12, 1 << 20, NONE];
pub(crate) const ZONES: usize = 3;

/// The zone that a frame is in.
pub(crate) const fn zone_of(frame: u32) -> usize {
    (frame >= ZONE_ENDS[0]) as usize + (frame >= ZONE_ENDS[1]) as usize
}

/// Whether a zone other than the first begins here: the only place where a
/// pair of buddies can straddle zones.
pub(crate) const fn begins_zone(frame: u32) -> bool {
    frame == ZONE_ENDS[0] || frame == ZONE_ENDS[1]
}

/// The order of the largest block that may begin at `start` and lies before `end`.
pub(crate) fn largest_order(start: u32, end: u32) -> u8 {
    let end = end.min(ZONE_ENDS[zone_of(start)]);
    let fits = (end - start).ilog2();
    start.trailing_zeros().min(fits).min(u32::from(MAX_ORDER)) as u8
}

/// Free lists by order.
#[derive(Debug)]
pub(crate) struct Zone {
    /// Bit n is set if the list of order n is not empty.
    nonempty: u32,
    heads: [u32; ORDERS],
    counts: [u32; ORDERS],
}

impl Zone {
    pub(crate) const EMPTY: Self = Self {
        nonempty: 0,
        heads: [NONE; ORDERS],
        counts: [0; ORDERS],
    };

    /// The smallest order of at least `order` that has a free block.
    #[inline]
    pub(crate) fn smallest(&self, order: u8) -> Option<u8> {
        let orders = self.nonempty & (u32::MAX << order);
        if orders == 0 {
            None
        } else {
            Some(orders.trailing_zeros() as u8)
        }
    }

    pub(crate) fn head(&self, order: u8) -> u32 {
        self.heads[usize::from(order)]
    }

    pub(crate) fn count(&self, order: usize) -> u32 {
        self.counts[order]
    }

    /// Puts a block in front of its list.
    #[inline]
    pub(crate) fn push<L: Links>(&mut self, links: &mut L, frame: u32, order: u8) {
        let at = usize::from(order);
        let next = self.heads[at];
        links.set_mark(frame, Mark::free(order));
        links.set_next(frame, next);
        links.set_prev(frame, NONE);
        if next == NONE {
            self.nonempty |= 1 << order;
        } else {
            links.set_prev(next, frame);
        }
        self.heads[at] = frame;
        self.counts[at] += 1;
    }

    /// Takes the first block of a list that is not empty. Its mark stays.
    #[inline]
    pub(crate) fn pop<L: Links>(&mut self, links: &mut L, order: u8) -> u32 {
        let at = usize::from(order);
        let frame = self.heads[at];
        let next = links.next(frame);
        self.heads[at] = next;
        self.counts[at] -= 1;
        if next == NONE {
            self.nonempty &= !(1 << order);
        } else {
            links.set_prev(next, NONE);
        }
        frame
    }

    /// Takes a block from wherever it is in its list. Its mark stays.
    #[inline]
    pub(crate) fn unlink<L: Links>(&mut self, links: &mut L, frame: u32, order: u8) {
        let prev = links.prev(frame);
        if prev == NONE {
            self.pop(links, order);
            return;
        }
        let next = links.next(frame);
        links.set_next(prev, next);
        if next != NONE {
            links.set_prev(next, prev);
        }
        self.counts[usize::from(order)] -= 1;
    }
}
