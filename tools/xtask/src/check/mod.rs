//! `cargo xtask check`: every gate that needs no emulated machine.
//!
//! A gate is a file here; each looks at the whole repository and lists what is wrong. All gates run, and all that
//! failed are named at the end. `source_text` is what the gates that read Rust share.

mod budgets;
mod compiler_gates;
mod conventions;
mod layers;
mod licences;
mod source_text;
mod unsafe_rules;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use crate::house::{House, Package};

/// What every gate looks at.
pub struct Subject<'a> {
    /// The repository.
    pub house: &'a House,
    /// Its packages.
    pub packages: &'a [Package],
    /// What `cargo metadata` says, dependencies included.
    pub metadata: &'a Value,
}

/// What a gate found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What makes it fail.
    pub errors: Vec<String>,
    /// What is only said.
    pub warnings: Vec<String>,
}

type Gate = fn(&Subject) -> Result<Findings>;

/// The gates, quick ones first.
const GATES: [(&str, Gate); 8] = [
    ("conventions", conventions::check),
    ("layers", layers::check),
    ("licences", licences::check),
    ("unsafe rules", unsafe_rules::check),
    ("budgets", budgets::check),
    ("formatting", compiler_gates::formatting),
    ("lints", compiler_gates::lints),
    ("lints on the bare machine", compiler_gates::bare_lints),
];

/// Runs all gates.
pub fn check(house: &House) -> Result<ExitCode> {
    let packages = house.packages()?;
    let metadata = house.metadata(false)?;
    let subject = Subject {
        house,
        packages: &packages,
        metadata: &metadata,
    };
    let mut failed = Vec::new();
    for (name, gate) in GATES {
        let start = Instant::now();
        let findings = gate(&subject).unwrap_or_else(|error| Findings {
            errors: vec![format!("{error:#}")],
            warnings: Vec::new(),
        });
        let verdict = if findings.errors.is_empty() {
            "ok"
        } else {
            "FAILED"
        };
        println!(
            "check {name} ... {verdict} ({:.1} s)",
            start.elapsed().as_secs_f32()
        );
        findings
            .warnings
            .iter()
            .for_each(|text| println!("    warning: {text}"));
        findings
            .errors
            .iter()
            .for_each(|text| println!("    {text}"));
        if !findings.errors.is_empty() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("check: all {} gates passed", GATES.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "check: {} of {} gates failed: {}",
        failed.len(),
        GATES.len(),
        failed.join(", ")
    );
    Ok(ExitCode::FAILURE)
}
