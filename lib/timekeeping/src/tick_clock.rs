//! [`TickClock`]: monotonic ns from a 64-bit counter that never wraps, in a
//! subtraction, a multiplication and a shift.

use crate::{Rate, Ratio};

/// A counter's value at time zero, and the length of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickClock {
    /// What the counter would have shown at time zero; modulo 2^64.
    zero: u64,
    ratio: Ratio,
}

impl TickClock {
    /// A clock that shows `ns` when its counter is at `count`, up to one count
    /// more. `None` if the rate is impossible: it must be above 62.5 MHz.
    #[must_use]
    pub fn new(rate: Rate, count: u64, ns: u64) -> Option<Self> {
        let ratio = Ratio::new(rate, Rate::NANOSECONDS)?;
        let ahead = Ratio::new(Rate::NANOSECONDS, rate)?.convert(ns);
        // Both factors round down: a few counts may be missing, and a clock
        // that goes on from another must not fall behind it.
        let missing = (0..16).find(|more| ratio.convert(ahead + more) >= ns)?;
        let zero = count.wrapping_sub(ahead + missing);
        Some(Self { zero, ratio })
    }

    /// A clock that begins at `count` and is slower than any CPU's counter: for
    /// the time until the rate is known.
    #[must_use]
    pub const fn slow(count: u64) -> Self {
        // Eight counts a nanosecond.
        let ratio = Ratio::from_bits(1 << (crate::ratio::PLACES - 3));
        Self { zero: count, ratio }
    }

    /// The time when the counter is at `count`.
    #[must_use]
    #[inline]
    pub const fn ns(&self, count: u64) -> u64 {
        self.ratio.convert(count.wrapping_sub(self.zero))
    }

    /// The counter's value at time zero; it may be negative, modulo 2^64.
    #[must_use]
    #[inline]
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// Nanoseconds per count.
    #[must_use]
    #[inline]
    pub const fn ratio(&self) -> Ratio {
        self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, CounterWidth};
    use proptest::prelude::*;

    #[test]
    fn the_slow_one_is_overtaken_by_every_other() {
        let slow = TickClock::slow(1_000);
        let real = TickClock::new(Rate::hz(6_000_000_000), 1_000, 0).unwrap();
        assert_eq!((slow.ns(1_000), slow.ns(9_000)), (0, 1_000));
        assert!(real.ns(9_000) > slow.ns(9_000));
    }

    proptest! {
        #[test]
        fn goes_on_from_where_it_begins(
            hz in 100_000_000u64..6_000_000_000,
            count in 0u64..1 << 40,
            ns in 0u64..1 << 45,
            later in 0u64..1 << 50,
        ) {
            let clock = TickClock::new(Rate::hz(hz), count, ns).unwrap();
            prop_assert!(clock.ns(count) >= ns);
            prop_assert!(clock.ns(count) <= ns + 1_000_000_000 / hz + 16);
            let exact = Clock::new(Rate::hz(hz), CounterWidth::bits(64), count, ns).unwrap();
            let (found, exact) = (clock.ns(count + later), exact.ns(count + later));
            prop_assert!(found >= exact && found - exact <= 32, "{} for {}", found, exact);
        }
    }
}
