//! [`Scale`]: conversion between counters of different rates.
//!
//! A count is multiplied by a fixed-point factor with at least 60 significant
//! bits, over a 128-bit product: no overflow below the result's own, and an
//! error of the factor below one part in 10^18, which is 30 ns in a year.

use crate::Rate;

/// A fixed factor between two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    factor: u64,
    /// From 1 to 63.
    shift: u32,
}

impl Scale {
    /// Converts counts at rate `from` into counts at rate `to`. `None` if a
    /// rate is 0 or their quotient is beyond 2^60 either way.
    #[must_use]
    pub fn new(from: Rate, to: Rate) -> Option<Self> {
        // to / from as one fraction of 128-bit terms.
        let above = u128::from(to.count).checked_mul(u128::from(from.seconds))?;
        let below = u128::from(to.seconds).checked_mul(u128::from(from.count))?;
        if above == 0 || below == 0 || above.leading_zeros() == 0 {
            return None;
        }
        // The greatest shift that keeps the factor below 2^64.
        let (mut factor, mut rest) = (above / below, above % below);
        let mut shift = 0;
        if below.leading_zeros() == 0 || factor >= 1 << 60 {
            return None;
        }
        while shift < 63 && factor < 1 << 63 {
            let doubled = rest * 2;
            factor = factor * 2 + u128::from(doubled >= below);
            rest = if doubled >= below {
                doubled - below
            } else {
                doubled
            };
            shift += 1;
        }
        (factor != 0).then_some(Self {
            factor: factor as u64,
            shift,
        })
    }

    /// Factor, and how far its product is shifted.
    pub(crate) const fn parts(&self) -> (u64, u32) {
        (self.factor, self.shift)
    }

    /// Converts a count, rounding down; beyond 64 bits it saturates.
    #[must_use]
    #[inline]
    pub const fn convert(&self, count: u64) -> u64 {
        let product = count as u128 * self.factor as u128;
        let (high, low) = ((product >> 64) as u64, product as u64);
        if high >> self.shift != 0 {
            return u64::MAX;
        }
        high << (64 - self.shift) | low >> self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to_ns(hz: u64) -> Scale {
        Scale::new(Rate::hz(hz), Rate::NANOSECONDS).unwrap()
    }

    #[test]
    fn whole_ratios_are_exact() {
        for count in [0, 1, 12_345_678_901, u64::MAX] {
            assert_eq!(to_ns(1_000_000_000).convert(count), count);
        }
        assert_eq!(to_ns(2_000_000_000).convert(u64::MAX), u64::MAX / 2);
        assert_eq!(to_ns(1_000_000).convert(7), 7_000);
        assert_eq!(to_ns(1_000_000).convert(u64::MAX), u64::MAX, "saturates");
    }

    #[test]
    fn impossible_rates_are_refused() {
        assert_eq!(Scale::new(Rate::hz(0), Rate::NANOSECONDS), None);
        assert_eq!(Scale::new(Rate::NANOSECONDS, Rate::hz(0)), None);
        assert_eq!(
            Scale::new(
                Rate::hz(1),
                Rate {
                    count: u64::MAX,
                    seconds: 1
                }
            ),
            None
        );
    }

    proptest! {
        #[test]
        fn agrees_with_long_division(
            hz in 1_000u64..10_000_000_000,
            seconds in 0u64..1_000_000_000,
            part in any::<u64>(),
        ) {
            let count = u128::from(hz) * u128::from(seconds) + u128::from(part % hz);
            let Ok(count) = u64::try_from(count) else { return Ok(()) };
            let exact = u128::from(count) * 1_000_000_000 / u128::from(hz);
            prop_assume!(exact < 1 << 64);
            let found = u128::from(to_ns(hz).convert(count));
            prop_assert!(found <= exact);
            // One count of rounding, and the factor's own error.
            prop_assert!(exact - found <= 1 + (exact >> 59), "{} for {}", found, exact);
        }

        #[test]
        fn never_runs_backwards(hz in 1u64..10_000_000_000, a in any::<u64>(), b in any::<u64>()) {
            let scale = to_ns(hz);
            prop_assert!(scale.convert(a.min(b)) <= scale.convert(a.max(b)));
        }
    }
}
