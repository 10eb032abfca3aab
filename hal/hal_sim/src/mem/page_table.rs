//! [`PageTable`]: the user half of an address space, with a translation buffer
//! that forgets nothing until it is told to.
//!
//! The buffer is the worst one a program could meet: all CPUs share it and it is
//! endless, so a missing flush shows as a stale read in the first test.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::WeakFrame;
use super::{Account, Flush, Frame, OutOfMemory, PAGE_SIZE, Prot, USER_END};

/// Why a page cannot be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// There is one already.
    AlreadyMapped,
    /// No memory for the tables.
    OutOfMemory,
}

impl From<OutOfMemory> for MapError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What a table says about one page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The frame, one more reference to it.
    pub frame: Frame,
    /// What it allows.
    pub prot: Prot,
    /// It was used since it was mapped.
    pub accessed: bool,
    /// It was written since it was mapped.
    pub dirty: bool,
}

#[derive(Default)]
struct Entries {
    pages: BTreeMap<u64, Mapping>,
    /// Frames of the tables themselves, by level and index.
    nodes: BTreeMap<(u8, u64), Frame>,
    buffer: BTreeMap<u64, (WeakFrame, Prot)>,
}

/// What a page table and the CPUs that use it share.
#[derive(Default)]
pub(crate) struct Table(Mutex<Entries>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, range: Range<u64>) {
        self.lock().buffer.retain(|va, _| !range.contains(va));
    }

    /// The frame that an access from ring 3 to `va` reaches, as a CPU finds it.
    pub(crate) fn translate(&self, va: u64, need: Prot) -> Option<Frame> {
        let page = va & !(PAGE_SIZE as u64 - 1);
        let need = need | Prot::READ;
        let mut entries = self.lock();
        if let Some((frame, prot)) = entries.buffer.get(&page)
            && prot.contains(need)
        {
            let frame = frame.upgrade();
            return Some(frame.expect("an access through a stale translation to a freed frame"));
        }
        let mapping = entries.pages.get_mut(&page)?;
        if !mapping.prot.contains(need) {
            return None;
        }
        mapping.accessed = true;
        mapping.dirty |= need.contains(Prot::WRITE);
        let (frame, prot) = (mapping.frame.clone(), mapping.prot);
        entries.buffer.insert(page, (frame.downgrade(), prot));
        Some(frame)
    }
}

thread_local! {
    static ACTIVE: RefCell<Option<Arc<Table>>> = const { RefCell::new(None) };
}

/// The table that this thread's user accesses go through.
pub(crate) fn active() -> Option<Arc<Table>> {
    ACTIVE.with_borrow(Clone::clone)
}

/// A reference to a table for those that load it.
#[derive(Clone)]
pub struct Root(Arc<Table>);

/// Loads a table for the current task: its user accesses go through it.
pub fn activate(table: &Root) {
    ACTIVE.set(Some(table.0.clone()));
}

/// The current task has no user half any more.
pub fn deactivate() {
    ACTIVE.set(None);
}

/// The page table of one address space. It holds its frames by reference.
pub struct PageTable {
    table: Arc<Table>,
    account: Account,
    _root: Frame,
}

fn check(range: &Range<u64>) {
    let page = PAGE_SIZE as u64;
    assert!(
        range.start.is_multiple_of(page) && range.end.is_multiple_of(page) && range.end <= USER_END,
        "{range:#x?} is not a range of user pages"
    );
}

impl PageTable {
    /// An empty table, paid for by `account` as are the levels below it.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let root = Frame::zeroed(account)?;
        Ok(Self {
            table: Arc::default(),
            account: account.clone(),
            _root: root,
        })
    }

    /// The reference that [`activate`] wants.
    #[must_use]
    pub fn root(&self) -> Root {
        Root(self.table.clone())
    }

    /// Whether the current task has this table loaded.
    #[must_use]
    pub fn is_active(&self) -> bool {
        ACTIVE.with_borrow(|active| {
            active
                .as_ref()
                .is_some_and(|it| Arc::ptr_eq(it, &self.table))
        })
    }

    fn ensure_nodes(&self, entries: &mut Entries, va: u64) -> Result<(), OutOfMemory> {
        for (level, shift) in [(3u8, 39), (2, 30), (1, 21)] {
            if let Entry::Vacant(node) = entries.nodes.entry((level, va >> shift)) {
                node.insert(Frame::zeroed(&self.account)?);
            }
        }
        Ok(())
    }

    /// Maps one page where none is.
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), MapError> {
        check(&(va..va + PAGE_SIZE as u64));
        assert_eq!(frame.order(), 0, "user pages are mapped one by one");
        let mut entries = self.table.lock();
        if entries.pages.contains_key(&va) {
            return Err(MapError::AlreadyMapped);
        }
        self.ensure_nodes(&mut entries, va)?;
        entries.pages.insert(
            va,
            Mapping {
                frame,
                prot,
                accessed: false,
                dirty: false,
            },
        );
        Ok(())
    }

    /// Puts `frame` in the place of the page mapped at `va`, or does nothing
    /// where none is. The old frame goes into the flush; the result says
    /// whether there was one.
    pub fn remap(&mut self, va: u64, frame: Frame, prot: Prot, flush: &mut Flush) -> bool {
        let mut entries = self.table.lock();
        let Some(mapping) = entries.pages.get_mut(&va) else {
            return false;
        };
        flush.frame(std::mem::replace(&mut mapping.frame, frame));
        (mapping.prot, mapping.accessed, mapping.dirty) = (prot, false, false);
        flush.range(&self.table, va..va + PAGE_SIZE as u64);
        true
    }

    /// Unmaps what is mapped in `range`; the frames go into the flush.
    pub fn unmap(&mut self, range: Range<u64>, flush: &mut Flush) {
        check(&range);
        let mut entries = self.table.lock();
        let pages: Vec<u64> = entries
            .pages
            .range(range.clone())
            .map(|(&va, _)| va)
            .collect();
        for va in &pages {
            if let Some(mapping) = entries.pages.remove(va) {
                flush.frame(mapping.frame);
            }
        }
        if !pages.is_empty() {
            flush.range(&self.table, range);
        }
    }

    /// Gives what is mapped in `range` the protection `prot`.
    pub fn protect(&mut self, range: Range<u64>, prot: Prot, flush: &mut Flush) {
        check(&range);
        let mut entries = self.table.lock();
        let mut lowered = false;
        for (_, mapping) in entries.pages.range_mut(range.clone()) {
            lowered |= !prot.contains(mapping.prot);
            mapping.prot = prot;
        }
        if lowered {
            flush.range(&self.table, range);
        }
    }

    /// What is mapped at `va`.
    #[must_use]
    pub fn lookup(&self, va: u64) -> Option<Mapping> {
        self.table
            .lock()
            .pages
            .get(&(va & !(PAGE_SIZE as u64 - 1)))
            .cloned()
    }

    /// Calls `visit` for each page mapped in `range`, in order.
    pub fn for_each(&self, range: Range<u64>, mut visit: impl FnMut(u64, &Frame, Prot)) {
        for (&va, mapping) in self.table.lock().pages.range(range) {
            visit(va, &mapping.frame, mapping.prot);
        }
    }

    /// Maps in `other` what is mapped here in `range`, at the same addresses.
    /// With `copy_on_write` both lose the right to write.
    pub fn share_range(
        &mut self,
        other: &mut PageTable,
        range: Range<u64>,
        copy_on_write: bool,
        flush: &mut Flush,
    ) -> Result<(), OutOfMemory> {
        check(&range);
        let mut entries = self.table.lock();
        let mut lowered = false;
        for (&va, mapping) in entries.pages.range_mut(range.clone()) {
            if copy_on_write && mapping.prot.contains(Prot::WRITE) {
                mapping.prot = mapping.prot.without(Prot::WRITE);
                lowered = true;
            }
            match other.map(va, mapping.frame.clone(), mapping.prot) {
                Ok(()) | Err(MapError::AlreadyMapped) => {}
                Err(MapError::OutOfMemory) => {
                    flush.range(&self.table, range);
                    return Err(OutOfMemory);
                }
            }
        }
        if lowered {
            flush.range(&self.table, range);
        }
        Ok(())
    }

    /// Moves what is mapped in `range` to the empty range that begins at `to`.
    /// Without memory for the tables there, nothing moves.
    pub fn move_range(
        &mut self,
        range: Range<u64>,
        to: u64,
        flush: &mut Flush,
    ) -> Result<(), OutOfMemory> {
        check(&range);
        let mut entries = self.table.lock();
        let pages: Vec<u64> = entries
            .pages
            .range(range.clone())
            .map(|(&va, _)| va)
            .collect();
        let regions: BTreeSet<u64> = pages.iter().map(|va| va - range.start + to).collect();
        for va in regions {
            self.ensure_nodes(&mut entries, va)?;
        }
        for va in pages {
            if let Some(mapping) = entries.pages.remove(&va) {
                let old = entries.pages.insert(va - range.start + to, mapping);
                assert!(old.is_none(), "the range to move to is not empty");
            }
        }
        flush.range(&self.table, range);
        Ok(())
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        *self.table.lock() = Entries::default();
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
        activate(&table.root());
        let read = || {
            let mut byte = [0];
            user::copy_in(0x1000, &mut byte).unwrap();
            byte[0]
        };
        assert_eq!(read(), 1);
        let mut flush = Flush::new();
        assert!(table.remap(0x1000, new, RW, &mut flush));
        assert_eq!(read(), 1);
        flush.finish();
        assert_eq!(read(), 2);
    }
}
