//! mprotect(2).

use core::ops::Range;

use abi::Errno;
use hal::mem::{Flush, OutOfMemory, Prot};

use crate::area::{AreaFlags, page_prot};
use crate::map::no_memory;
use crate::space::{State, pages};
use crate::{PAGE, Space};

impl Space {
    /// Changes what the pages of `len` bytes at `start` allow (mprotect(2)).
    ///
    /// # Errors
    /// EINVAL: `start` is not a page's address. ENOMEM: not all of it is mapped
    /// (what lies before the gap is changed), or a cut would make too many
    /// areas. EACCES: a shared mapping of what is not open for writing.
    pub fn mprotect(&self, start: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let range = pages(start, len).ok_or(Errno::ENOMEM)?;
        if range.is_empty() {
            return Ok(());
        }
        self.lock().protect(&range, prot)
    }

    /// As [`Space::mprotect`] with PROT_GROWSDOWN: from the start of the stack
    /// that `start` lies in.
    ///
    /// # Errors
    /// EINVAL: no stack is there; others as [`Space::mprotect`].
    pub fn mprotect_grows_down(&self, start: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        let range = pages(start, len).ok_or(Errno::EINVAL)?;
        let mut state = self.lock();
        let index = state.areas.find(start).ok_or(Errno::ENOMEM)?;
        let area = state.areas.at(index);
        if !area.has(AreaFlags::GROWS_DOWN) {
            return Err(Errno::EINVAL);
        }
        let from = area.start;
        state.protect(&(from..range.end), prot)
    }
}

impl State {
    fn protect(&mut self, range: &Range<u64>, prot: Prot) -> Result<(), Errno> {
        let (end, result) = self.protectable(range, prot);
        if end > range.start {
            self.apply_protection(&(range.start..end), prot)
                .map_err(no_memory)?;
        }
        result
    }

    /// How far the change can go, and what stops it.
    fn protectable(&self, range: &Range<u64>, prot: Prot) -> (u64, Result<(), Errno>) {
        let mut end = range.start;
        for area in self.areas.slice(self.areas.touching(range)) {
            if area.start > end {
                break;
            }
            if prot.contains(Prot::WRITE) && !area.has(AreaFlags::MAY_WRITE) {
                return (end, Err(Errno::EACCES));
            }
            end = area.end;
        }
        if end < range.end {
            (end, Err(Errno::ENOMEM))
        } else {
            (range.end, Ok(()))
        }
    }

    fn apply_protection(&mut self, range: &Range<u64>, prot: Prot) -> Result<(), OutOfMemory> {
        let inside = self.areas.touching(range);
        self.areas.prepare_cuts(range, inside.clone())?;
        let inside = self.areas.carve(range, inside);
        for index in inside.clone() {
            let area = self.areas.at_mut(index);
            let old = core::mem::replace(&mut area.prot, prot);
            let part = area.range();
            self.change_pages(&part, page_prot(old), page_prot(prot));
        }
        for index in (inside.start..=inside.end).rev() {
            self.areas.join(index);
        }
        Ok(())
    }

    /// Follows a change of protection in the table. The right to write is not
    /// given here: it comes with the next write, when it is known whether the
    /// page is shared.
    fn change_pages(&mut self, range: &Range<u64>, old: Prot, new: Prot) {
        if old.without(Prot::WRITE) == new.without(Prot::WRITE)
            && (!old.contains(Prot::WRITE) || new.contains(Prot::WRITE))
        {
            return;
        }
        if !new.contains(old) {
            self.invalidate(range);
        }
        let mut flush = Flush::new();
        self.table
            .protect(range.clone(), new.without(Prot::WRITE), &mut flush);
        flush.finish();
    }
}
