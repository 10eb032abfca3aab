//! [`Ratio`]: conversion between counters whose rates are less than a factor
//! of 16 apart, in one multiplication and one shift.

use crate::{Rate, Scale};

/// Binary places of the factor. Fixed, so that the shift is an immediate.
pub(crate) const PLACES: u32 = 60;

/// A factor below 16, in one word: it can be kept in an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Converts counts at rate `from` into counts at rate `to`. `None` if a
    /// rate is 0, or if `to` is 16 times `from` or more.
    #[must_use]
    pub fn new(from: Rate, to: Rate) -> Option<Self> {
        let (factor, shift) = Scale::new(from, to)?.parts();
        let surplus = shift.checked_sub(PLACES)?;
        Some(Self(factor >> surplus))
    }

    /// The factor in units of 2^-60.
    #[must_use]
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`Ratio::to_bits`] gave.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Converts a count, rounding down, modulo 2^64.
    #[must_use]
    #[inline]
    pub const fn convert(self, count: u64) -> u64 {
        ((count as u128 * self.0 as u128) >> PLACES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_factors_below_16_fit() {
        assert_eq!(Ratio::new(Rate::hz(62_500_000), Rate::NANOSECONDS), None);
        let nearly = Ratio::new(Rate::hz(62_500_001), Rate::NANOSECONDS).unwrap();
        assert_eq!(nearly.convert(62_500_001), 999_999_999);
        assert_eq!(Ratio::new(Rate::hz(0), Rate::NANOSECONDS), None);
        let same = Ratio::new(Rate::NANOSECONDS, Rate::NANOSECONDS).unwrap();
        assert_eq!(same.convert(u64::MAX), u64::MAX);
        assert_eq!(Ratio::from_bits(same.to_bits()), same);
    }

    proptest! {
        #[test]
        fn agrees_with_the_scale(from in 1_000_000u64..6_000_000_000, to in 1_000_000u64..15_000_000, count in 0u64..1 << 59) {
            let (from, to) = (Rate::hz(from), Rate::hz(to));
            let exact = Scale::new(from, to).unwrap().convert(count);
            let found = Ratio::new(from, to).unwrap().convert(count);
            prop_assert!(found <= exact && exact - found <= 1, "{} for {}", found, exact);
        }
    }
}
