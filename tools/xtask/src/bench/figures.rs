//! The bars, and what is derived from several runs.
//!
//! Main type: [`Figure`]. A figure that could not be measured counts as missed: silence is no pass.

use std::collections::BTreeSet;

use super::Sources;
use super::measurement::{MEMORY_MIB, Measured};
use super::programs::is_named;

/// The unit of most figures.
const INSTRUCTIONS: &str = "instructions";

/// Each figure of SPECIFICATION.md: name, unit, at most.
const BARS: [(&str, &str, f64); 20] = [
    ("exit.cpuid", INSTRUCTIONS, 500.0),
    ("exit.out", INSTRUCTIONS, 1000.0),
    ("exit.in", INSTRUCTIONS, 1000.0),
    ("exit.mmio_write", INSTRUCTIONS, 1600.0),
    ("exit.mmio_read", INSTRUCTIONS, 1600.0),
    ("exit.ioeventfd", INSTRUCTIONS, 400.0),
    ("exit.lapic_read", INSTRUCTIONS, 1000.0),
    ("exit.self_ipi", INSTRUCTIONS, 2500.0),
    ("fault.4k_present", INSTRUCTIONS, 1200.0),
    ("fault.4k_absent", INSTRUCTIONS, 2400.0),
    ("sys.getppid", INSTRUCTIONS, 160.0),
    ("sys.eventfd", INSTRUCTIONS, 700.0),
    ("sys.pipe", INSTRUCTIONS, 4000.0),
    ("sys.page_fault", INSTRUCTIONS, 1500.0),
    ("sys.thread", INSTRUCTIONS, 12_000.0),
    ("sys.spawn", INSTRUCTIONS, 150_000.0),
    (BOOT_GUEST, "ratio", 0.5),
    ("boot.host", "1e9 instructions", 0.3),
    (MEM_HOST, "MiB", 48.0),
    ("mem.vm", "MiB", 6.0),
];
const SIZE_IMAGE: (&str, &str, f64) = ("size.image", "MiB", 16.0);

/// What a guest's boot costs above the bare machine, as a ratio of what it costs on Linux with KVM.
const BOOT_GUEST: &str = "boot.guest";
/// What was executed from the monitor's start to the guest's process 1, and by the guest itself.
pub const EXECUTED: &str = "boot.guest.all";
const BY_GUEST: &str = "boot.guest.guest";
/// What the host takes of its memory, and what it says that is free.
const MEM_HOST: &str = "mem.host";
const MEMORY_FREE: &str = "memory.free";

/// A line of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Of what.
    pub unit: String,
    /// How much, if it was measured.
    pub value: Option<f64>,
    /// At most, if there is a bar.
    pub bar: Option<f64>,
    /// How much it is on Linux without mitigations.
    pub peer_value: Option<f64>,
    /// How much it is on Linux as it comes.
    pub peer_defaults: Option<f64>,
}

impl Figure {
    /// Whether it has a bar and is not known to be below.
    pub fn is_missed(&self) -> bool {
        self.bar
            .is_some_and(|bar| self.value.is_none_or(|value| value > bar))
    }
}

/// The names of all figures that have a bar.
pub fn names() -> impl Iterator<Item = &'static str> {
    BARS.iter().chain([&SIZE_IMAGE]).map(|(name, _, _)| *name)
}

/// All figures with a bar that were asked for, then everything else that was measured.
pub fn figures(sources: &Sources, asked: &[String]) -> Vec<Figure> {
    let bars = BARS.iter().chain([&SIZE_IMAGE]);
    let mut all: Vec<Figure> = bars
        .filter(|(name, _, _)| is_named(name, asked))
        .map(|(name, unit, bar)| figure(sources, name, unit, Some(*bar)))
        .collect();
    let known: BTreeSet<&str> = names().collect();
    for (name, measurement) in &sources.alster {
        if !known.contains(name.as_str()) {
            all.push(figure(sources, name, &measurement.unit, None));
        }
    }
    all
}

fn figure(sources: &Sources, name: &str, unit: &str, bar: Option<f64>) -> Figure {
    let (value, peer_value, peer_defaults) = if name == BOOT_GUEST {
        (boot_ratio(sources), Some(1.0), None)
    } else {
        let from = |measured: &Measured| match name {
            MEM_HOST => value(measured, MEMORY_FREE).map(|free| f64::from(MEMORY_MIB) - free),
            _ => value(measured, name),
        };
        (
            from(&sources.alster),
            from(&sources.peer),
            from(&sources.peer_defaults),
        )
    };
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Figure {
        name,
        unit,
        value,
        bar,
        peer_value,
        peer_defaults,
    }
}

fn value(measured: &Measured, name: &str) -> Option<f64> {
    measured.get(name).map(|measurement| measurement.value)
}

/// A bare machine in this sense executes what the guest executes, and nothing for it. The emulated PC executes more:
/// it has other devices, and measures its clocks by waiting.
fn boot_ratio(sources: &Sources) -> Option<f64> {
    let by_guest = value(&sources.alster, BY_GUEST)?.min(value(&sources.peer, BY_GUEST)?);
    let ours = value(&sources.alster, EXECUTED)? - by_guest;
    let theirs = value(&sources.peer, EXECUTED)? - by_guest;
    (theirs > 0.0).then_some(ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Measurement;

    fn sources(ours: &[(&str, f64)]) -> Sources {
        let mut sources = Sources::default();
        for (name, value) in ours {
            sources
                .alster
                .insert((*name).into(), Measurement::new(*value, INSTRUCTIONS));
        }
        sources
    }

    fn named(figures: &[Figure], name: &str) -> Figure {
        figures
            .iter()
            .find(|figure| figure.name == name)
            .unwrap()
            .clone()
    }

    #[test]
    fn what_was_not_measured_is_missed() {
        let figures = figures(
            &sources(&[("exit.cpuid", 500.0), ("exit.out", 1001.0)]),
            &[],
        );
        assert!(!named(&figures, "exit.cpuid").is_missed());
        assert!(named(&figures, "exit.out").is_missed());
        assert!(named(&figures, "exit.in").is_missed());
        assert_eq!(figures.len(), BARS.len() + 1);
    }

    #[test]
    fn what_is_not_free_is_the_hosts() {
        let figures = figures(&sources(&[(MEMORY_FREE, 2008.0)]), &["mem".into()]);
        assert_eq!(named(&figures, MEM_HOST).value, Some(40.0));
        // Its neighbour, and what it was made of; nothing else was asked for.
        assert_eq!(figures.len(), 3);
    }

    #[test]
    fn what_has_no_bar_is_reported_and_never_missed() {
        let figures = figures(&sources(&[("exit.cpuid.vmrun", 1.0)]), &[]);
        let extra = named(&figures, "exit.cpuid.vmrun");
        assert_eq!(
            (extra.value, extra.bar, extra.is_missed()),
            (Some(1.0), None, false)
        );
    }

    #[test]
    fn the_boot_ratio_is_taken_above_what_the_guest_executes() {
        let mut sources = sources(&[(EXECUTED, 1.40e9), (BY_GUEST, 1.31e9)]);
        assert_eq!(named(&figures(&sources, &[]), BOOT_GUEST).value, None);
        let measurement = |value| Measurement::new(value, INSTRUCTIONS);
        let peer = &mut sources.peer;
        peer.insert(EXECUTED.into(), measurement(1.60e9));
        peer.insert(BY_GUEST.into(), measurement(1.30e9));
        let ratio = named(&figures(&sources, &[]), BOOT_GUEST).value.unwrap();
        assert!((ratio - 1.0 / 3.0).abs() < 1e-9, "{ratio}");
    }
}
