//! The simulated physical memory: which addresses are frames at this moment.
//! An address is never used twice, so that a stale one is always noticed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{PAGE_SIZE, PhysAddr};

static NEXT: AtomicU64 = AtomicU64::new(0x10_0000);
static LIVE: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

fn live() -> std::sync::MutexGuard<'static, BTreeSet<u64>> {
    LIVE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A fresh address for `2^order` pages, aligned to its size.
pub(super) fn take(order: u8) -> u64 {
    let len = (PAGE_SIZE as u64) << order;
    let before = NEXT
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
            Some(next.next_multiple_of(len) + len)
        })
        .expect("invariant: the closure never refuses");
    let start = before.next_multiple_of(len);
    live().insert(start);
    start
}

pub(super) fn give_back(phys: u64) {
    assert!(live().remove(&phys), "frame {phys:#x} freed twice");
}

/// Whether a frame begins at `phys` right now.
#[must_use]
pub fn is_allocated(phys: PhysAddr) -> bool {
    live().contains(&phys.0)
}

/// How memory is used. All in frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameStatistics {
    /// Frames under management.
    pub managed: u64,
    /// Free frames.
    pub free: u64,
}

/// How memory is used just now, by all tests of the process together.
#[must_use]
pub fn statistics() -> FrameStatistics {
    let managed = 1 << 28;
    FrameStatistics {
        managed,
        free: managed - live().len() as u64,
    }
}
