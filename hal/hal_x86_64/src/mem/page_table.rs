//! [`PageTable`]: the program's half of an address space. The kernel's half is
//! the same in all.

use super::account::Account;
use super::flush::{self, Flush};
use super::table::{self, ACCESSED, ADDRESS, DIRTY, ENTRIES, OWNED, PRESENT, WRITABLE};
use super::{Frame, OutOfMemory, PAGE_SIZE, Prot};
use crate::cpu::{self, this_cpu};
use crate::layout::USER_END;
use crate::registers;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a page was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Something is mapped there.
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
    /// The frame.
    pub frame: Frame,
    /// What is allowed.
    pub prot: Prot,
    /// Whether it was written since it was mapped.
    pub is_dirty: bool,
}

/// The top-level table, which tasks and CPUs hold while they use it.
#[derive(Debug)]
pub struct Root {
    address: u64,
    /// The CPUs that have it loaded.
    pub(crate) active: AtomicU64,
    /// Its mappings are being taken apart: it is not to be loaded any more.
    is_closed: AtomicBool,
}

impl Root {
    /// Whether this CPU has it loaded.
    #[inline]
    pub fn is_active(&self) -> bool {
        core::ptr::eq(this_cpu().memory.loaded.get(), self)
    }

    /// Loads it on this CPU, in place of what was.
    #[inline]
    pub(crate) fn load(&self) {
        let memory = &this_cpu().memory;
        let old = memory.loaded.get();
        if core::ptr::eq(old, self) {
            return;
        }
        let bit = 1 << cpu::id();
        // Either this CPU sees that the table is closed, or who closes it sees
        // this CPU: each writes before it reads.
        self.active.fetch_or(bit, Ordering::SeqCst);
        if self.is_closed.load(Ordering::SeqCst) {
            self.active.fetch_and(!bit, Ordering::AcqRel);
            return load_none();
        }
        // SAFETY: the table shares the kernel's half; `Drop` takes it off every
        // CPU before it is freed.
        unsafe { registers::set_cr3(self.address) };
        memory.loaded.set(self);
        // SAFETY: a loaded root lives, see `Drop`.
        if let Some(old) = unsafe { old.as_ref() } {
            old.active.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Takes it off this CPU, if it is loaded here.
    pub(crate) fn unload(&self) {
        if self.is_active() {
            load_none();
        }
    }
}

/// Loads the kernel's own table, in place of what was.
#[cold]
fn load_none() {
    let old = this_cpu().memory.loaded.replace(core::ptr::null());
    // SAFETY: the kernel's own table maps all that the kernel uses.
    unsafe { registers::set_cr3(super::kernel_root()) };
    // SAFETY: a loaded root lives, see `Drop`.
    if let Some(old) = unsafe { old.as_ref() } {
        old.active.fetch_and(!(1 << cpu::id()), Ordering::AcqRel);
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        flush::detach(self);
        // SAFETY: no CPU has it loaded, and `PageTable` freed what was below.
        drop(unsafe { Frame::from_raw(self.address) });
    }
}

/// The mappings of one address space. Each holds a reference to its frame.
#[derive(Debug)]
pub struct PageTable {
    root: Arc<Root>,
    account: Account,
}

impl PageTable {
    /// An empty address space, its tables charged to `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let frame = Frame::zeroed(account)?;
        // SAFETY: the kernel's root is never freed.
        let kernel = unsafe { table::entries(super::kernel_root()) };
        table::for_each_used(&kernel[ENTRIES / 2..], |slot, entry| {
            frame.write_u64((ENTRIES / 2 + slot) * 8, entry.load(Ordering::Relaxed));
        });
        let root = Arc::new(Root {
            address: frame.into_raw(),
            active: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        });
        Ok(Self {
            root,
            account: account.clone(),
        })
    }

    /// The part that tasks hold on to.
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Whether this CPU has it loaded.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.root.is_active()
    }

    /// Maps `frame` at `va`, where nothing is mapped.
    #[inline]
    pub fn map(&mut self, va: u64, frame: Frame, prot: Prot) -> Result<(), MapError> {
        check(va)?;
        // SAFETY: the root lives as long as `self`, and `&mut` makes this the
        // only change.
        let leaf = unsafe { table::find_or_make(self.root.address, va, &self.account) }?;
        if leaf.load(Ordering::Relaxed) != 0 {
            return Err(MapError::AlreadyMapped);
        }
        leaf.store(table::owned_leaf(frame, prot), Ordering::Release);
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
        // SAFETY: as `map`.
        let leaf = unsafe { table::find_or_make(self.root.address, va, &self.account) }?;
        let old = leaf.swap(table::owned_leaf(frame, prot), Ordering::AcqRel);
        self.retire(va, old, flush);
        Ok(())
    }

    /// Unmaps the pages in `range`; their frames go into `flush`.
    pub fn unmap(&mut self, range: Range<u64>, flush: &mut Flush) {
        let end = range.end.min(USER_END);
        // SAFETY: as `map`.
        unsafe {
            table::for_each_leaf(self.root.address, range.start, end, &mut |va, leaf| {
                let old = leaf.swap(0, Ordering::AcqRel);
                self.retire(va, old, flush);
            });
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
        let end = range.end.min(USER_END);
        // SAFETY: as `map`.
        unsafe {
            table::for_each_leaf(self.root.address, range.start, end, &mut |va, leaf| {
                let old = leaf.load(Ordering::Relaxed);
                let Some(prot) = choose(va, table::prot_of(old)) else {
                    return;
                };
                let keep = ADDRESS | OWNED | DIRTY | ACCESSED;
                // Accessed and dirty may be set by another CPU just now; a lost
                // dirty bit would lose nothing but a hint, as nothing here
                // writes frames back.
                let prot = table::limited(old & ADDRESS, prot);
                leaf.store(old & keep | table::leaf_flags(prot), Ordering::Release);
                flush.note(&self.root, va, old & PRESENT != 0);
            });
        }
    }

    /// What is mapped at `va`.
    #[inline]
    pub fn lookup(&self, va: u64) -> Option<Mapping> {
        // SAFETY: the root lives; `&self` keeps changes away.
        let entry = unsafe { table::find(self.root.address, va & !0xfff) }?.load(Ordering::Acquire);
        (entry & OWNED != 0).then(|| mapping(entry))
    }

    /// The first address in `range` at which a page is mapped. What has no tables
    /// is passed over, so a large empty range costs little.
    pub fn next_mapped(&self, range: Range<u64>) -> Option<u64> {
        // SAFETY: the root lives; `&self` keeps changes away.
        unsafe {
            table::first_leaf(
                self.root.address,
                range.start & !0xfff,
                range.end.min(USER_END),
            )
        }
    }

    /// Calls `visit` for every mapped page in `range`.
    pub fn for_each(&self, range: Range<u64>, mut visit: impl FnMut(u64, Mapping)) {
        let end = range.end.min(USER_END);
        // SAFETY: the root lives, and `visit` gets no way to change it.
        unsafe {
            table::for_each_leaf(self.root.address, range.start, end, &mut |va, leaf| {
                visit(va, mapping(leaf.load(Ordering::Acquire)));
            });
        }
    }

    fn retire(&self, va: u64, old: u64, flush: &mut Flush) {
        if old & OWNED != 0 {
            // SAFETY: the leaf held this reference and is overwritten.
            flush.retire(
                &self.root,
                va,
                unsafe { Frame::from_raw(old & ADDRESS) },
                old & PRESENT != 0,
            );
        }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.root.is_closed.store(true, Ordering::SeqCst);
        flush::detach(&self.root);
        // SAFETY: no CPU has the root loaded, and none that finds it closed loads
        // it, though tasks may still hold it.
        unsafe { table::free_below(self.root.address, 0..ENTRIES / 2) }
    }
}

fn check(va: u64) -> Result<(), MapError> {
    let is_good = va < USER_END && va.is_multiple_of(PAGE_SIZE as u64);
    if is_good {
        Ok(())
    } else {
        Err(MapError::BadAddress)
    }
}

fn mapping(entry: u64) -> Mapping {
    // SAFETY: the leaf holds a reference, which stays its own; the clone below
    // counts ours.
    let held = core::mem::ManuallyDrop::new(unsafe { Frame::from_raw(entry & ADDRESS) });
    Mapping {
        frame: (*held).clone(),
        prot: table::prot_of(entry),
        is_dirty: entry & DIRTY != 0 && entry & WRITABLE != 0,
    }
}
