//! What time is told by now, and how it was chosen.

use super::counter::{Counter, Counters};
use super::rates::Rates;
use super::{now_ns, raw_tsc, tsc, tsc_hz};
use crate::registers::features;
use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use sync::{Once, SpinLock};
use timekeeping::{Clock, ClockSource, CounterWidth, Rate, SourceKind, TickClock, Widened, choose};

/// A clock.
pub(super) enum Source {
    /// By the time stamp counter.
    Tsc(TickClock),
    /// By another counter, which each read goes out to.
    Slow(Slow),
}

pub(super) struct Slow {
    counter: Counter,
    wide: Widened,
    clock: Clock,
    longest_wait_ns: u64,
}

impl Slow {
    /// Goes on from the clock before.
    fn new(counter: Counter) -> Option<Self> {
        let (rate, width, count) = (counter.rate(), counter.width(), counter.read());
        let ns = time_passed();
        let clock = Clock::new(rate, CounterWidth::bits(64), count, ns)?;
        let turn = width.elapsed(1, 0);
        let longest_wait_ns = clock.ns(count + turn).saturating_sub(ns) / 4;
        Some(Self {
            counter,
            wide: Widened::new(width, count),
            clock,
            longest_wait_ns,
        })
    }

    #[inline(never)]
    pub(super) fn ns(&self) -> u64 {
        self.clock.ns(self.wide.read(|| self.counter.read()))
    }

    pub(super) fn longest_wait_ns(&self) -> u64 {
        self.longest_wait_ns
    }
}

/// Which clock the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The best.
    #[default]
    Best,
    /// The time stamp counter, even if CPUs disagree.
    Tsc,
    /// The high precision event timer, where there is one.
    Hpet,
    /// The ACPI timer, where there is one.
    PmTimer,
}

/// Which clock it is, and why.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its name as /sys has it: `tsc`, `hpet` or `acpi_pm`.
    pub name: &'static str,
    /// Its counts per second.
    pub hz: u64,
    /// What the CPUs' rates were measured by, if by anything.
    pub measured_by: Option<&'static str>,
    /// Whether the CPU says that the time stamp counter's rate is constant.
    pub is_invariant: bool,
    /// Whether the CPUs' time stamp counters agree, or were made to.
    pub is_synchronized: bool,
    /// The most that a CPU's time stamp counter may be off, in its counts.
    pub error: u64,
    /// CPUs whose time stamp counter is corrected.
    pub corrected: u64,
    /// Whether the operator chose it.
    pub is_wanted: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mhz, khz) = (self.hz / 1_000_000, self.hz / 1000 % 1000);
        write!(f, "clock {}, {mhz}.{khz:03} MHz", self.name)?;
        if self.is_wanted {
            f.write_str(", as the command line asks")?;
        }
        let rate = if self.is_invariant {
            "invariant"
        } else {
            "not known to be invariant"
        };
        write!(f, "; the CPUs' TSC is {rate}")?;
        match self.measured_by {
            Some(timer) => write!(f, ", measured by the {timer}")?,
            None => f.write_str(", of unknown rate: no timer counts")?,
        }
        match (self.is_synchronized, self.corrected) {
            (false, _) => f.write_str(", and differs from CPU to CPU"),
            (true, 0) if self.error == 0 => Ok(()),
            (true, 0) => write!(f, ", and agrees to {} counts", self.error),
            (true, corrected) => {
                write!(
                    f,
                    ", and agrees to {} counts with {corrected} CPUs corrected",
                    self.error
                )
            }
        }
    }
}

struct Choice {
    counters: Counters,
    measured_by: Option<&'static str>,
    wanted: Wanted,
}

static CHOICE: Once<Choice> = Once::new();
static BEGINNING: Once<Source> = Once::new();
static SOURCE: AtomicPtr<Source> = AtomicPtr::new(core::ptr::null_mut());
static CHANGE: SpinLock<()> = SpinLock::new(());
static IS_SYNCHRONIZED: AtomicBool = AtomicBool::new(true);
static ERROR: AtomicU64 = AtomicU64::new(0);
static CORRECTED: AtomicU64 = AtomicU64::new(0);

/// What is read now.
#[inline]
pub(super) fn source() -> &'static Source {
    let source = SOURCE.load(Ordering::Acquire);
    // SAFETY: `begin` stored a source before anything asks for the time; all
    // of them live for good and do not change.
    unsafe { &*source }
}

fn set(source: &'static Source) {
    SOURCE.store(core::ptr::from_ref(source).cast_mut(), Ordering::Release);
}

/// Starts the clock that runs until rates are known.
pub(crate) fn begin() {
    let _ = BEGINNING.set(Source::Tsc(TickClock::slow(raw_tsc())));
    set(BEGINNING.get().expect("invariant: set in the line above"));
}

pub(super) fn init(counters: Counters, rates: &Rates, wanted: Wanted) {
    let _ = CHOICE.set(Choice {
        counters,
        measured_by: rates.by,
        wanted,
    });
    take_best();
}

/// The counters of the CPUs disagree: chooses again.
pub(super) fn disagree() {
    if IS_SYNCHRONIZED.swap(false, Ordering::AcqRel) {
        take_best();
    }
}

/// A CPU's counter is off by up to `error`; whether it is corrected.
pub(super) fn note(error: u64, is_corrected: bool) {
    ERROR.fetch_max(error, Ordering::Relaxed);
    CORRECTED.fetch_add(u64::from(is_corrected), Ordering::Relaxed);
}

/// Goes on by the best source. Where that fails, by the one before.
fn take_best() {
    let _one = CHANGE.lock();
    let Some(choice) = CHOICE.get() else { return };
    // Others may read the old clock until the new one is set, so the new one
    // begins with a time that is read after its counter: it is ahead.
    let made = match pick(choice) {
        SourceKind::Tsc { .. } => {
            let count = tsc();
            TickClock::new(Rate::hz(tsc_hz()), count, time_passed()).map(Source::Tsc)
        }
        SourceKind::Hpet => choice.counters.hpet.and_then(Slow::new).map(Source::Slow),
        SourceKind::PmTimer => choice
            .counters
            .pm_timer
            .and_then(Slow::new)
            .map(Source::Slow),
    };
    if let Some(made) = made {
        set(Box::leak(Box::new(made)));
    }
}

/// Nanoseconds since the beginning: the first clock has shown less.
fn time_passed() -> u64 {
    match (BEGINNING.get(), source()) {
        (Some(Source::Tsc(beginning)), Source::Tsc(now)) if beginning == now => {
            let real = TickClock::new(Rate::hz(tsc_hz()), beginning.zero(), 0);
            real.unwrap_or(*beginning).ns(tsc()).max(now_ns())
        }
        _ => now_ns(),
    }
}

fn pick(choice: &Choice) -> SourceKind {
    let tsc = SourceKind::Tsc {
        is_invariant: features().invariant_tsc,
        is_synchronized: IS_SYNCHRONIZED.load(Ordering::Acquire),
    };
    let timers = [
        (SourceKind::Hpet, choice.counters.hpet),
        (SourceKind::PmTimer, choice.counters.pm_timer),
    ];
    let wanted = timers.into_iter().find(|(kind, counter)| {
        let names = matches!(
            (choice.wanted, kind),
            (Wanted::Hpet, SourceKind::Hpet) | (Wanted::PmTimer, SourceKind::PmTimer)
        );
        names && counter.is_some()
    });
    if let Some((kind, _)) = wanted {
        return kind;
    }
    if choice.wanted == Wanted::Tsc {
        return tsc;
    }
    let nothing = ClockSource {
        kind: tsc,
        rate: Rate::hz(0),
        width: CounterWidth::bits(64),
    };
    let there = |kind, rate| ClockSource {
        kind,
        rate,
        ..nothing
    };
    let other = |(kind, counter): (SourceKind, Option<Counter>)| {
        counter.map_or(nothing, |counter| there(kind, counter.rate()))
    };
    let sources = [
        there(tsc, Rate::hz(tsc_hz())),
        other(timers[0]),
        other(timers[1]),
    ];
    // Where there is no good clock, the time stamp counter is the least bad.
    choose(&sources).map_or(tsc, |best| best.kind)
}

pub(super) fn report() -> Report {
    let choice = CHOICE.get();
    let (name, hz, kind) = match source() {
        Source::Tsc(_) => ("tsc", tsc_hz(), Wanted::Tsc),
        Source::Slow(Slow {
            counter: Counter::Hpet { period_fs },
            ..
        }) => (
            "hpet",
            Rate::from_period_fs(*period_fs).to_hz(),
            Wanted::Hpet,
        ),
        Source::Slow(slow) => ("acpi_pm", slow.counter.rate().to_hz(), Wanted::PmTimer),
    };
    Report {
        name,
        hz,
        measured_by: choice.and_then(|choice| choice.measured_by),
        is_invariant: features().invariant_tsc,
        is_synchronized: IS_SYNCHRONIZED.load(Ordering::Relaxed),
        error: ERROR.load(Ordering::Relaxed),
        corrected: CORRECTED.load(Ordering::Relaxed),
        is_wanted: choice.is_some_and(|choice| choice.wanted == kind),
    }
}
