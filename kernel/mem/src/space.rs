//! [`Space`]: the address space of one program, shared by its threads.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut, Range};
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use hal::mem::{Account, Flush, OutOfMemory, PageTable, Root};
use sync::{SpinGuard, SpinLock};

use crate::area_map::AreaMap;
use crate::observer::Observers;
use crate::{Invalidate, Layout, MemoryObject, PAGE, USER_END, preempt};

/// Bytes of address space that are unmapped in one go under the lock.
pub(crate) const PIECE: u64 = 4 << 20;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An address space. All of it is behind one spin lock: a fault that finds its
/// page never blocks, and neither does anything else here.
///
/// Dropping a space frees its pages, which may take long: never drop the last
/// reference with a lock held.
pub struct Space {
    id: u64,
    root: Arc<Root>,
    state: SpinLock<State>,
}

/// What the lock protects.
pub(crate) struct State {
    pub(crate) table: PageTable,
    pub(crate) areas: AreaMap,
    pub(crate) account: Account,
    pub(crate) layout: Layout,
    /// End of the heap as brk(2) last set it, not rounded.
    pub(crate) heap_end: u64,
    /// Bytes mapped, touched or not.
    pub(crate) mapped: u64,
    pub(crate) limits: Limits,
    pub(crate) observers: Observers,
    pub(crate) garbage: Garbage,
}

/// Resource limits in bytes (getrlimit(2)).
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) address_space: u64,
    pub(crate) stack: u64,
    pub(crate) data: u64,
}

/// What must be dropped without the lock.
#[derive(Default)]
pub(crate) struct Garbage {
    pub(crate) objects: Vec<Arc<dyn MemoryObject>>,
    pub(crate) observers: Vec<Arc<dyn Invalidate>>,
}

/// The state, locked. What became garbage is dropped after unlocking: fields are
/// dropped in this order.
pub(crate) struct Locked<'a> {
    guard: SpinGuard<'a, State>,
    garbage: Option<Garbage>,
}

impl Deref for Locked<'_> {
    type Target = State;
    #[inline]
    fn deref(&self) -> &State {
        &self.guard
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        &mut self.guard
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.guard.garbage.is_empty() {
            self.garbage = Some(core::mem::take(&mut self.guard.garbage));
        }
    }
}

impl Garbage {
    #[inline]
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.observers.is_empty()
    }
}

impl Space {
    /// An empty space whose pages and tables `account` pays for.
    pub fn new(account: &Account) -> Result<Arc<Self>, OutOfMemory> {
        let table = PageTable::new(account)?;
        Ok(Self::with(State {
            table,
            areas: AreaMap::default(),
            account: account.clone(),
            layout: Layout::default(),
            heap_end: 0,
            mapped: 0,
            limits: Limits {
                address_space: u64::MAX,
                stack: 8 << 20,
                data: u64::MAX,
            },
            observers: Observers::default(),
            garbage: Garbage::default(),
        }))
    }

    pub(crate) fn with(state: State) -> Arc<Self> {
        let root = state.table.root().clone();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            id,
            root,
            state: SpinLock::new(state),
        })
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked {
            guard: self.state.lock(),
            garbage: None,
        }
    }

    /// A number that no other space of this boot has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who pays for pages and tables.
    #[must_use]
    pub fn account(&self) -> Account {
        self.lock().account.clone()
    }

    /// Makes this the user half of the current task.
    pub fn activate(&self) {
        hal::task::set_table(Some(&self.root));
    }

    /// Whether the current task's user half is this space.
    #[inline]
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.root.is_active()
    }

    /// Where things go.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.lock().layout
    }

    /// Sets where things go; done at exec, before anything is mapped. The heap
    /// is empty afterwards.
    pub fn set_layout(&self, layout: Layout) {
        let mut state = self.lock();
        state.layout = layout;
        state.heap_end = layout.heap;
    }

    /// Sets RLIMIT_AS in bytes: what would map more fails with ENOMEM.
    pub fn set_address_space_limit(&self, bytes: u64) {
        self.lock().limits.address_space = bytes;
    }

    /// Sets RLIMIT_STACK in bytes: how far a stack grows.
    pub fn set_stack_limit(&self, bytes: u64) {
        self.lock().limits.stack = bytes;
    }

    /// Sets RLIMIT_DATA in bytes, which holds for the heap of brk(2).
    pub fn set_data_limit(&self, bytes: u64) {
        self.lock().limits.data = bytes;
    }

    /// Registers an observer; it goes when its last strong reference does.
    pub fn add_observer(&self, observer: Weak<dyn Invalidate>) -> Result<(), OutOfMemory> {
        self.lock().observers.add(observer)
    }

    /// Unmaps everything, as a process does when its last thread has gone.
    pub fn clear(&self) {
        self.zap_large_areas();
        let mut state = self.lock();
        let state = &mut *state;
        for index in 0..state.areas.len() {
            // Area by area, to look only where pages can be.
            let range = state.areas.at(index).range();
            state.zap(&range);
        }
        // Without room for what is to be dropped, areas stay until the space
        // goes.
        let (all, inside) = (0..USER_END, 0..state.areas.len());
        let garbage = &mut state.garbage.objects;
        if state
            .areas
            .prepare_removal(&all, inside.clone(), garbage)
            .is_ok()
        {
            state.mapped -= state.areas.remove(&all, inside, garbage);
        }
    }

    /// Frees what may be many pages, letting others run now and then.
    fn zap_large_areas(&self) {
        let mut next = 0;
        loop {
            let range = {
                let state = self.lock();
                let index = state.areas.position(next);
                let mut areas = state.areas.slice(index..state.areas.len()).iter();
                areas
                    .find(|area| area.len() > PIECE)
                    .map(|area| area.range())
            };
            let Some(range) = range else { return };
            self.zap_in_pieces(&range);
            next = range.end;
        }
    }

    /// Frees the pages in `range` piece by piece, letting others run between
    /// the pieces. Areas stay, so pages may come back meanwhile.
    pub(crate) fn zap_in_pieces(&self, range: &Range<u64>) {
        let mut next = range.start;
        while next < range.end {
            next = self.lock().zap_some(next..range.end);
            preempt::point();
        }
    }
}

impl State {
    /// Frees the pages in `range`: observers first, then the table, then the
    /// translation buffers, then the frames.
    pub(crate) fn zap(&mut self, range: &Range<u64>) {
        self.invalidate(range);
        let mut flush = Flush::new();
        self.table.unmap(range.clone(), &mut flush);
        flush.finish();
    }

    /// Frees the first pages in `range`; the address to go on from.
    fn zap_some(&mut self, range: Range<u64>) -> u64 {
        let Some(start) = self.table.next_mapped(range.clone()) else {
            return range.end;
        };
        let end = start.saturating_add(PIECE).min(range.end);
        self.zap(&(start..end));
        end
    }

    /// Whether `bytes` more may be mapped.
    pub(crate) fn check_limit(&self, bytes: u64) -> Result<(), Errno> {
        match self.mapped.checked_add(bytes) {
            Some(sum) if sum <= self.limits.address_space => Ok(()),
            _ => Err(Errno::ENOMEM),
        }
    }

    /// Takes areas and pages of `range` away.
    pub(crate) fn unmap(&mut self, range: &Range<u64>) -> Result<(), OutOfMemory> {
        let inside = self.areas.touching(range);
        if inside.is_empty() {
            return Ok(());
        }
        self.areas
            .prepare_removal(range, inside.clone(), &mut self.garbage.objects)?;
        self.unmap_prepared(range, inside);
        Ok(())
    }

    /// As [`State::unmap`] of areas `inside`, after [`AreaMap::prepare_removal`].
    pub(crate) fn unmap_prepared(&mut self, range: &Range<u64>, inside: Range<usize>) {
        self.mapped -= self.areas.remove(range, inside, &mut self.garbage.objects);
        self.zap(range);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.zap_large_areas();
        // The table frees the rest by itself.
        self.lock().invalidate(&(0..USER_END));
    }
}

/// The pages that `len` bytes at `start` (a page's address) touch, if they are
/// user addresses.
pub(crate) fn pages(start: u64, len: u64) -> Option<Range<u64>> {
    let len = len.checked_next_multiple_of(PAGE)?;
    let end = start.checked_add(len)?;
    (end <= USER_END && start.is_multiple_of(PAGE)).then_some(start..end)
}
