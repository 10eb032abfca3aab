//! What the plugin `op_counter` wrote: kinds of instructions, and places.
//!
//! Main type: [`Span`]. The plugin is built for this machine and loaded into QEMU; `bench/op_counter` says what
//! its lines are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use qemu::Machine;

use crate::command::{program, run};
use crate::house::House;

/// The plugin's package.
const PACKAGE: &str = "op_counter";

/// What was executed in one measured round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The figure.
    pub name: String,
    /// How many operations the round had.
    pub operations: u64,
    /// Executions by kind.
    pub kinds: Vec<(String, u64)>,
    /// Executions by address, if that was asked for.
    pub places: Vec<(u64, u64)>,
}

/// Builds it; returns where it lies.
pub fn build(house: &House) -> Result<PathBuf> {
    let mut command = program("cargo");
    command.args([
        "build",
        "--quiet",
        "--release",
        "-p",
        PACKAGE,
        "--target-dir",
    ]);
    let folder = house.built("op_counter");
    run(command.arg(&folder).current_dir(&house.root))?;
    Ok(folder.join(format!("release/lib{PACKAGE}.so")))
}

/// `machine` with the plugin in it.
pub fn load(machine: Machine, plugin: &Path, out: &Path, options: &str) -> Machine {
    let [plugin, out] = [plugin, out].map(|path| path.to_string_lossy().replace(',', ",,"));
    machine.arguments([
        "-plugin".to_owned(),
        format!("file={plugin},out={out}{options}"),
    ])
}

/// Reads what it wrote. `named` are the program's own names for the spans, in order, with their operations.
pub fn read(out: &Path, named: Vec<(String, u64)>) -> Result<Vec<Span>> {
    let text = fs::read_to_string(out).with_context(|| format!("Cannot read {}", out.display()))?;
    Ok(parse(&text, named))
}

fn parse(text: &str, named: Vec<(String, u64)>) -> Vec<Span> {
    let mut named = named.into_iter();
    let mut spans: Vec<Span> = Vec::new();
    for line in text.lines() {
        if let Some(kinds) = line.strip_prefix("span ") {
            let Some((name, operations)) = named.next() else {
                break;
            };
            let kinds = kinds.split_whitespace().filter_map(|word| {
                let (kind, count) = word.split_once('=')?;
                Some((kind.to_owned(), count.parse().ok()?))
            });
            let (kinds, places) = (kinds.collect(), Vec::new());
            spans.push(Span {
                name,
                operations,
                kinds,
                places,
            });
        } else if let Some(span) = spans.last_mut() {
            span.places.extend(place(line));
        }
    }
    spans
}

/// A line `address count`.
fn place(line: &str) -> Option<(u64, u64)> {
    let (address, count) = line.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_get_the_names_that_the_program_printed() {
        let text = "span vmrun=10 rep=0\nspan vmrun=0 rep=7\n1000 3\nffffffff80000000 4\n";
        let named = vec![("exit.cpuid".to_owned(), 10), ("sys.spawn".to_owned(), 1)];
        let spans = parse(text, named);
        assert_eq!(spans.len(), 2);
        assert_eq!((spans[0].operations, spans[0].kinds[0].1), (10, 10));
        assert_eq!(spans[1].name, "sys.spawn");
        assert_eq!(spans[1].places, [(0x1000, 3), (0xffff_ffff_8000_0000, 4)]);
    }
}
