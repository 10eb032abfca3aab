//! The bars, and what is derived from several runs.
//!
//! Main type: [`Figure`]. A figure that could not be measured counts as missed: silence is no pass.

use std::collections::BTreeSet;

use super::Sources;

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
    ("mem.host", "MiB", 48.0),
    ("mem.vm", "MiB", 6.0),
];
const SIZE_IMAGE: (&str, &str, f64) = ("size.image", "MiB", 16.0);

/// What a guest's boot costs above the bare machine, as a ratio of what it costs on Linux with KVM.
const BOOT_GUEST: &str = "boot.guest";
/// What its parts are called in the runs: instructions from the kernel's entry to its process 1.
const GUEST_INSTRUCTIONS: &str = "guest.instructions";

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

/// All figures with a bar, then everything else that was measured.
pub fn figures(sources: &Sources) -> Vec<Figure> {
    let bars = BARS.iter().chain([&SIZE_IMAGE]);
    let mut all: Vec<Figure> = bars
        .clone()
        .map(|(name, unit, bar)| figure(sources, name, unit, Some(*bar)))
        .collect();
    let known: BTreeSet<&str> = bars.map(|(name, _, _)| *name).collect();
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
        let from = |measured: &super::Measured| measured.get(name).map(|m| m.value);
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

fn boot_ratio(sources: &Sources) -> Option<f64> {
    let [ours, theirs, bare] = [&sources.alster, &sources.peer, &sources.bare]
        .map(|measured| measured.get(GUEST_INSTRUCTIONS).map(|m| m.value));
    let (ours, theirs) = (ours? - bare?, theirs? - bare?);
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
        let figures = figures(&sources(&[("exit.cpuid", 500.0), ("exit.out", 1001.0)]));
        assert!(!named(&figures, "exit.cpuid").is_missed());
        assert!(named(&figures, "exit.out").is_missed());
        assert!(named(&figures, "exit.in").is_missed());
        assert_eq!(figures.len(), BARS.len() + 1);
    }

    #[test]
    fn what_has_no_bar_is_reported_and_never_missed() {
        let figures = figures(&sources(&[("exit.cpuid.vmrun", 1.0)]));
        let extra = named(&figures, "exit.cpuid.vmrun");
        assert_eq!(
            (extra.value, extra.bar, extra.is_missed()),
            (Some(1.0), None, false)
        );
    }

    #[test]
    fn the_boot_ratio_is_taken_above_the_bare_machine() {
        let mut sources = sources(&[(GUEST_INSTRUCTIONS, 1.40e9)]);
        assert_eq!(named(&figures(&sources), BOOT_GUEST).value, None);
        let measurement = |value| Measurement::new(value, INSTRUCTIONS);
        sources
            .peer
            .insert(GUEST_INSTRUCTIONS.into(), measurement(1.60e9));
        sources
            .bare
            .insert(GUEST_INSTRUCTIONS.into(), measurement(1.30e9));
        let ratio = named(&figures(&sources), BOOT_GUEST).value.unwrap();
        assert!((ratio - 1.0 / 3.0).abs() < 1e-9, "{ratio}");
    }
}
