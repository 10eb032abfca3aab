//! [`PageTable`]: the user half of an address space, with a translation buffer
//! that forgets nothing until it is told to.
//!
//! The buffer is the worst one a program could meet: all CPUs share it and it is
//! endless, so a missing flush shows as a stale read in the first test.

use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::WeakFrame;
use super::{Account, Flush, Frame, OutOfMemory, PAGE_SIZE, Prot, USER_END};
use crate::task;

/// Why a page cannot be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// There is one already.
    AlreadyMapped,
    /// No memory for the tables.
    OutOfMemory,
    /// The address is not a program's, or not that of a page.
    BadAddress,
}

impl From<OutOfMemory> for MapError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// A mapped page.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The frame, one more reference to it.
    pub frame: Frame,
    /// What is allowed.
    pub prot: Prot,
    /// Whether it was written since it was mapped.
    pub is_dirty: bool,
}

#[derive(Default)]
struct Entries {
    pages: BTreeMap<u64, Mapping>,
    /// Frames of the tables themselves, by level and index.
    nodes: BTreeMap<(u8, u64), Frame>,
    buffer: BTreeMap<u64, (WeakFrame, Prot)>,
}

/// The top of a table, which tasks hold while they use it.
#[derive(Default)]
pub struct Root(Mutex<Entries>);

impl Root {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, range: Range<u64>) {
        self.lock().buffer.retain(|va, _| !range.contains(va));
    }

    /// Whether the current task has it loaded.
    #[must_use]
    pub fn is_active(&self) -> bool {
        task::with_table(|active| active.is_some_and(|it| std::ptr::eq(it, self)))
    }

    /// Makes an access from ring 3 to `va` as a CPU does: `access` gets the frame
    /// that is found, while nobody changes the table or flushes. `None` is a
    /// page fault.
    pub(crate) fn access<R>(
        &self,
        va: u64,
        need: Prot,
        access: impl FnOnce(&Frame, usize) -> R,
    ) -> Option<R> {
        let offset = va as usize % PAGE_SIZE;
        let page = va - offset as u64;
        let need = need | Prot::READ;
        let mut entries = self.lock();
        if let Some((frame, prot)) = entries.buffer.get(&page)
            && prot.contains(need)
        {
            let stale = "an access through a stale translation to a freed frame";
            return Some(access(&frame.upgrade().expect(stale), offset));
        }
        let mapping = entries.pages.get_mut(&page)?;
        if !mapping.prot.contains(need) {
            return None;
        }
        mapping.is_dirty |= need.contains(Prot::WRITE);
        let (frame, prot) = (mapping.frame.downgrade(), mapping.prot);
        let result = access(&mapping.frame, offset);
        entries.buffer.insert(page, (frame, prot));
        Some(result)
    }
}

/// The page table of one address space. It holds its frames by reference.
pub struct PageTable {
    root: Arc<Root>,
    account: Account,
    _top: Frame,
}

fn check(va: u64) -> Result<(), MapError> {
    let is_good = va < USER_END && va.is_multiple_of(PAGE_SIZE as u64);
    if is_good {
        Ok(())
    } else {
        Err(MapError::BadAddress)
    }
}

impl PageTable {
    /// An empty address space, its tables charged to `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let top = Frame::zeroed(account)?;
        Ok(Self {
            root: Arc::default(),
            account: account.clone(),
            _top: top,
        })
    }

    /// The part that tasks hold on to.
    #[must_use]
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Whether the current task has it loaded.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.root.is_active()
    }

    fn ensure_nodes(&self, entries: &mut Entries, va: u64) -> Result<(), OutOfMemory> {
        for (level, shift) in [(3u8, 39), (2, 30), (1, 21)] {
            if let Entry::Vacant(node) = entries.nodes.entry((level, va >> shift)) {
                node.insert(Frame::zeroed(&self.account)?);
            }
        }
        Ok(())
    }

    /// Maps `frame` at `va`, where nothing is mapped.
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), MapError> {
        check(va)?;
        let mut entries = self.root.lock();
        self.ensure_nodes(&mut entries, va)?;
        if entries.pages.contains_key(&va) {
            return Err(MapError::AlreadyMapped);
        }
        entries.pages.insert(
            va,
            Mapping {
                frame,
                prot,
                is_dirty: false,
            },
        );
        Ok(())
    }

    /// Maps `frame` in place of what is at `va`, whose frame goes into `flush`.
    pub fn replace(
        &mut self,
        va: u64,
        frame: Frame,
        prot: Prot,
        flush: &mut Flush,
    ) -> Result<(), MapError> {
        check(va)?;
        let mut entries = self.root.lock();
        self.ensure_nodes(&mut entries, va)?;
        if let Some(old) = entries.pages.insert(
            va,
            Mapping {
                frame,
                prot,
                is_dirty: false,
            },
        ) {
            flush.retire(&self.root, va, old.frame);
        }
        Ok(())
    }

    /// Unmaps the pages in `range`; their frames go into `flush`.
    pub fn unmap(&mut self, range: Range<u64>, flush: &mut Flush) {
        let mut entries = self.root.lock();
        let pages: Vec<u64> = entries.pages.range(range).map(|(&va, _)| va).collect();
        for va in pages {
            if let Some(mapping) = entries.pages.remove(&va) {
                flush.retire(&self.root, va, mapping.frame);
            }
        }
    }

    /// Changes what the pages in `range` allow.
    pub fn protect(&mut self, range: Range<u64>, prot: Prot, flush: &mut Flush) {
        self.change(range, flush, |_, _| Some(prot));
    }

    /// Asks `choose` for each mapped page in `range` what it shall allow; it
    /// gets the address and what is allowed now.
    pub fn change(
        &mut self,
        range: Range<u64>,
        flush: &mut Flush,
        mut choose: impl FnMut(u64, Prot) -> Option<Prot>,
    ) {
        for (&va, mapping) in self.root.lock().pages.range_mut(range) {
            if let Some(prot) = choose(va, mapping.prot) {
                mapping.prot = prot;
                flush.note(&self.root, va);
            }
        }
    }

    /// What is mapped at `va`.
    #[must_use]
    pub fn lookup(&self, va: u64) -> Option<Mapping> {
        self.root
            .lock()
            .pages
            .get(&(va & !(PAGE_SIZE as u64 - 1)))
            .cloned()
    }

    /// The first address in `range` at which a page is mapped.
    #[must_use]
    pub fn next_mapped(&self, range: Range<u64>) -> Option<u64> {
        self.root
            .lock()
            .pages
            .range(range)
            .next()
            .map(|(&va, _)| va)
    }

    /// Calls `visit` for every mapped page in `range`.
    pub fn for_each(&self, range: Range<u64>, mut visit: impl FnMut(u64, Mapping)) {
        for (&va, mapping) in self.root.lock().pages.range(range) {
            visit(va, mapping.clone());
        }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        *self.root.lock() = Entries::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user;

    const RW: Prot = Prot::READ.union(Prot::WRITE);

    #[test]
    fn what_is_mapped_is_held_and_paid() {
        let account = Account::new(16).unwrap();
        let mut table = PageTable::new(&account).unwrap();
        let frame = Frame::zeroed(&account).unwrap();
        table.map(0x1000, frame.clone(), RW).unwrap();
        assert_eq!(
            table.map(0x1000, frame.clone(), RW),
            Err(MapError::AlreadyMapped)
        );
        assert_eq!(frame.ref_count(), 2);
        assert_eq!(account.used(), 5);
        let mut flush = Flush::new();
        table.unmap(0..0x10000, &mut flush);
        assert_eq!(frame.ref_count(), 2);
        flush.finish();
        assert_eq!(frame.ref_count(), 1);
        drop((table, frame));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_translation_lives_until_the_flush() {
        let account = Account::new(16).unwrap();
        let mut table = PageTable::new(&account).unwrap();
        let (old, new) = (
            Frame::zeroed(&account).unwrap(),
            Frame::zeroed(&account).unwrap(),
        );
        old.write(0, &[1]);
        new.write(0, &[2]);
        table.map(0x1000, old, RW).unwrap();
        task::set_table(Some(table.root()));
        let read = || {
            let mut byte = [0];
            user::copy_in(0x1000, &mut byte).unwrap();
            byte[0]
        };
        assert_eq!(read(), 1);
        let mut flush = Flush::new();
        table.replace(0x1000, new, RW, &mut flush).unwrap();
        assert_eq!(read(), 1);
        flush.finish();
        assert_eq!(read(), 2);
    }
}
