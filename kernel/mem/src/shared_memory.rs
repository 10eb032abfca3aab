//! [`SharedMemory`]: zero-filled pages shared by several mappings
//! (MAP_SHARED | MAP_ANONYMOUS, and a base for memory files).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use hal::mem::{Account, Frame, OutOfMemory};
use sync::SpinLock;

use crate::area_map::reserve;
use crate::{FaultError, MemoryObject};

const GROUP: usize = 512;

/// Objects made here count down from the top, so that they never meet the
/// numbers of inodes.
static NEXT_ID: AtomicU64 = AtomicU64::new(u64::MAX);

/// Pages that appear, zeroed, when they are first asked for.
pub struct SharedMemory {
    id: u64,
    account: Account,
    pages: SpinLock<Pages>,
}

struct Pages {
    len: u64,
    /// Frames by page number, in groups that are empty until used.
    groups: Vec<Vec<Option<Frame>>>,
}

impl SharedMemory {
    /// An object of `len` pages, paid for by `account` as they appear.
    pub fn new(len: u64, account: &Account) -> Result<Arc<Self>, OutOfMemory> {
        let pages = Pages {
            len,
            groups: Vec::new(),
        };
        let id = NEXT_ID.fetch_sub(1, Ordering::Relaxed);
        Ok(Arc::new(Self {
            id,
            account: account.clone(),
            pages: SpinLock::new(pages),
        }))
    }

    /// Changes the length. Pages beyond a new end are dropped here; where they
    /// are mapped they stay until unmapped.
    pub fn set_len(&self, len: u64) {
        let dropped = {
            let mut pages = self.pages.lock();
            pages.len = len;
            pages.cut(len)
        };
        drop(dropped);
    }
}

impl Pages {
    fn get(&self, index: u64) -> Option<&Frame> {
        let index = usize::try_from(index).ok()?;
        self.groups.get(index / GROUP)?.get(index % GROUP)?.as_ref()
    }

    /// The place of a page within the length.
    fn slot(&mut self, index: u64) -> Result<&mut Option<Frame>, OutOfMemory> {
        let index = usize::try_from(index).map_err(|_| OutOfMemory)?;
        let group = index / GROUP;
        if group >= self.groups.len() {
            let missing = group + 1 - self.groups.len();
            reserve(&mut self.groups, missing)?;
            self.groups.resize_with(group + 1, Vec::new);
        }
        let group = &mut self.groups[group];
        if group.is_empty() {
            reserve(group, GROUP)?;
            group.resize_with(GROUP, || None);
        }
        Ok(&mut group[index % GROUP])
    }

    /// Takes out what lies at or beyond page `len`.
    fn cut(&mut self, len: u64) -> Vec<Vec<Option<Frame>>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let keep = len.div_ceil(GROUP);
        if keep > 0
            && !len.is_multiple_of(GROUP)
            && let Some(last) = self.groups.get_mut(keep - 1)
        {
            last.iter_mut()
                .skip(len % GROUP)
                .for_each(|slot| *slot = None);
        }
        if keep < self.groups.len() {
            self.groups.split_off(keep)
        } else {
            Vec::new()
        }
    }
}

impl MemoryObject for SharedMemory {
    fn page(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(index) {
            return Ok(frame.clone());
        }
        if index >= pages.len {
            return Err(FaultError::BusError);
        }
        let slot = pages.slot(index)?;
        let frame = Frame::zeroed(&self.account)?;
        *slot = Some(frame.clone());
        Ok(frame)
    }

    fn present(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(index).cloned()
    }

    fn writes_in_place(&self) -> bool {
        true
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn len_pages(&self) -> u64 {
        self.pages.lock().len
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/dev/zero (deleted)")
    }
}
