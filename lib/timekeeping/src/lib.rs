//! Time, as pure logic over counter values that the caller reads.
//!
//! [`Calibration`] finds the rate of one counter by another; [`OffsetCheck`]
//! tells how far the counters of two CPUs are apart; [`choose`] picks the
//! counter to tell time by. [`TickClock`] makes monotonic ns of a 64-bit
//! counter in a few instructions, [`Clock`] of any; [`Widened`] makes 64 bits
//! of less. [`WallClock`] adds real time, which [`rtc`] reads at boot.
//!
//! Neighbours: the hal reads TSC, HPET and ports; `firmware_tables` says where
//! they are.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod calendar;
mod calibration;
mod clock;
mod clock_source;
mod offset_check;
mod ratio;
pub mod rtc;
mod scale;
mod tick_clock;
mod wall_clock;
mod widened;

pub use calendar::{DateTime, DateTimeError};
pub use calibration::{Calibration, CalibrationError, CounterWidth, Rate, RateBounds, Sample};
pub use clock::Clock;
pub use clock_source::{ClockSource, SourceKind, choose};
pub use offset_check::{Agreement, OffsetCheck};
pub use ratio::Ratio;
pub use scale::Scale;
pub use tick_clock::TickClock;
pub use wall_clock::WallClock;
pub use widened::Widened;

/// Nanoseconds in a second.
pub const NS_PER_SECOND: u64 = 1_000_000_000;
