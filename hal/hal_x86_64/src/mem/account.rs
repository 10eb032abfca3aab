//! [`Account`]: what a world may have of memory, and what it has.
//!
//! A frame remembers its account, so that it is paid back by whoever frees it.
//! An account outlives its last handle until the last frame is back.

use super::OutOfMemory;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const ACCOUNTS: usize = 8192;
/// More pages than any machine has.
const LARGEST: u64 = 1 << 48;

struct Slot {
    used: AtomicU64,
    limit: AtomicU64,
    /// Handles; frames do not count here.
    handles: AtomicU32,
}

static SLOTS: [Slot; ACCOUNTS] = [const {
    Slot {
        used: AtomicU64::new(0),
        limit: AtomicU64::new(u64::MAX),
        handles: AtomicU32::new(0),
    }
}; ACCOUNTS];
static HINT: AtomicU32 = AtomicU32::new(1);

/// A handle to an account. Amounts are in pages.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    index: u16,
}

impl Account {
    /// The kernel's own account, without limit.
    pub const fn kernel() -> Self {
        Self { index: 0 }
    }

    /// A new account that may hold up to `limit` pages.
    pub fn new(limit: u64) -> Result<Self, OutOfMemory> {
        let start = HINT.load(Ordering::Relaxed) as usize;
        for step in 0..ACCOUNTS - 1 {
            let index = 1 + (start - 1 + step) % (ACCOUNTS - 1);
            let slot = &SLOTS[index];
            let is_free =
                slot.handles.load(Ordering::Relaxed) == 0 && slot.used.load(Ordering::Relaxed) == 0;
            if is_free
                && slot
                    .handles
                    .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                // It may have been used and left between the two looks.
                if slot.used.load(Ordering::Acquire) != 0 {
                    slot.handles.fetch_sub(1, Ordering::Release);
                    continue;
                }
                slot.limit.store(limit, Ordering::Relaxed);
                HINT.store(1 + (index % (ACCOUNTS - 1)) as u32, Ordering::Relaxed);
                return Ok(Self {
                    index: index as u16,
                });
            }
        }
        Err(OutOfMemory)
    }

    /// Pages in use.
    pub fn used(&self) -> u64 {
        self.slot().used.load(Ordering::Relaxed)
    }

    /// Pages it may use.
    pub fn limit(&self) -> u64 {
        self.slot().limit.load(Ordering::Relaxed)
    }

    /// Changes what it may use; what it has it keeps.
    pub fn set_limit(&self, pages: u64) {
        self.slot().limit.store(pages, Ordering::Relaxed);
    }

    /// Charges `pages` for as long as the result lives, for what is not a frame.
    pub fn charge(&self, pages: u64) -> Result<Charge, OutOfMemory> {
        charge(self.index, pages)?;
        Ok(Charge {
            index: self.index,
            pages,
        })
    }

    #[inline]
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    fn slot(&self) -> &'static Slot {
        &SLOTS[usize::from(self.index)]
    }
}

impl Clone for Account {
    fn clone(&self) -> Self {
        self.slot().handles.fetch_add(1, Ordering::Relaxed);
        Self { index: self.index }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.index != 0 {
            self.slot().handles.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Takes `pages` from account `index`.
#[inline]
pub(crate) fn charge(index: u16, pages: u64) -> Result<(), OutOfMemory> {
    let slot = &SLOTS[usize::from(index)];
    if pages > LARGEST {
        // The sum below must not go round.
        return Err(OutOfMemory);
    }
    let used = slot.used.fetch_add(pages, Ordering::Relaxed) + pages;
    if used > slot.limit.load(Ordering::Relaxed) {
        slot.used.fetch_sub(pages, Ordering::Relaxed);
        return Err(OutOfMemory);
    }
    Ok(())
}

/// Gives `pages` back to account `index`.
#[inline]
pub(crate) fn credit(index: u16, pages: u64) {
    SLOTS[usize::from(index)]
        .used
        .fetch_sub(pages, Ordering::Relaxed);
}

/// Pages charged to an account; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    index: u16,
    pages: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        credit(self.index, self.pages);
    }
}
