//! [`Clock`]: monotonic ns from a free-running counter, and back.

use crate::{CounterWidth, Rate, Scale};

/// A counter's value at a moment, and the factors from and to ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    base_count: u64,
    base_ns: u64,
    width: CounterWidth,
    to_ns: Scale,
    to_counts: Scale,
}

impl Clock {
    /// A clock that shows `base_ns` when its counter is at `base_count`.
    /// `None` if the rate is impossible.
    #[must_use]
    pub fn new(rate: Rate, width: CounterWidth, base_count: u64, base_ns: u64) -> Option<Self> {
        let to_ns = Scale::new(rate, Rate::NANOSECONDS)?;
        let to_counts = Scale::new(Rate::NANOSECONDS, rate)?;
        Some(Self {
            base_count,
            base_ns,
            width,
            to_ns,
            to_counts,
        })
    }

    /// The time when the counter is at `count`. A counter that wraps must be
    /// given to [`Clock::rebase`] at least once per turn.
    #[must_use]
    #[inline]
    pub const fn ns(&self, count: u64) -> u64 {
        self.base_ns.saturating_add(
            self.to_ns
                .convert(self.width.elapsed(self.base_count, count)),
        )
    }

    /// The counter's value when the clock will show `ns`, rounded up so that
    /// a timer set to it never fires early; for times past, the base.
    #[must_use]
    #[inline]
    pub fn count_at(&self, ns: u64) -> u64 {
        let ahead = self.to_counts.convert(ns.saturating_sub(self.base_ns));
        // Both factors round down: at most two counts are missing.
        let counts = (ahead..ahead.saturating_add(3))
            .find(|counts| self.base_ns.saturating_add(self.to_ns.convert(*counts)) >= ns);
        self.base_count.saturating_add(counts.unwrap_or(ahead))
    }

    /// Length of `ns` in counts, rounded down.
    #[must_use]
    #[inline]
    pub const fn counts(&self, ns: u64) -> u64 {
        self.to_counts.convert(ns)
    }

    /// The same clock counted from `count` on, with another `rate` where a
    /// better one is known. Time goes on from what it shows at `count`.
    #[must_use]
    pub fn rebase(&self, count: u64, rate: Option<Rate>) -> Option<Self> {
        let ns = self.ns(count);
        match rate {
            Some(rate) => Self::new(rate, self.width, count, ns),
            None => Some(Self {
                base_count: count,
                base_ns: ns,
                ..*self
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn goes_on_across_wraps_and_new_rates() {
        let width = CounterWidth::bits(24);
        let clock = Clock::new(Rate::hz(1_000_000), width, 0xff_ff00, 5_000).unwrap();
        assert_eq!(clock.ns(0xff_ff00), 5_000);
        assert_eq!(clock.ns(0x100), 5_000 + 512_000);
        let faster = clock.rebase(0x100, Some(Rate::hz(2_000_000))).unwrap();
        assert_eq!(faster.ns(0x102), 5_000 + 512_000 + 1_000);
    }

    proptest! {
        #[test]
        fn a_timer_is_never_early_and_at_most_two_counts_late(
            hz in 1_000_000u64..6_000_000_000,
            base in 0u64..1 << 40,
            ns in 0u64..1 << 55,
        ) {
            let clock = Clock::new(Rate::hz(hz), CounterWidth::bits(64), base, 1_000).unwrap();
            let count = clock.count_at(ns);
            prop_assert!(clock.ns(count) >= ns);
            if count >= base + 2 {
                prop_assert!(clock.ns(count - 2) < ns);
            }
        }
    }
}
