//! `cargo xtask bench`: the figures of SPECIFICATION.md, here and on Linux with KVM.
//!
//! Programs of `bench/` run in emulated machines that count instructions, one CPU each, and print lines
//! `BENCH name value unit`. The same binaries run on Alster and on the peer. `figures` holds the bars and what is
//! derived from several runs; the result is a table for people and `target/bench.json` for programs.

mod figures;
mod measurement;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::build::{self, Built};
use crate::command::step;
use crate::house::{House, write_if_changed};
use crate::setup::{debian_kernel, packages};
use crate::worlds::Kind;
use crate::{boot_archive, peer};
use figures::Figure;
use measurement::{Measured, Measurement};

/// Measures everything, prints the table and writes the file.
pub fn bench(house: &House) -> Result<ExitCode> {
    packages::qemu()?;
    let built = build::all(house, build::Purpose::Bench)?;
    let sources = measure(house, &built)?;
    let figures = figures::figures(&sources);
    print!("{}", table(&figures));
    let file = house.built("bench.json");
    let text = serde_json::to_string_pretty(&to_json(&figures)).context("Cannot write JSON")?;
    write_if_changed(&file, format!("{text}\n").as_bytes())?;
    println!("written to {}", file.display());
    let missed = figures.iter().filter(|figure| figure.is_missed()).count();
    println!("{missed} figures are missed or could not be measured");
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What was measured where.
#[derive(Debug, Default)]
struct Sources {
    alster: Measured,
    /// Linux with all mitigations off: this is what we are compared with.
    peer: Measured,
    /// Linux as it comes.
    peer_defaults: Measured,
    /// The guest's kernel on the emulated machine itself.
    bare: Measured,
}

fn measure(house: &House, built: &Built) -> Result<Sources> {
    let programs = built.programs(Kind::Bench);
    let mut sources = Sources::default();
    sources.alster.insert(
        "size.image".into(),
        Measurement::new(image_size(built)?, "MiB"),
    );
    if programs.is_empty() {
        step("There are no programs in bench/ yet: only sizes are measured");
        return Ok(sources);
    }
    for program in &programs {
        step(&format!("Measuring {program} on Alster"));
        let machine = measurement::on_alster(house, built, program);
        sources
            .alster
            .extend(measurement::run(&machine, &format!("{program} on Alster"))?);
    }
    let linux = peer::build(house, &built.worlds)?;
    for (words, target) in [
        ("mitigations=off", &mut sources.peer),
        ("mitigations=auto", &mut sources.peer_defaults),
    ] {
        for program in &programs {
            step(&format!("Measuring {program} on Linux with {words}"));
            let machine = measurement::on_peer(house, &linux, program, words);
            target.extend(measurement::run(&machine, &format!("{program} on Linux"))?);
        }
    }
    if let Some(clock) = built
        .worlds
        .iter()
        .find(|w| w.name == boot_archive::GUEST_CLOCK)
    {
        step("Measuring the guest's kernel on the bare machine");
        let kernel = debian_kernel::fetch(house, debian_kernel::Flavour::Cloud)?;
        let initrd = boot_archive::bench_initrd(house, &kernel, clock)?;
        let machine = measurement::on_bare_machine(house, &kernel, &initrd);
        sources.bare = measurement::run(&machine, "the bare guest")?;
    }
    Ok(sources)
}

/// What is booted, in MiB, without what is Debian's.
fn image_size(built: &Built) -> Result<f64> {
    let products = built
        .worlds
        .iter()
        .filter(|world| world.kind == Kind::Product);
    let files = products.map(|world| &world.file).chain([&built.kernel.elf]);
    let mut bytes = built.kernel.symbols.to_text().len() as u64;
    for file in files {
        let data = fs::metadata(file);
        bytes += data
            .with_context(|| format!("Cannot read {}", file.display()))?
            .len();
    }
    Ok(bytes as f64 / f64::from(1 << 20))
}

fn to_json(figures: &[Figure]) -> Value {
    let each = figures.iter().map(|figure| {
        json!({
            "name": figure.name,
            "unit": figure.unit,
            "value": figure.value,
            "bar": figure.bar,
            "peer_value": figure.peer_value,
        })
    });
    Value::Array(each.collect())
}

fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<28} {:>12} {:>12} {:>12} {:>12}  {:<14}\n",
        "figure", "value", "at most", "Linux", "(defaults)", "unit"
    );
    let number = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(value) if value.fract() == 0.0 || value >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    };
    for figure in figures {
        let mark = if figure.is_missed() { "MISSED" } else { "" };
        text.push_str(&format!(
            "{:<28} {:>12} {:>12} {:>12} {:>12}  {:<14} {mark}\n",
            figure.name,
            number(figure.value),
            number(figure.bar),
            number(figure.peer_value),
            number(figure.peer_defaults),
            figure.unit,
        ));
    }
    text
}

/// By name: what the figures are looked up in.
type ByName<T> = BTreeMap<String, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_was_promised() {
        let figure = Figure {
            name: "exit.cpuid".into(),
            unit: "instructions".into(),
            value: Some(480.0),
            bar: Some(500.0),
            peer_value: Some(2717.0),
            peer_defaults: None,
        };
        let expected = json!([{
            "name": "exit.cpuid", "unit": "instructions",
            "value": 480.0, "bar": 500.0, "peer_value": 2717.0,
        }]);
        assert_eq!(to_json(std::slice::from_ref(&figure)), expected);
        let text = table(&[figure]);
        assert!(
            text.contains("480") && text.contains("2717") && !text.contains("MISSED"),
            "{text}"
        );
    }
}
