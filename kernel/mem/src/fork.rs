//! fork(2): a copy of a space whose private pages are shared until one side
//! writes.

use alloc::sync::Arc;
use core::ops::Range;

use abi::Errno;
use hal::mem::{Account, Flush, MapError, OutOfMemory, PageTable, Prot};

use crate::area::{Area, AreaFlags, Backing};
use crate::area_map::AreaMap;
use crate::map::no_memory;
use crate::observer::Observers;
use crate::space::{Garbage, State};
use crate::{Space, USER_END};

impl Space {
    /// A copy of this space, paid for by `account` from now on (pages that are
    /// shared stay with who made them). Observers are not inherited.
    ///
    /// # Errors
    /// ENOMEM; then this space is as it was.
    pub fn fork(&self, account: &Account) -> Result<Arc<Space>, Errno> {
        let mut parent = self.lock();
        parent.fork(account).map(Space::with).map_err(no_memory)
    }
}

impl State {
    fn fork(&mut self, account: &Account) -> Result<State, OutOfMemory> {
        let mut child = State {
            table: PageTable::new(account)?,
            areas: AreaMap::default(),
            account: account.clone(),
            layout: self.layout,
            heap_end: self.heap_end,
            mapped: 0,
            limits: self.limits,
            observers: Observers::default(),
            garbage: Garbage::default(),
        };
        child.areas.reserve(self.areas.len())?;
        self.invalidate(&(0..USER_END));
        // Finished (by being dropped) before the lock goes: no thread of the
        // parent may write to a page that the child has.
        let mut flush = Flush::new();
        for area in self
            .areas
            .iter()
            .filter(|area| !area.has(AreaFlags::DONT_FORK))
        {
            child.mapped += area.len();
            child.areas.insert(area.clone());
            if has_own_pages(area) {
                share(&mut self.table, &mut child.table, area.range(), &mut flush)?;
            }
        }
        flush.finish();
        Ok(child)
    }
}

/// Whether there may be pages that the child could not get from an object.
fn has_own_pages(area: &Area) -> bool {
    match area.backing {
        Backing::Anonymous => !area.has(AreaFlags::WIPE_ON_FORK),
        Backing::Object { .. } => area.has(AreaFlags::HAS_COPIES),
    }
}

/// Maps the parent's pages in the child; nobody may write to them from now on.
fn share(
    parent: &mut PageTable,
    child: &mut PageTable,
    range: Range<u64>,
    flush: &mut Flush,
) -> Result<(), OutOfMemory> {
    let mut result = Ok(());
    parent.for_each(range.clone(), |va, mapping| {
        let prot = mapping.prot.without(Prot::WRITE);
        if result.is_ok() && child.map(va, mapping.frame, prot) == Err(MapError::OutOfMemory) {
            result = Err(OutOfMemory);
        }
    });
    result?;
    parent.change(range, flush, |_, prot| {
        prot.contains(Prot::WRITE)
            .then(|| prot.without(Prot::WRITE))
    });
    Ok(())
}
