//! [`choose`]: which counter the kernel tells time by.

use crate::{CounterWidth, Rate};

/// The counters of a PC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The CPU's time stamp counter.
    Tsc {
        /// Whether the CPU promises one rate in all its states.
        is_invariant: bool,
        /// Whether the CPUs' counters agree, as far as was measured.
        is_synchronized: bool,
    },
    /// The high precision event timer.
    Hpet,
    /// The ACPI timer.
    PmTimer,
}

/// A counter that is there and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSource {
    /// What it is.
    pub kind: SourceKind,
    /// Its rate.
    pub rate: Rate,
    /// When it wraps.
    pub width: CounterWidth,
}

impl ClockSource {
    /// Greater is better; 0 is never used.
    fn merit(&self) -> u32 {
        match self.kind {
            SourceKind::Tsc {
                is_synchronized: false,
                ..
            } => 0,
            // A TSC without the promise is still what emulators offer, and on
            // those every other counter costs an exit per read.
            SourceKind::Tsc {
                is_invariant: true, ..
            } => 4,
            SourceKind::Tsc {
                is_invariant: false,
                ..
            } => 3,
            SourceKind::Hpet => 2,
            SourceKind::PmTimer => 1,
        }
    }
}

/// The best of the counters; `None` if there is none to tell time by.
#[must_use]
pub fn choose(sources: &[ClockSource]) -> Option<ClockSource> {
    let usable = sources
        .iter()
        .filter(|source| source.merit() > 0 && source.rate.to_hz() > 0);
    usable.max_by_key(|source| source.merit()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: SourceKind) -> ClockSource {
        ClockSource {
            kind,
            rate: Rate::hz(1_000_000),
            width: CounterWidth::bits(64),
        }
    }

    #[test]
    fn the_tsc_wins_unless_cpus_disagree() {
        let tsc = |is_invariant, is_synchronized| {
            source(SourceKind::Tsc {
                is_invariant,
                is_synchronized,
            })
        };
        let (hpet, timer) = (source(SourceKind::Hpet), source(SourceKind::PmTimer));
        assert_eq!(
            choose(&[timer, hpet, tsc(false, true)]),
            Some(tsc(false, true))
        );
        assert_eq!(choose(&[tsc(true, false), timer, hpet]), Some(hpet));
        assert_eq!(choose(&[tsc(true, false), timer]), Some(timer));
        assert_eq!(choose(&[tsc(true, false)]), None);
        assert_eq!(
            choose(&[ClockSource {
                rate: Rate::hz(0),
                ..hpet
            }]),
            None
        );
    }
}
