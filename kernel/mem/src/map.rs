//! mmap(2) and munmap(2).

use alloc::sync::Arc;
use core::ops::Range;

use abi::Errno;
use hal::mem::{OutOfMemory, Prot};

use crate::area::{Area, AreaFlags, Backing};
use crate::space::{PIECE, State, pages};
use crate::{Access, MIN_ADDRESS, MemoryObject, PAGE, SharedMemory, Space, USER_END, preempt};

bitflags::bitflags! {
    /// How and where to map (mmap(2)). Hints that change nothing here, such as
    /// MAP_NORESERVE and MAP_STACK, have no flag.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct MapFlags: u8 {
        /// At the address given, replacing what is there.
        const FIXED = 1;
        /// At the address given, or not at all.
        const FIXED_NOREPLACE = 2;
        /// A stack: grows downwards when the page below is touched.
        const GROWS_DOWN = 4;
        /// Fault all pages in at once.
        const POPULATE = 8;
    }
}

/// What to map.
pub enum MapKind {
    /// Zeros.
    Anonymous {
        /// Shared with children, instead of copied.
        shared: bool,
    },
    /// An object's pages.
    Object {
        /// Whose pages.
        object: Arc<dyn MemoryObject>,
        /// Where in the object the mapping starts, in bytes.
        offset: u64,
        /// Writes go to the object, instead of to copies.
        shared: bool,
        /// The file is open for writing, so that a shared mapping may write.
        may_write: bool,
    },
}

/// Makes room in the errno namespace: every refusal for memory is ENOMEM.
pub(crate) fn no_memory(_: OutOfMemory) -> Errno {
    Errno::ENOMEM
}

impl Space {
    /// Maps `len` bytes and returns where (mmap(2)).
    ///
    /// # Errors
    /// EINVAL: `len` is 0, an address or offset is not a page's, or a stack is
    /// not private and anonymous. ENOMEM: no room, too many areas, a limit or
    /// the account is exhausted. EOVERFLOW: the object's end would wrap. EPERM:
    /// below the lowest address. EEXIST: FIXED_NOREPLACE found something.
    /// EACCES: a shared mapping would write to what is not open for writing.
    pub fn mmap(
        &self,
        hint: u64,
        len: u64,
        prot: Prot,
        kind: MapKind,
        flags: MapFlags,
    ) -> Result<u64, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = len.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
        let account = if matches!(kind, MapKind::Anonymous { shared: true }) {
            Some(self.account())
        } else {
            None
        };
        let mut area = new_area(len, prot, kind, flags, account.as_ref())?;
        let fixed = flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE);
        if fixed {
            let range = fixed_range(hint, len)?;
            if len > PIECE && !flags.contains(MapFlags::FIXED_NOREPLACE) {
                self.zap_in_pieces(&range);
            }
        }
        let range = {
            let mut state = self.lock();
            let range = if fixed {
                state.clear_fixed(hint, len, flags.contains(MapFlags::FIXED_NOREPLACE))?
            } else {
                state.check_limit(len)?;
                state.areas.prepare_insertion().map_err(no_memory)?;
                state.choose(hint, len)?
            };
            (area.start, area.end) = (range.start, range.end);
            state.areas.insert(area);
            state.mapped += len;
            range
        };
        if flags.contains(MapFlags::POPULATE) {
            self.populate(&range);
        }
        Ok(range.start)
    }

    /// Unmaps the pages of `len` bytes at `start`, a page's address (munmap(2)).
    /// Where nothing is mapped, nothing happens.
    ///
    /// # Errors
    /// EINVAL: not a range of user pages, or `len` is 0. ENOMEM: a cut would
    /// make too many areas.
    pub fn munmap(&self, start: u64, len: u64) -> Result<(), Errno> {
        let range = pages(start, len)
            .filter(|range| !range.is_empty())
            .ok_or(Errno::EINVAL)?;
        if range.end - range.start > PIECE {
            self.zap_in_pieces(&range);
        }
        self.lock().unmap(&range).map_err(no_memory)
    }

    /// Faults in what may be read or written in `range`; failures are ignored,
    /// as the mapping stands anyway.
    fn populate(&self, range: &Range<u64>) {
        for page in range.clone().step_by(PAGE as usize) {
            if self.fault(page, Access::Write).is_err() && self.fault(page, Access::Read).is_err() {
                return;
            }
            if page & (PIECE / 16 - 1) == 0 {
                preempt::point();
            }
        }
    }
}

fn fixed_range(start: u64, len: u64) -> Result<Range<u64>, Errno> {
    if !start.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let range = pages(start, len).ok_or(Errno::ENOMEM)?;
    if start < MIN_ADDRESS {
        Err(Errno::EPERM)
    } else {
        Ok(range)
    }
}

/// The area for a request, not placed yet.
fn new_area(
    len: u64,
    prot: Prot,
    kind: MapKind,
    flags: MapFlags,
    account: Option<&hal::mem::Account>,
) -> Result<Area, Errno> {
    let grows = flags.contains(MapFlags::GROWS_DOWN);
    if grows && !matches!(kind, MapKind::Anonymous { shared: false }) {
        return Err(Errno::EINVAL);
    }
    let mut area_flags = if grows {
        AreaFlags::GROWS_DOWN
    } else {
        AreaFlags::empty()
    };
    let (backing, is_shared, may_write) = match kind {
        MapKind::Anonymous { shared: false } => (Backing::Anonymous, false, true),
        MapKind::Anonymous { shared: true } => {
            let account = account.ok_or(Errno::ENOMEM)?;
            let object = SharedMemory::new(len / PAGE, account).map_err(no_memory)?;
            (Backing::Object { object, first: 0 }, true, true)
        }
        MapKind::Object {
            object,
            offset,
            shared,
            may_write,
        } => {
            if !offset.is_multiple_of(PAGE) {
                return Err(Errno::EINVAL);
            }
            offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
            (
                Backing::Object {
                    object,
                    first: offset / PAGE,
                },
                shared,
                may_write || !shared,
            )
        }
    };
    if prot.contains(Prot::WRITE) && !may_write {
        return Err(Errno::EACCES);
    }
    area_flags.set(AreaFlags::SHARED, is_shared);
    area_flags.set(AreaFlags::MAY_WRITE, may_write);
    Ok(Area {
        start: 0,
        end: 0,
        prot,
        flags: area_flags,
        backing,
    })
}

impl State {
    /// Makes `len` bytes at `start` free for a fixed mapping.
    fn clear_fixed(&mut self, start: u64, len: u64, keep: bool) -> Result<Range<u64>, Errno> {
        let range = fixed_range(start, len)?;
        if keep && !self.areas.is_free(&range) {
            return Err(Errno::EEXIST);
        }
        let replaced = self.bytes_in(&range);
        self.check_limit(len - replaced)?;
        // Two cuts and the new area: after this nothing can fail but the removal,
        // which then has not begun.
        self.areas.prepare_insertion().map_err(no_memory)?;
        self.unmap(&range).map_err(no_memory)?;
        Ok(range)
    }

    /// Bytes mapped in `range`.
    pub(crate) fn bytes_in(&self, range: &Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let inside = self.areas.slice(self.areas.touching(range)).iter();
        inside
            .map(|area| area.end.min(range.end) - area.start.max(range.start))
            .sum()
    }

    /// Free room for `len` bytes: at the hint if that is free, else as high as
    /// the layout allows.
    pub(crate) fn choose(&mut self, hint: u64, len: u64) -> Result<Range<u64>, Errno> {
        let hint = hint.checked_next_multiple_of(PAGE).unwrap_or(0);
        if hint >= MIN_ADDRESS
            && let Some(range) = pages(hint, len)
            && self.areas.is_free(&range)
        {
            return Ok(range);
        }
        let top = self.layout.mmap_top;
        let start = self
            .areas
            .find_gap(len, MIN_ADDRESS, top)
            .or_else(|| self.areas.find_gap(len, MIN_ADDRESS, USER_END))
            .ok_or(Errno::ENOMEM)?;
        Ok(start..start + len)
    }
}
