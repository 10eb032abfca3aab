//! The time stamp counter as clock and the local APIC's timer as alarm.

use crate::{apic, port};
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;

const PIT_HZ: u64 = 1_193_182;
/// Length of the calibration.
const CALIBRATION_MS: u64 = 5;

static TSC_HZ: AtomicU64 = AtomicU64::new(1_000_000_000);
static TSC_BASE: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per tick of the TSC, in 2^-32.
static NS_PER_TSC: AtomicU64 = AtomicU64::new(1 << 32);
/// Ticks of the APIC timer per nanosecond, in 2^-32.
static TICKS_PER_NS: AtomicU64 = AtomicU64::new(1 << 32);

/// The time stamp counter.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: RDTSC has no effect and is not disabled in ring 0.
    unsafe { _rdtsc() }
}

/// Ticks of the time stamp counter per second.
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed)
}

/// Nanoseconds since boot; never goes back on one CPU.
#[inline]
pub fn now_ns() -> u64 {
    ns_of_tsc(tsc())
}

/// The time at which the counter had the value `tsc`.
#[inline]
pub fn ns_of_tsc(tsc: u64) -> u64 {
    let ticks = tsc.saturating_sub(TSC_BASE.load(Ordering::Relaxed));
    ((u128::from(ticks) * u128::from(NS_PER_TSC.load(Ordering::Relaxed))) >> 32) as u64
}

/// Rings this CPU's timer at `deadline_ns` (`u64::MAX`: never).
#[inline]
pub fn arm_timer(deadline_ns: u64) {
    if deadline_ns == u64::MAX {
        return apic::start_timer(0);
    }
    let ns = deadline_ns.saturating_sub(now_ns());
    let ticks = (u128::from(ns) * u128::from(TICKS_PER_NS.load(Ordering::Relaxed))) >> 32;
    // Too far for the counter: it rings early, and is set again.
    apic::start_timer(ticks.clamp(1, u128::from(u32::MAX)) as u32);
}

/// Measures both counters against the interval timer (8254, channel 2).
pub(crate) fn calibrate() {
    let count = (PIT_HZ * CALIBRATION_MS / 1000) as u16;
    let gate = port::in8(0x61);
    port::out8(0x61, gate & !3);
    port::out8(0x43, 0xb0);
    port::out8(0x42, count as u8);
    port::out8(0x42, (count >> 8) as u8);
    port::out8(0x61, gate & !2 | 1);
    apic::start_timer(u32::MAX);
    let start = tsc();
    let mut turns = 0u32;
    while port::in8(0x61) & 0x20 == 0 && turns < 50_000_000 {
        turns += 1;
    }
    let elapsed = tsc() - start;
    let ticks = u64::from(u32::MAX - apic::timer_left());
    apic::start_timer(0);
    port::out8(0x61, gate & !3);
    // What the counter was loaded with, in nanoseconds.
    let ns = u64::from(count) * 1_000_000_000 / PIT_HZ;
    set_rates(elapsed.max(1), ticks.max(1), ns);
    TSC_BASE.store(tsc(), Ordering::Relaxed);
}

fn set_rates(tsc_ticks: u64, timer_ticks: u64, ns: u64) {
    let ratio = |over: u64, under: u64| ((u128::from(over) << 32) / u128::from(under)) as u64;
    TSC_HZ.store(
        (u128::from(tsc_ticks) * 1_000_000_000 / u128::from(ns)) as u64,
        Ordering::Relaxed,
    );
    NS_PER_TSC.store(ratio(ns, tsc_ticks), Ordering::Relaxed);
    TICKS_PER_NS.store(ratio(timer_ticks, ns), Ordering::Relaxed);
}

/// A register of the hardware clock and its memory (MC146818), with NMI left
/// enabled.
pub fn read_cmos(index: u8) -> u8 {
    static PORTS: SpinLock<()> = SpinLock::new(());
    let _ports = PORTS.lock();
    port::out8(0x70, index & 0x7f);
    port::in8(0x71)
}
