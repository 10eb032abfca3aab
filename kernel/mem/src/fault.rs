//! Page faults: pages appear when they are first touched, and shared ones are
//! copied when they are first written.
//!
//! A private page may be written in place when the table's reference is the only
//! one. Nobody can gain a reference but through this space, whose lock is held,
//! so the count cannot rise behind the decision.

use alloc::sync::Arc;

use hal::mem::{Flush, Frame, MapError, Mapping, OutOfMemory, Prot};

use crate::area::{Area, AreaFlags, Backing};
use crate::area_map::STACK_GUARD;
use crate::space::State;
use crate::{MIN_ADDRESS, MemoryObject, PAGE, Space};

/// What a program tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
}

impl Access {
    pub(crate) fn needs(self) -> Prot {
        match self {
            Self::Read => Prot::READ,
            Self::Write => Prot::WRITE,
            Self::Exec => Prot::EXEC,
        }
    }
}

/// Why a fault cannot be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there (SIGSEGV, SEGV_MAPERR).
    NoArea,
    /// The mapping does not allow it (SIGSEGV, SEGV_ACCERR).
    Denied,
    /// No memory for the page.
    OutOfMemory,
    /// Beyond the end of the object (SIGBUS, BUS_ADRERR).
    BusError,
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<FaultError> for abi::Errno {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::OutOfMemory => Self::ENOMEM,
            FaultError::BusError => Self::EIO,
            FaultError::NoArea | FaultError::Denied => Self::EFAULT,
        }
    }
}

impl Space {
    /// Makes `access` to the byte at `va` possible. A fault that another thread
    /// has resolved meanwhile is none.
    ///
    /// # Errors
    /// See [`FaultError`].
    #[inline]
    pub fn fault(&self, va: u64, access: Access) -> Result<(), FaultError> {
        self.lock().fault(va & !(PAGE - 1), access)
    }

    /// The frame behind `va` after making `access` possible, and whether it may
    /// be written as well. Who keeps the frame must observe the space.
    ///
    /// # Errors
    /// See [`FaultError`].
    pub fn frame_for(&self, va: u64, access: Access) -> Result<(Frame, bool), FaultError> {
        let page = va & !(PAGE - 1);
        let mut state = self.lock();
        if let Some(mapping) = state.table.lookup(page)
            && mapping.prot.contains(access.needs())
        {
            return Ok((mapping.frame, mapping.prot.contains(Prot::WRITE)));
        }
        state.fault(page, access)?;
        let mapping = state.table.lookup(page).ok_or(FaultError::NoArea)?;
        Ok((mapping.frame, mapping.prot.contains(Prot::WRITE)))
    }
}

impl State {
    /// Resolves a fault on the page at `page`.
    #[inline]
    pub(crate) fn fault(&mut self, page: u64, access: Access) -> Result<(), FaultError> {
        let index = match self.areas.find(page) {
            Some(index) => index,
            None => self.grow_stack(page)?,
        };
        let area = self.areas.at(index);
        if !area.allows(access) {
            return Err(FaultError::Denied);
        }
        let prot = area.page_prot();
        if let Backing::Object { object, first } = &area.backing {
            let place = Place {
                index,
                page,
                number: area.page_index(*first, page),
                object: object.clone(),
                prot,
                write: access == Access::Write,
            };
            return self.fault_object(&place);
        }
        if let Some(mapping) = self.table.lookup(page) {
            return self.fault_present(page, mapping, prot, access == Access::Write);
        }
        let frame = Frame::zeroed(&self.account)?;
        enter(self.table.map(page, frame, prot))
    }

    /// A private page is there, but its entry does not allow enough.
    #[cold]
    fn fault_present(
        &mut self,
        page: u64,
        mapping: Mapping,
        prot: Prot,
        write: bool,
    ) -> Result<(), FaultError> {
        if mapping.prot.contains(prot) {
            return Ok(());
        }
        // The table's reference and the one in `mapping`.
        let is_exclusive = mapping.frame.ref_count() <= 2;
        if write && !is_exclusive {
            let copy = Frame::alloc(&self.account)?;
            copy.copy_from(&mapping.frame);
            return self.replace(page, copy, prot);
        }
        let allowed = if is_exclusive {
            prot
        } else {
            prot.without(Prot::WRITE)
        };
        if !mapping.prot.contains(allowed) {
            self.set_prot(page, allowed);
        }
        Ok(())
    }

    /// Changes what one page allows.
    fn set_prot(&mut self, page: u64, prot: Prot) {
        let mut flush = Flush::new();
        self.table.protect(page..page + PAGE, prot, &mut flush);
        flush.finish();
    }

    /// Puts another frame in the place of one that is mapped.
    fn replace(&mut self, page: u64, frame: Frame, prot: Prot) -> Result<(), FaultError> {
        self.invalidate(&(page..page + PAGE));
        let mut flush = Flush::new();
        let result = self.table.replace(page, frame, prot, &mut flush);
        flush.finish();
        enter(result)
    }

    fn fault_object(&mut self, place: &Place) -> Result<(), FaultError> {
        let area = self.areas.at(place.index);
        if area.has(AreaFlags::SHARED) {
            return self.fault_shared(place);
        }
        let mapping = self.table.lookup(place.page);
        if place.write {
            self.areas.at_mut(place.index).flags |= AreaFlags::HAS_COPIES;
        }
        if let Some(mapping) = mapping {
            return self.fault_present(place.page, mapping, place.prot, place.write);
        }
        let frame = place.object.page(place.number, false)?;
        if place.write {
            let copy = Frame::alloc(&self.account)?;
            copy.copy_from(&frame);
            return enter(self.table.map(place.page, copy, place.prot));
        }
        enter(
            self.table
                .map(place.page, frame, place.prot.without(Prot::WRITE)),
        )?;
        self.map_pair(place);
        Ok(())
    }

    fn fault_shared(&mut self, place: &Place) -> Result<(), FaultError> {
        let prot = if place.write || place.object.writes_in_place() {
            place.prot
        } else {
            place.prot.without(Prot::WRITE)
        };
        let Some(mapping) = self.table.lookup(place.page) else {
            let frame = place.object.page(place.number, place.write)?;
            enter(self.table.map(place.page, frame, prot))?;
            self.map_pair(place);
            return Ok(());
        };
        if mapping.prot.contains(prot) {
            return Ok(());
        }
        let frame = place.object.page(place.number, place.write)?;
        if frame.phys() == mapping.frame.phys() {
            self.set_prot(place.page, prot);
            return Ok(());
        }
        self.replace(place.page, frame, prot)
    }

    /// Maps the other page of an aligned pair as well, for reading, if the object
    /// has it at hand. Programs' text is touched in clusters, but a fault is
    /// cheap here: measured on a static shell, pairs cost as many instructions
    /// as single pages and save a third of the exceptions; eight pages at once
    /// cost half as much again.
    fn map_pair(&mut self, place: &Place) {
        let area = self.areas.at(place.index);
        let Backing::Object { first, .. } = area.backing else {
            return;
        };
        let other = place.page ^ PAGE;
        if place.prot.contains(Prot::WRITE) || !area.contains(other) {
            return;
        }
        if let Some(frame) = place.object.present(area.page_index(first, other)) {
            // Without memory for a table, or with the page there: no harm.
            let _ = self.table.map(other, frame, place.prot);
        }
    }

    /// The page lies in no area: extends the stack above it, if there is one
    /// with room to grow. The index of its area.
    #[cold]
    fn grow_stack(&mut self, page: u64) -> Result<usize, FaultError> {
        let index = self.areas.position(page);
        let area = self
            .areas
            .get(index)
            .filter(|area| area.has(AreaFlags::GROWS_DOWN));
        let area: &Area = area.ok_or(FaultError::NoArea)?;
        let growth = area.start - page;
        let below = index.checked_sub(1).map_or(MIN_ADDRESS, |last| {
            let last = self.areas.at(last);
            if last.prot == Prot::NONE {
                last.end
            } else {
                last.end + STACK_GUARD
            }
        });
        if area.end - page > self.limits.stack || page < below || self.check_limit(growth).is_err()
        {
            return Err(FaultError::NoArea);
        }
        self.areas.at_mut(index).start = page;
        self.mapped += growth;
        Ok(index)
    }
}

/// A fault in a mapping of an object.
struct Place {
    /// Index of the area.
    index: usize,
    /// The page's address, and its number within the object.
    page: u64,
    number: u64,
    object: Arc<dyn MemoryObject>,
    /// What the area allows, as a page protection.
    prot: Prot,
    write: bool,
}

/// A page that is there already was brought by another fault.
#[inline]
fn enter(result: Result<(), MapError>) -> Result<(), FaultError> {
    match result {
        Ok(()) | Err(MapError::AlreadyMapped) => Ok(()),
        Err(MapError::OutOfMemory) => Err(FaultError::OutOfMemory),
        Err(MapError::BadAddress) => Err(FaultError::NoArea),
    }
}
