//! [`MemoryObject`]: pages that can be mapped into several address spaces.

pub use mem::{FaultError, MemoryObject};

use core::sync::atomic::{AtomicU64, Ordering};

/// A fresh number for [`MemoryObject::id`].
pub fn next_object_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
