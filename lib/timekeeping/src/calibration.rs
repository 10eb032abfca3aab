//! [`Calibration`]: the rate of a counter (TSC, APIC timer), by a reference
//! of known rate (HPET, ACPI timer, PIT).
//!
//! The caller reads the counter, the reference, and the counter again. The
//! true moment of the reference's value lies between the two counter reads,
//! so a first and a last sample enclose the rate in an interval; the roundest
//! rate inside it is taken, because crystals and emulators have round ones.

use core::fmt;

/// Counts per seconds, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Counts,
    pub count: u64,
    /// in so many seconds.
    pub seconds: u64,
}

impl Rate {
    /// The rate of nanoseconds.
    pub const NANOSECONDS: Self = Self::hz(1_000_000_000);
    /// The ACPI timer (ACPI 6.4, section 4.8.2.1).
    pub const PM_TIMER: Self = Self::hz(3_579_545);
    /// The 8254 of the PC: a third of the 3.579545 MHz colour carrier.
    pub const PIT: Self = Self {
        count: 105_000_000,
        seconds: 88,
    };

    /// A whole number of counts per second.
    #[must_use]
    pub const fn hz(count: u64) -> Self {
        Self { count, seconds: 1 }
    }

    /// By the length of a count in femtoseconds, as the HPET states it.
    #[must_use]
    pub const fn from_period_fs(period: u32) -> Self {
        Self {
            count: 1_000_000_000_000_000,
            seconds: period as u64,
        }
    }

    /// Whole counts per second, rounded down; 0 if `seconds` is.
    #[must_use]
    pub const fn to_hz(self) -> u64 {
        match self.count.checked_div(self.seconds) {
            Some(hz) => hz,
            None => 0,
        }
    }
}

/// How many bits a counter has before it wraps to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterWidth(u32);

impl CounterWidth {
    /// A counter of `bits` bits, from 1 to 64; others are taken as 64.
    #[must_use]
    pub const fn bits(bits: u32) -> Self {
        if bits == 0 || bits > 64 {
            Self(64)
        } else {
            Self(bits)
        }
    }

    /// Counts from `from` to `to`, if it wrapped at most once.
    #[must_use]
    #[inline]
    pub const fn elapsed(self, from: u64, to: u64) -> u64 {
        to.wrapping_sub(from) & (u64::MAX >> (64 - self.0))
    }
}

/// The counter before and after a read of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The counter before.
    pub before: u64,
    /// The reference; it counts upwards.
    pub reference: u64,
    /// The counter after.
    pub after: u64,
}

/// Between what a rate lies, in Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateBounds {
    /// The lowest that fits.
    pub low: u64,
    /// The highest that fits.
    pub high: u64,
}

impl RateBounds {
    /// What fits both; `None` if nothing does.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self { low, high })
    }

    /// Whether they are apart by one part in `parts` at most.
    #[must_use]
    pub const fn are_within(self, parts: u64) -> bool {
        self.high - self.low <= self.low / parts
    }

    /// The roundest rate between them.
    #[must_use]
    pub fn hz(self) -> u64 {
        roundest(self.low, self.high)
    }
}

/// Why no rate came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationError {
    /// The reference did not move: it is absent or stopped.
    ReferenceStopped,
    /// The counter did not move.
    CounterStopped,
    /// The reads took so long that the rate is uncertain by more than one
    /// part in 1000: something else had the CPU.
    Uncertain {
        /// The lowest rate that fits, in Hz.
        low: u64,
        /// The highest rate that fits, in Hz.
        high: u64,
    },
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReferenceStopped => f.write_str("The reference timer does not count"),
            Self::CounterStopped => f.write_str("The counter to be calibrated does not count"),
            Self::Uncertain { low, high } => {
                write!(
                    f,
                    "The counter's rate may be anything from {low} to {high} Hz"
                )
            }
        }
    }
}

impl core::error::Error for CalibrationError {}

/// Finds a counter's rate from two samples.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    rate: Rate,
    width: CounterWidth,
    first: Sample,
}

impl Calibration {
    /// Begins with the sample `first` of a reference with `rate` and `width`.
    #[must_use]
    pub const fn begin(rate: Rate, width: CounterWidth, first: Sample) -> Self {
        Self { rate, width, first }
    }

    /// Reference time since the beginning, in ns; the caller waits by it.
    #[must_use]
    pub fn elapsed_ns(&self, reference: u64) -> u64 {
        let counts = u128::from(self.width.elapsed(self.first.reference, reference));
        let count = u128::from(self.rate.count.max(1));
        let ns = counts * u128::from(self.rate.seconds) * 1_000_000_000 / count;
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The counter's rate in Hz by the sample `last`.
    ///
    /// # Errors
    /// [`CalibrationError`] if no believable rate comes out.
    pub fn finish(&self, last: Sample) -> Result<u64, CalibrationError> {
        let bounds = self.bounds(last)?;
        if !bounds.are_within(1000) {
            let RateBounds { low, high } = bounds;
            return Err(CalibrationError::Uncertain { low, high });
        }
        Ok(bounds.hz())
    }

    /// Between what the counter's rate lies, by the sample `last`.
    ///
    /// # Errors
    /// [`CalibrationError`] if one of the counters stands still.
    pub fn bounds(&self, last: Sample) -> Result<RateBounds, CalibrationError> {
        let reference = self.width.elapsed(self.first.reference, last.reference);
        if reference == 0 {
            return Err(CalibrationError::ReferenceStopped);
        }
        let longest = last.after.wrapping_sub(self.first.before);
        let shortest = last.before.wrapping_sub(self.first.after);
        if longest == 0 || shortest > longest {
            return Err(CalibrationError::CounterStopped);
        }
        // A read reference value was true for one count: one more or less.
        let low = self.hz(shortest, u128::from(reference) + 1);
        let high = self.hz(longest, (u128::from(reference) - 1).max(1));
        Ok(RateBounds { low, high })
    }

    fn hz(&self, counter: u64, reference: u128) -> u64 {
        // counter * rate / reference; terms stay below 2^128 because rate.count < 2^50.
        let below = reference * u128::from(self.rate.seconds.max(1));
        let hz = u128::from(counter).saturating_mul(u128::from(self.rate.count)) / below;
        u64::try_from(hz).unwrap_or(u64::MAX)
    }
}

/// The multiple of the greatest power of ten in `low..=high` that is nearest
/// to the middle.
fn roundest(low: u64, high: u64) -> u64 {
    let middle = low + (high - low) / 2;
    let steps = (0..10).rev().map(|exponent| 10u64.pow(exponent));
    let mut rounded = steps.map(|step| middle.saturating_add(step / 2) / step * step);
    rounded
        .find(|hz| (low..=high).contains(hz))
        .unwrap_or(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PM_24: CounterWidth = CounterWidth::bits(24);

    fn sample(before: u64, reference: u64, after: u64) -> Sample {
        Sample {
            before,
            reference,
            after,
        }
    }

    #[test]
    fn a_round_rate_is_found_exactly() {
        let hpet = Rate::from_period_fs(10_000_000);
        let begin = Calibration::begin(hpet, CounterWidth::bits(64), sample(1000, 5, 1040));
        let last = sample(2_001_010, 200_005, 2_001_050);
        assert_eq!(begin.elapsed_ns(200_005), 2_000_000);
        assert_eq!(begin.finish(last), Ok(1_000_000_000));
    }

    #[test]
    fn the_reference_may_wrap() {
        let begin = Calibration::begin(Rate::PM_TIMER, PM_24, sample(0, 0xff_fff0, 100));
        let last = sample(30_000_000, 35_779, 30_000_100);
        let hz = begin.finish(last).unwrap();
        assert!((2_999_000_000..3_001_000_000).contains(&hz), "{hz}");
    }

    #[test]
    fn stopped_timers_and_long_reads_are_errors() {
        let begin = Calibration::begin(Rate::PM_TIMER, PM_24, sample(0, 7, 10));
        let stopped = begin.finish(sample(1_000_000, 7, 1_000_010));
        assert_eq!(stopped, Err(CalibrationError::ReferenceStopped));
        let still = Calibration::begin(Rate::PM_TIMER, PM_24, sample(5, 7, 5));
        assert_eq!(
            still.finish(sample(5, 9000, 5)),
            Err(CalibrationError::CounterStopped)
        );
        let long = begin.finish(sample(1_000_000, 3_600, 2_000_000));
        assert!(
            matches!(long, Err(CalibrationError::Uncertain { .. })),
            "{long:?}"
        );
    }

    #[test]
    fn samples_narrow_the_bounds_until_they_contradict() {
        let (wide, near) = (
            RateBounds {
                low: 900,
                high: 1_100,
            },
            RateBounds {
                low: 999,
                high: 1_200,
            },
        );
        let both = wide.and(near).unwrap();
        assert_eq!((both.low, both.high, both.hz()), (999, 1_100, 1_000));
        assert!(both.are_within(9) && !both.are_within(10));
        let other = RateBounds {
            low: 1_101,
            high: 1_102,
        };
        assert_eq!(wide.and(other), None);
    }

    #[test]
    fn the_pit_has_its_odd_rate() {
        assert_eq!(Rate::PIT.to_hz(), 1_193_181);
    }

    proptest! {
        /// The true rate is within one part in 1000 of the answer, always.
        #[test]
        fn encloses_the_true_rate(
            hz in 100_000_000u64..6_000_000_000,
            start in any::<u32>(),
            wait_us in 2_000u64..50_000,
            delays in (0u64..300, 0u64..300, 0u64..300, 0u64..300),
        ) {
            // Times in ns; the reads take what `delays` says on either side.
            let counter = |ns: u64| (u128::from(ns) * u128::from(hz) / 1_000_000_000) as u64;
            let reference = |ns: u64| {
                ((u128::from(ns) * 3_579_545 / 1_000_000_000) as u64 + u64::from(start)) & 0xff_ffff
            };
            let at = |ns: u64, before: u64, after: u64| {
                sample(counter(ns - before), reference(ns), counter(ns + after))
            };
            let first = at(1_000, delays.0, delays.1);
            let last = at(1_000 + wait_us * 1000, delays.2, delays.3);
            let begin = Calibration::begin(Rate::PM_TIMER, PM_24, first);
            let found = begin.finish(last).unwrap();
            prop_assert!(found.abs_diff(hz) <= hz / 1000, "{} for {}", found, hz);
        }

        #[test]
        fn any_samples_give_an_answer(
            first in any::<(u64, u64, u64)>(),
            last in any::<(u64, u64, u64)>(),
            period in any::<u32>(),
            bits in 1u32..65,
        ) {
            let rate = Rate::from_period_fs(period);
            let first = sample(first.0, first.1, first.2);
            let begin = Calibration::begin(rate, CounterWidth::bits(bits), first);
            let _ = begin.finish(sample(last.0, last.1, last.2));
            let _ = begin.elapsed_ns(last.1);
        }
    }
}
