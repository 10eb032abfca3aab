//! The wall clock: what the hardware clock said at boot, and time since.

use core::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds from 1970 to boot.
static BOOT_NS: AtomicU64 = AtomicU64::new(0);

/// Wall-clock time in nanoseconds since 1970.
pub fn realtime_ns() -> u64 {
    BOOT_NS.load(Ordering::Relaxed) + hal::time::now_ns()
}

/// Sets the wall clock.
pub fn set_realtime_ns(now_ns: u64) {
    BOOT_NS.store(
        now_ns.saturating_sub(hal::time::now_ns()),
        Ordering::Relaxed,
    );
}
