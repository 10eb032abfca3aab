//! Which program measures which figures.
//!
//! Main type: [`Program`].

use super::figures;

/// A program of `bench/` that is run by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// What the plugin is told beyond what it always does.
    pub counting: &'static str,
    /// What the names of its figures begin with.
    figures: &'static [&'static str],
}

/// Where a program runs on Alster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As process 1, beside everything that measures.
    First,
    /// As the first command of the host's shell, with nothing in the archive that is not the product's.
    Shell,
}

/// All of them.
pub const PROGRAMS: [Program; 4] = [
    Program {
        name: "bench_exits",
        place: Place::First,
        counting: "",
        figures: &["exit.", "fault."],
    },
    Program {
        name: "bench_syscalls",
        place: Place::First,
        counting: "",
        figures: &["sys."],
    },
    Program {
        name: "bench_boot",
        place: Place::Shell,
        counting: "",
        figures: &["boot.host", "mem.host"],
    },
    Program {
        name: "bench_guest",
        place: Place::First,
        counting: ",all=on",
        figures: &["boot.guest", "mem.vm"],
    },
];

impl Program {
    /// Whether it measures a figure whose name contains one of `names`; without names it does.
    pub fn is_wanted(&self, names: &[String]) -> bool {
        figures::names().any(|figure| self.measures(figure) && is_named(figure, names))
    }

    /// Whether it measures this figure.
    pub fn measures(&self, figure: &str) -> bool {
        self.figures
            .iter()
            .any(|beginning| figure.starts_with(beginning))
    }
}

/// Whether a figure is one of those that were asked for.
pub fn is_named(figure: &str, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| figure.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_but_the_size_has_a_program() {
        for figure in figures::names().filter(|figure| *figure != "size.image") {
            let count = PROGRAMS
                .iter()
                .filter(|program| program.measures(figure))
                .count();
            assert_eq!(count, 1, "{figure}");
        }
    }

    #[test]
    fn names_choose_programs() {
        let chosen = |names: &[&str]| -> Vec<&str> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let wanted = PROGRAMS.iter().filter(|program| program.is_wanted(&names));
            wanted.map(|program| program.name).collect()
        };
        assert_eq!(chosen(&[]).len(), PROGRAMS.len());
        assert_eq!(chosen(&["sys", "exit"]), ["bench_exits", "bench_syscalls"]);
        assert_eq!(chosen(&["mem.vm"]), ["bench_guest"]);
        assert!(chosen(&["size"]).is_empty());
    }
}
