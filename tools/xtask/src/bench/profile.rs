//! Where the instructions of a figure go, by function.
//!
//! Inlined functions count for the one that they are part of. Neighbour: `op_counter`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use qemu::Symbols;

use super::measurement;
use super::op_counter::Span;
use super::programs::PROGRAMS;
use crate::build::Built;
use crate::command::step;
use crate::house::House;
use crate::kernel_image;

/// How many functions are listed.
const LINES: usize = 50;
/// Where the kernel's half begins.
const KERNEL_HALF: u64 = 1 << 63;

/// Measures the figure's program and prints its profile.
pub fn profile(house: &House, built: &Built, figure: &str) -> Result<()> {
    let program = PROGRAMS.iter().find(|program| program.measures(figure));
    let program = program.with_context(|| format!("No program measures {figure:?}."))?;
    if !program.counting.is_empty() {
        bail!(
            "{figure} cannot be profiled: guest and host have their kernels at the same addresses."
        );
    }
    step(&format!("Profiling {figure} in {}", program.name));
    let spans = measurement::places(house, built, program)?;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let Some(span) = spans.iter().find(|span| span.name == figure) else {
        bail!(
            "{} has no {figure:?}; it has {}.",
            program.name,
            names.join(", ")
        );
    };
    let world = built.worlds.iter().find(|world| world.name == program.name);
    let world = world.with_context(|| format!("{} was not built", program.name))?;
    let user = kernel_image::read_symbols(&world.file)?;
    print!("{}", table(span, &built.kernel.symbols, &user));
    Ok(())
}

fn table(span: &Span, kernel: &Symbols, user: &Symbols) -> String {
    let mut functions: BTreeMap<String, u64> = BTreeMap::new();
    for &(address, count) in &span.places {
        let (half, symbols) = match address {
            KERNEL_HALF.. => ("", kernel),
            _ => ("user: ", user),
        };
        let name = symbols.lookup(address).map_or("?", |(name, _)| name);
        *functions.entry(format!("{half}{name}")).or_default() += count;
    }
    let all: u64 = functions.values().sum();
    let mut sorted: Vec<(String, u64)> = functions.into_iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let share = |count: u64| count as f64 / span.operations as f64;
    let mut text = format!(
        "{} instructions an operation, {:.0} in all\n",
        span.name,
        share(all)
    );
    for (name, count) in sorted.into_iter().take(LINES) {
        let percent = count as f64 * 100.0 / all as f64;
        text.push_str(&format!(
            "{:>10.1} {percent:>5.1} %  {name}\n",
            share(count)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_summed_by_function() {
        let span = Span {
            name: "sys.x".into(),
            operations: 10,
            kinds: Vec::new(),
            places: vec![(0x1000, 10), (0x1004, 20), (0xffff_ffff_8000_0000, 70)],
        };
        let kernel = Symbols::parse("ffffffff80000000 entry\n");
        let text = table(&span, &kernel, &Symbols::parse("1000 main\n"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "sys.x instructions an operation, 10 in all");
        assert!(lines[1].contains("7.0  70.0 %  entry"), "{text}");
        assert!(lines[2].contains("3.0  30.0 %  user: main"), "{text}");
    }
}
