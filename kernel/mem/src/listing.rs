//! What procfs tells of a space: its areas and how much of it is there.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use hal::mem::{OutOfMemory, Prot};

use crate::area::{AreaFlags, Backing};
use crate::area_map::reserve;
use crate::{MemoryObject, PAGE, Space, USER_END};

/// One line of /proc/PID/maps.
#[derive(Clone)]
pub struct AreaInfo {
    /// Its addresses.
    pub range: Range<u64>,
    /// What it allows.
    pub prot: Prot,
    /// Whether writes go to the object.
    pub is_shared: bool,
    /// Whether it is the heap of brk(2).
    pub is_heap: bool,
    /// Whether it is a stack that grows.
    pub is_stack: bool,
    /// What is mapped, and the offset in bytes; `None` for private zeros.
    pub object: Option<(Arc<dyn MemoryObject>, u64)>,
}

impl Space {
    /// The areas in order of their addresses.
    pub fn areas(&self) -> Result<Vec<AreaInfo>, OutOfMemory> {
        let state = self.lock();
        let mut list = Vec::new();
        reserve(&mut list, state.areas.len())?;
        list.extend(state.areas.iter().map(|area| AreaInfo {
            range: area.range(),
            prot: area.prot,
            is_shared: area.has(AreaFlags::SHARED),
            is_heap: area.has(AreaFlags::HEAP),
            is_stack: area.has(AreaFlags::GROWS_DOWN),
            object: match &area.backing {
                Backing::Anonymous => None,
                Backing::Object { object, first } => Some((object.clone(), first * PAGE)),
            },
        }));
        Ok(list)
    }

    /// Bytes mapped, touched or not (VmSize).
    #[must_use]
    pub fn mapped_bytes(&self) -> u64 {
        self.lock().mapped
    }

    /// Bytes of memory that are there (VmRSS). Walks the whole table.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.resident_pages(&(0..USER_END)) * PAGE
    }

    /// Pages in `range` that are there.
    #[must_use]
    pub fn resident_pages(&self, range: &Range<u64>) -> u64 {
        let mut count = 0;
        self.lock().table.for_each(range.clone(), |_, _| count += 1);
        count
    }

    /// Which pages of `range` are there, one byte each, as mincore(2) tells.
    pub fn residency(&self, range: &Range<u64>, out: &mut [u8]) {
        out.fill(0);
        self.lock().table.for_each(range.clone(), |va, _| {
            if let Some(byte) = out.get_mut(((va - range.start) / PAGE) as usize) {
                *byte = 1;
            }
        });
    }
}
