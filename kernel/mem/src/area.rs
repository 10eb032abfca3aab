//! [`Area`]: one mapped range and what is behind it.

use alloc::sync::Arc;
use core::ops::Range;

use hal::mem::Prot;

use crate::{Access, MemoryObject, PAGE};

bitflags::bitflags! {
    /// What is to be known of an area besides its protection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct AreaFlags: u16 {
        /// Writes go to the object.
        const SHARED = 1;
        /// Protection may be raised to writing.
        const MAY_WRITE = 2;
        /// Grows downwards when the page below is touched.
        const GROWS_DOWN = 4;
        /// The heap of brk(2).
        const HEAP = 8;
        /// Not inherited by fork.
        const DONT_FORK = 16;
        /// Empty in the child of a fork.
        const WIPE_ON_FORK = 32;
        /// Some page of a private mapping of an object may be a copy.
        const HAS_COPIES = 64;
    }
}

/// Where pages come from.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Zeros, private.
    Anonymous,
    /// An object; `first` is the number of the page at the area's start.
    Object {
        object: Arc<dyn MemoryObject>,
        first: u64,
    },
}

/// One mapped range, page-aligned and not empty.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) prot: Prot,
    pub(crate) flags: AreaFlags,
    pub(crate) backing: Backing,
}

impl Area {
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(crate) fn contains(&self, va: u64) -> bool {
        self.start <= va && va < self.end
    }

    pub(crate) fn has(&self, flag: AreaFlags) -> bool {
        self.flags.contains(flag)
    }

    /// Whether the program may do this here. As on every x86 CPU, a page that
    /// can be written or executed can be read.
    #[inline]
    pub(crate) fn allows(&self, access: Access) -> bool {
        match access {
            Access::Read => self.prot != Prot::NONE,
            Access::Write => self.prot.contains(Prot::WRITE),
            Access::Exec => self.prot.contains(Prot::EXEC),
        }
    }

    /// What the page table allows where nothing is shared copy-on-write.
    #[inline]
    pub(crate) fn page_prot(&self) -> Prot {
        page_prot(self.prot)
    }

    /// The number within the object of the page at `va`.
    pub(crate) fn page_index(&self, first: u64, va: u64) -> u64 {
        first + (va - self.start) / PAGE
    }

    /// Cuts at `va`, which lies inside; this keeps the part below.
    pub(crate) fn split_off(&mut self, va: u64) -> Area {
        let mut upper = self.clone();
        if let Backing::Object { first, .. } = &mut upper.backing {
            *first += (va - self.start) / PAGE;
        }
        upper.start = va;
        self.end = va;
        upper
    }

    /// Whether `next` continues this area, so that one area can stand for both.
    pub(crate) fn joins(&self, next: &Area) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && !self.has(AreaFlags::GROWS_DOWN)
            && (self.flags | AreaFlags::HAS_COPIES) == (next.flags | AreaFlags::HAS_COPIES)
            && self.backing_continues(next)
    }

    fn backing_continues(&self, next: &Area) -> bool {
        match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (
                Backing::Object { object, first },
                Backing::Object {
                    object: other,
                    first: next_first,
                },
            ) => Arc::ptr_eq(object, other) && self.page_index(*first, self.end) == *next_first,
            _ => false,
        }
    }

    /// Takes in `next`, which [`Area::joins`].
    pub(crate) fn absorb(&mut self, next: Area) {
        self.end = next.end;
        self.flags |= next.flags;
    }
}

/// The page-table form of a protection.
#[inline]
pub(crate) fn page_prot(prot: Prot) -> Prot {
    if prot == Prot::NONE {
        prot
    } else {
        prot | Prot::READ
    }
}
