//! The clock, and the local APIC's timer as alarm.
//!
//! Until [`init`] is told of the machine's timers, a clock runs that is slower
//! than real time; every later one goes on from where the one before it was.
//! `counter` reads HPET, ACPI timer and PIT, `rates` measures by them, `agree`
//! compares the time stamp counters of the CPUs, `source` is what is read now.

mod agree;
mod counter;
mod rates;
mod source;

pub use counter::{Hpet, PmTimer, Timers};
pub use source::{Report, Wanted};

use crate::cpu::this_cpu;
use crate::{apic, port};
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};
use source::{Source, source};
use timekeeping::{Rate, Ratio};
use sync::SpinLock;

pub(crate) use agree::{answer, check_with_first};
pub(crate) use source::begin;

static TSC_HZ: AtomicU64 = AtomicU64::new(1_000_000_000);
/// Ticks of the APIC timer per nanosecond.
static TIMER_RATIO: AtomicU64 = AtomicU64::new(0);

/// This CPU's own time stamp counter.
#[inline]
fn raw_tsc() -> u64 {
    // SAFETY: RDTSC has no effect and is not disabled in ring 0.
    unsafe { _rdtsc() }
}

/// The time stamp counter, corrected to the first CPU's.
#[inline]
pub fn tsc() -> u64 {
    raw_tsc().wrapping_add(this_cpu().tsc_offset.load(Ordering::Relaxed))
}

/// What is added to the time stamp counter of CPU `cpu`.
#[inline]
pub fn tsc_offset_of(cpu: usize) -> u64 {
    crate::cpu::block(cpu).map_or(0, |block| block.tsc_offset.load(Ordering::Relaxed))
}

/// Ticks of the time stamp counter per second.
pub fn tsc_hz() -> u64 {
    TSC_HZ.load(Ordering::Relaxed)
}

/// Nanoseconds since boot; never goes back.
#[inline]
pub fn now_ns() -> u64 {
    match source() {
        Source::Tsc(clock) => {
            // SAFETY: no effect but order: what this CPU has seen of others
            // was before the time that it reads now.
            unsafe { _mm_lfence() };
            clock.ns(tsc())
        }
        Source::Slow(slow) => slow.ns(),
    }
}

/// Rings this CPU's timer at `deadline_ns` (`u64::MAX`: never).
#[inline]
pub fn arm_timer(deadline_ns: u64) {
    let mut ns = deadline_ns.saturating_sub(now_ns());
    if let Source::Slow(slow) = source() {
        // Somebody must read a counter once per turn.
        ns = ns.min(slow.longest_wait_ns());
    } else if deadline_ns == u64::MAX {
        return apic::start_timer(0);
    }
    let ratio = Ratio::from_bits(TIMER_RATIO.load(Ordering::Relaxed));
    // Too far for the counter: it rings early, and is set again. A tick more,
    // for it would be early by a part of one.
    let ticks = ratio.convert(ns.min(1 << 60)).saturating_add(1);
    apic::start_timer(ticks.min(u64::from(u32::MAX)) as u32);
}

/// Measures the rates of both by the best of `timers`, and takes the clock
/// that `wanted` names, or the best there is. Once, on the first CPU, before
/// others are started.
pub fn init(timers: &Timers, wanted: Wanted) -> Report {
    let counters = counter::find(timers);
    let rates = rates::measure(&counters);
    TSC_HZ.store(rates.tsc_hz, Ordering::Relaxed);
    let ratio = Ratio::new(Rate::NANOSECONDS, Rate::hz(rates.timer_hz));
    TIMER_RATIO.store(ratio.map_or(0, Ratio::to_bits), Ordering::Relaxed);
    source::init(counters, &rates, wanted);
    report()
}

/// Which clock it is, and why.
pub fn report() -> Report {
    source::report()
}

/// A register of the hardware clock and its memory (MC146818), with NMI left
/// enabled.
pub fn read_cmos(index: u8) -> u8 {
    static PORTS: SpinLock<()> = SpinLock::new(());
    let _ports = PORTS.lock();
    port::out8(0x70, index & 0x7f);
    port::in8(0x71)
}
