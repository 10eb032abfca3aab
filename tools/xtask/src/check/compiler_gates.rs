//! The gates that cargo's own tools are: rustfmt and clippy.

use std::process::Command;

use anyhow::Result;

use super::{Findings, Subject};
use crate::command::{line, output, program};
use crate::house::Package;
use crate::kernel_image::KERNEL;
use crate::setup::toolchain;

/// `cargo fmt --check`.
pub fn formatting(subject: &Subject) -> Result<Findings> {
    let mut command = program("cargo");
    command
        .args(["fmt", "--all", "--check", "--", "-l"])
        .current_dir(&subject.house.root);
    needs(&["fmt", "--version"], "rustfmt")?;
    Ok(judge(&mut command, "run `cargo fmt --all`"))
}

/// Clippy over everything that builds for this machine.
pub fn lints(subject: &Subject) -> Result<Findings> {
    needs(&["clippy", "--version"], "clippy")?;
    let mut command = program("cargo");
    command.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
    for package in subject
        .packages
        .iter()
        .filter(|package| package.is_bare_metal)
    {
        command.args(["--exclude", &package.name]);
    }
    command
        .args(["--", "-D", "warnings"])
        .current_dir(&subject.house.root);
    Ok(judge(&mut command, "clippy is not content"))
}

/// Clippy over the kernel and all below it, for the machine it runs on.
pub fn bare_lints(subject: &Subject) -> Result<Findings> {
    let is_bare = |package: &&Package| package.is_bare_metal || package.name == KERNEL;
    let bare: Vec<_> = subject.packages.iter().filter(is_bare).collect();
    if bare.is_empty() {
        return Ok(Findings::default());
    }
    let toolchain = toolchain::provide(subject.house)?;
    if !toolchain.has_clippy() {
        let text = format!("not run: there is no clippy for {}", toolchain.describe());
        return Ok(Findings {
            warnings: vec![text],
            ..Findings::default()
        });
    }
    let mut command = toolchain.cargo("clippy");
    // The kernel's own profile: without std there is no unwinding, which the others ask for.
    command.args(["--quiet", "--profile", "kernel", "--target-dir"]);
    command
        .arg(subject.house.built("kernel-lints"))
        .current_dir(&subject.house.root);
    command.args(bare.iter().flat_map(|package| ["-p", &package.name]));
    command.args(["--", "-D", "warnings"]);
    Ok(judge(&mut command, "clippy is not content"))
}

fn needs(words: &[&str], component: &str) -> Result<()> {
    let asked = output(program("cargo").args(words));
    asked.map(|_| ()).map_err(|error| {
        error.context(format!(
            "{component} is missing; run `rustup component add {component}`"
        ))
    })
}

/// What the tool prints goes to the person as it is.
fn judge(command: &mut Command, advice: &str) -> Findings {
    let mut findings = Findings::default();
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(_) => findings.errors.push(format!("{advice}: {}", line(command))),
        Err(error) => findings
            .errors
            .push(format!("Cannot start {}: {error}", line(command))),
    }
    findings
}
