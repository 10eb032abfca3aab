//! Time, as pure logic over counter values that the caller reads.
//!
//! [`Clock`] turns a free-running counter into monotonic ns with a [`Scale`];
//! [`Calibration`] finds the rate of one counter by another; [`choose`] picks
//! the counter; [`WallClock`] adds real time, which [`rtc`] reads at boot.
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
pub mod rtc;
mod scale;
mod wall_clock;

pub use calendar::{DateTime, DateTimeError};
pub use calibration::{Calibration, CalibrationError, CounterWidth, Rate, Sample};
pub use clock::Clock;
pub use clock_source::{ClockSource, SourceKind, choose};
pub use scale::Scale;
pub use wall_clock::WallClock;

/// Nanoseconds in a second.
pub const NS_PER_SECOND: u64 = 1_000_000_000;
