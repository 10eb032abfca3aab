//! The rates of the time stamp counter and of the APIC timer, by the best
//! counter of known rate that runs.

use super::counter::{Counter, Counters};
use super::raw_tsc;
use crate::apic;
use timekeeping::{Calibration, CounterWidth, Rate, RateBounds, Sample};

/// The shortest measurement: it is over when the rate is known to one part in
/// [`GOOD`].
const SHORTEST_NS: u64 = 1_000_000;
const GOOD: u64 = 10_000;
/// The longest that is waited for that, if the rate is known to one part in
/// [`FAIR`].
const LONGEST_NS: u64 = 5_000_000;
const FAIR: u64 = 1000;
/// The longest at all: reads were held up, as an emulator's may be.
const LIMIT_NS: u64 = 40_000_000;
/// How often it is tried.
const ATTEMPTS: usize = 3;
/// A counter that was read so often and never moved is stopped: the slowest
/// one moves each microsecond.
const STILL: u32 = 20_000;
/// First reads; the one that took least is used.
const FIRST_READS: usize = 4;
/// Taken where nothing can be measured.
const UNKNOWN_HZ: u64 = 1_000_000_000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) tsc_hz: u64,
    pub(super) timer_hz: u64,
    /// By which counter; nothing where none runs.
    pub(super) by: Option<&'static str>,
}

/// Measures by the first counter that moves.
pub(super) fn measure(counters: &Counters) -> Rates {
    let order = [counters.hpet, counters.pm_timer, Some(Counter::Pit)];
    let found = order.into_iter().flatten().find_map(by);
    found.unwrap_or(Rates {
        tsc_hz: UNKNOWN_HZ,
        timer_hz: UNKNOWN_HZ,
        by: None,
    })
}

fn by(counter: Counter) -> Option<Rates> {
    let mut attempts = (0..ATTEMPTS).filter_map(|_| attempt(counter));
    attempts
        .find(|(_, is_fair)| *is_fair)
        .map(|(rates, _)| rates)
}

/// Measures once; whether the result is fair, too.
fn attempt(counter: Counter) -> Option<(Rates, bool)> {
    counter.start();
    apic::start_timer(u32::MAX);
    let timer_first = sample_timer();
    let tsc = tsc_bounds(counter);
    let timer_last = sample_timer();
    apic::start_timer(0);
    counter.stop();
    let tsc = tsc?;
    let tsc_hz = tsc.hz();
    // Now the time stamp counter's rate is known.
    let width = CounterWidth::bits(64);
    let run = Calibration::begin(Rate::hz(tsc_hz), width, timer_first);
    let timer_hz = run.bounds(timer_last).map_or(UNKNOWN_HZ, RateBounds::hz);
    let rates = Rates {
        tsc_hz,
        timer_hz,
        by: Some(counter.name()),
    };
    Some((rates, tsc.are_within(FAIR)))
}

/// Reads until the rate is known well, or the time is up. Every read narrows
/// it, so one that was interrupted does no harm.
fn tsc_bounds(counter: Counter) -> Option<RateBounds> {
    let reads = [(); FIRST_READS].map(|()| counter.sample());
    let first = reads
        .into_iter()
        .min_by_key(|read| read.after.wrapping_sub(read.before))?;
    let run = Calibration::begin(counter.rate(), counter.width(), first);
    let mut known: Option<RateBounds> = None;
    let mut still = 0;
    loop {
        core::hint::spin_loop();
        let last = counter.sample();
        let ns = run.elapsed_ns(last.reference);
        if ns < SHORTEST_NS {
            still = if ns == 0 { still + 1 } else { 0 };
            if still > STILL {
                return None;
            }
            continue;
        }
        if let Ok(bounds) = run.bounds(last) {
            // Bounds that contradict each other come of a counter that jumped.
            known = Some(known.and_then(|known| known.and(bounds)).unwrap_or(bounds));
        }
        let enough = if ns > LONGEST_NS { FAIR } else { GOOD };
        if ns > LIMIT_NS || known.is_some_and(|known| known.are_within(enough)) {
            return known;
        }
    }
}

/// The APIC timer around a value of the time stamp counter, counting upwards.
fn sample_timer() -> Sample {
    let passed = || u64::from(u32::MAX - apic::timer_left());
    let before = passed();
    let reference = raw_tsc();
    Sample {
        before,
        reference,
        after: passed(),
    }
}
