//! `cargo xtask bench`: the figures of SPECIFICATION.md, here and on Linux with KVM.
//!
//! Programs of `bench/` run in emulated machines that count instructions, one CPU each, and print lines
//! `BENCH name value unit`. The same binaries run on Alster and on the peer. `programs` says which measures what,
//! `figures` holds the bars and what is derived from several runs, `op_counter` counts kinds of instructions,
//! `profile` functions; the result is a table for people and `target/bench.json` for programs.

mod figures;
mod measurement;
mod op_counter;
mod profile;
mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::arguments::BenchOptions;
use crate::build::{self, Built};
use crate::command::step;
use crate::house::{House, write_if_changed};
use crate::setup::{debian_kernel, packages};
use crate::worlds::Kind;
use crate::{boot_archive, peer};
use figures::Figure;
use measurement::{Measured, Measurement};
use programs::{PROGRAMS, Program};

/// Measures what was asked for, prints the table and writes the file.
pub fn bench(house: &House, options: &BenchOptions) -> Result<ExitCode> {
    packages::qemu()?;
    let built = build::all(house, build::Purpose::Bench)?;
    if let Some(figure) = &options.profile {
        profile::profile(house, &built, figure)?;
        return Ok(ExitCode::SUCCESS);
    }
    let sources = measure(house, &built, options)?;
    let figures = figures::figures(&sources, &options.names);
    print!("{}{}", table(&figures), kinds_table(&figures));
    if let Some(bare) = sources.bare.get(figures::EXECUTED) {
        println!(
            "the guest's kernel on a bare q35: {:.0} instructions to process 1",
            bare.value
        );
    }
    // What was not asked for stays as it was.
    let file = house.built("bench.json");
    let old = fs::read_to_string(&file).unwrap_or_default();
    let all = merged(&old, to_json(&figures));
    let text = serde_json::to_string_pretty(&all).context("Cannot write JSON")?;
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

fn measure(house: &House, built: &Built, options: &BenchOptions) -> Result<Sources> {
    let mut sources = Sources::default();
    if programs::is_named("size.image", &options.names) {
        let size = Measurement::new(image_size(built)?, "MiB");
        sources.alster.insert("size.image".into(), size);
    }
    let wanted = |program: &&Program| program.is_wanted(&options.names);
    let programs: Vec<&Program> = PROGRAMS.iter().filter(wanted).collect();
    if programs.is_empty() {
        return Ok(sources);
    }
    let plugin = op_counter::build(house)?;
    for program in &programs {
        step(&format!("Measuring {} on Alster", program.name));
        let measured = measurement::on_alster(house, built, program, &plugin)?;
        sources.alster.extend(measured);
    }
    if options.alone {
        return Ok(sources);
    }
    let linux = peer::build(house, &built.worlds)?;
    for (words, target) in [
        ("mitigations=off", &mut sources.peer),
        ("mitigations=auto", &mut sources.peer_defaults),
    ] {
        for program in &programs {
            step(&format!("Measuring {} on Linux with {words}", program.name));
            target.extend(measurement::on_peer(
                house, &linux, program, words, &plugin,
            )?);
        }
    }
    if programs
        .iter()
        .any(|program| program.measures("boot.guest"))
    {
        step("Measuring the guest's kernel on the bare machine");
        sources.bare = bare(house, built, &plugin)?;
    }
    Ok(sources)
}

fn bare(house: &House, built: &Built, plugin: &Path) -> Result<Measured> {
    let clock = built
        .worlds
        .iter()
        .find(|world| world.name == boot_archive::GUEST_CLOCK);
    let clock = clock.context("The program that reads a guest's clock was not built")?;
    let kernel = debian_kernel::fetch(house, debian_kernel::Flavour::Cloud)?;
    let initrd = boot_archive::bench_initrd(house, &kernel, clock)?;
    measurement::on_bare_machine(house, &kernel, &initrd, plugin)
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

/// The figures of an older file with the new ones in their places.
fn merged(old: &str, new: Vec<Value>) -> Value {
    let mut all: Vec<Value> = serde_json::from_str(old).unwrap_or_default();
    for figure in new {
        match all.iter_mut().find(|other| other["name"] == figure["name"]) {
            Some(place) => update(place, figure),
            None => all.push(figure),
        }
    }
    Value::Array(all)
}

/// What was measured now; what was not stays.
fn update(place: &mut Value, figure: Value) {
    let (Some(old), Value::Object(new)) = (place.as_object_mut(), figure) else {
        return;
    };
    let measured = new.into_iter().filter(|(_, value)| !value.is_null());
    old.extend(measured);
}

fn to_json(figures: &[Figure]) -> Vec<Value> {
    let each = figures.iter().map(|figure| {
        json!({
            "name": figure.name,
            "unit": figure.unit,
            "value": figure.value,
            "bar": figure.bar,
            "peer_value": figure.peer_value,
        })
    });
    each.collect()
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
    for figure in figures.iter().filter(|figure| figure.bar.is_some()) {
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

/// How often an operation executes what icount prices too low: here / on Linux without mitigations.
fn kinds_table(figures: &[Figure]) -> String {
    let mut text = String::new();
    let count = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
    for figure in figures
        .iter()
        .filter(|figure| figure.unit == measurement::PER_OPERATION)
    {
        let Some((name, kind)) = figure.name.rsplit_once('.') else {
            continue;
        };
        if !text.contains(&format!("\n{name}:")) {
            text.push_str(&format!("\n{name}:"));
        }
        let (ours, theirs) = (count(figure.value), count(figure.peer_value));
        text.push_str(&format!(" {kind} {ours}/{theirs}"));
    }
    match text.as_str() {
        "" => text,
        _ => format!("executed by an operation, here / on Linux:{text}\n"),
    }
}

/// By name: what the figures are looked up in.
type ByName<T> = BTreeMap<String, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_figures_leaves_the_others() {
        let old = r#"[{"name": "a", "value": 1}, {"name": "b", "value": 2}]"#;
        let all = merged(
            old,
            vec![json!({"name": "b", "value": 3}), json!({"name": "c"})],
        );
        let expected = json!([{"name": "a", "value": 1}, {"name": "b", "value": 3}, {"name": "c"}]);
        assert_eq!(all, expected);
        assert_eq!(merged("no JSON", Vec::new()), json!([]));
    }

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
        let expected = vec![json!({
            "name": "exit.cpuid", "unit": "instructions",
            "value": 480.0, "bar": 500.0, "peer_value": 2717.0,
        })];
        assert_eq!(to_json(std::slice::from_ref(&figure)), expected);
        let text = table(&[figure]);
        assert!(
            text.contains("480") && text.contains("2717") && !text.contains("MISSED"),
            "{text}"
        );
    }
}
