//! [`WallClock`]: real time as an offset to monotonic time.

use core::sync::atomic::{AtomicU64, Ordering};

/// Real time: ns since 1970-01-01 00:00 UTC, without leap seconds.
///
/// The offset is one word, so setting the clock and reading it never wait for
/// each other. It is kept modulo 2^64: sums wrap back to what they should be.
#[derive(Debug, Default)]
pub struct WallClock {
    offset_ns: AtomicU64,
}

impl WallClock {
    /// A clock that starts at 1970 together with monotonic time.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            offset_ns: AtomicU64::new(0),
        }
    }

    /// Says that it is `realtime_ns` now that monotonic time is `monotonic_ns`.
    pub fn set(&self, monotonic_ns: u64, realtime_ns: u64) {
        self.offset_ns
            .store(realtime_ns.wrapping_sub(monotonic_ns), Ordering::Relaxed);
    }

    /// Real time at monotonic time `monotonic_ns`.
    #[must_use]
    #[inline]
    pub fn realtime_ns(&self, monotonic_ns: u64) -> u64 {
        monotonic_ns.wrapping_add(self.offset_ns.load(Ordering::Relaxed))
    }

    /// Monotonic time when it is `realtime_ns`, as things stand now; 0 if
    /// that was before boot. For timers on real time.
    #[must_use]
    pub fn monotonic_ns(&self, realtime_ns: u64) -> u64 {
        let offset = self.offset_ns.load(Ordering::Relaxed);
        // An offset in the upper half is negative: the clock was set to before 1970 + uptime.
        if offset > u64::MAX / 2 {
            realtime_ns.saturating_add(offset.wrapping_neg())
        } else {
            realtime_ns.saturating_sub(offset)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_moves_both_directions() {
        let clock = WallClock::new();
        assert_eq!(clock.realtime_ns(5), 5);
        clock.set(1_000, 1_577_836_800_000_000_000);
        assert_eq!(clock.realtime_ns(1_500), 1_577_836_800_000_000_500);
        assert_eq!(clock.monotonic_ns(1_577_836_800_000_000_500), 1_500);
        assert_eq!(clock.monotonic_ns(7), 0);
        clock.set(1_000, 400);
        assert_eq!(clock.realtime_ns(1_001), 401);
        assert_eq!(clock.monotonic_ns(401), 1_001);
    }
}
