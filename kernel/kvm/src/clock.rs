//! The paravirtual clock: a VM's time ([`VmClock`]) and the record in guest
//! memory from which each vCPU computes it ([`PvClock`]). Layout and MSRs:
//! "KVM-specific MSRs" of the KVM documentation.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The time of a VM: the host's monotonic time plus an offset.
pub struct VmClock {
    offset: AtomicI64,
    /// The host's TSC at the VM's creation, so that guests count from 0.
    pub(crate) tsc_start: AtomicU64,
}

impl VmClock {
    /// Starts at 0 now.
    #[must_use]
    pub fn new() -> Self {
        VmClock {
            offset: AtomicI64::new((wait::now_ns() as i64).wrapping_neg()),
            tsc_start: AtomicU64::new(hal::time::tsc()),
        }
    }

    /// Nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        wait::now_ns().wrapping_add(self.offset.load(Ordering::Relaxed) as u64)
    }

    /// Sets the time.
    pub fn set(&self, nanoseconds: u64) {
        let offset = nanoseconds.wrapping_sub(wait::now_ns());
        self.offset.store(offset as i64, Ordering::Relaxed);
    }
}

impl Default for VmClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The record of a vCPU's clock. A guest reads it until `version` is even and
/// the same before and after.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TimeRecord {
    /// Odd while it is written.
    pub version: u32,
    /// Unused.
    pub pad: u32,
    /// The guest's TSC at `system_time`.
    pub tsc_timestamp: u64,
    /// Nanoseconds.
    pub system_time: u64,
    /// Nanoseconds per shifted tick, times 2^32.
    pub tsc_to_system_mul: u32,
    /// Shift of ticks, left if positive.
    pub tsc_shift: i8,
    /// [`TimeRecord::STABLE`], [`TimeRecord::PAUSED`].
    pub flags: u8,
    /// Unused.
    pub pad2: [u8; 2],
}

impl TimeRecord {
    /// All vCPUs' records agree.
    pub const STABLE: u8 = 1;
    /// The monitor paused the guest.
    pub const PAUSED: u8 = 2;
}

/// The record of the wall clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WallRecord {
    /// Odd while it is written.
    pub version: u32,
    /// Seconds of real time when the VM's clock was 0.
    pub seconds: u32,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

impl WallRecord {
    /// The record for a VM whose clock was 0 at this real time.
    #[must_use]
    pub const fn of(start_ns: u64, version: u32) -> Self {
        WallRecord {
            version,
            seconds: (start_ns / 1_000_000_000) as u32,
            nanoseconds: (start_ns % 1_000_000_000) as u32,
        }
    }
}

/// Multiplier and shift that turn ticks of `khz` into nanoseconds:
/// `(ticks << shift) * mul >> 32`, with a multiplier of 2^31 or more.
#[must_use]
pub const fn scale(khz: u64) -> (u32, i8) {
    let khz = if khz == 0 { 1 } else { khz };
    let mut shift = 0i8;
    // Nanoseconds per tick, times 2^32: 10^6 / khz * 2^32.
    let mut multiplier = (1_000_000u128 << 32) / khz as u128;
    while multiplier >= 1 << 32 {
        multiplier >>= 1;
        shift += 1;
    }
    while multiplier < 1 << 31 && shift > -31 {
        shift -= 1;
        // Computed anew, so that no bits are lost.
        multiplier = (1_000_000u128 << (32 - shift as i32)) / khz as u128;
    }
    (multiplier as u32, shift)
}

/// A vCPU's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct PvClock {
    /// What the guest wrote to the MSR: address and, in bit 0, on.
    pub msr: u64,
    /// The last version written.
    pub version: u32,
    /// The monitor paused the guest since the last write.
    pub paused: bool,
}

impl PvClock {
    /// Where the record is, if the clock is on.
    #[must_use]
    pub const fn address(&self) -> Option<u64> {
        if self.msr & 1 != 0 {
            Some(self.msr & !3)
        } else {
            None
        }
    }

    /// The next record.
    pub fn next(&mut self, guest_tsc: u64, now: u64, khz: u64, stable: bool) -> TimeRecord {
        self.version = self.version.wrapping_add(2);
        let (tsc_to_system_mul, tsc_shift) = scale(khz);
        let mut flags = if stable { TimeRecord::STABLE } else { 0 };
        if core::mem::take(&mut self.paused) {
            flags |= TimeRecord::PAUSED;
        }
        TimeRecord {
            version: self.version,
            pad: 0,
            tsc_timestamp: guest_tsc,
            system_time: now,
            tsc_to_system_mul,
            tsc_shift,
            flags,
            pad2: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(ticks: u64, (multiplier, shift): (u32, i8)) -> u64 {
        let shifted = if shift >= 0 {
            ticks << shift
        } else {
            ticks >> -shift
        };
        ((u128::from(shifted) * u128::from(multiplier)) >> 32) as u64
    }

    #[test]
    fn ticks_become_nanoseconds() {
        for khz in [
            1_000, 999_999, 1_000_000, 1_000_001, 2_445_000, 5_000_000, 100,
        ] {
            let (multiplier, shift) = scale(khz);
            assert!(multiplier >= 1 << 31, "{khz}");
            let second = convert(khz * 1000, (multiplier, shift));
            assert!(
                second.abs_diff(1_000_000_000) < 10_000,
                "{khz} kHz: {second}"
            );
        }
    }

    #[test]
    fn versions_are_even_and_rise() {
        let mut clock = PvClock {
            msr: 0x1001,
            paused: true,
            ..PvClock::default()
        };
        assert_eq!(clock.address(), Some(0x1000));
        let first = clock.next(1, 2, 1_000_000, true);
        let second = clock.next(1, 2, 1_000_000, false);
        assert_eq!((first.version, second.version), (2, 4));
        assert_eq!(
            (first.flags, second.flags),
            (TimeRecord::STABLE | TimeRecord::PAUSED, 0)
        );
        assert_eq!(size_of::<TimeRecord>(), 32);
    }
}
