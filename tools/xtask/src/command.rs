//! Running other programs, and saying what is being done.
//!
//! Every program starts from [`program`], with an environment that does not depend on the cargo that started us.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Says what is being done.
pub fn step(what: &str) {
    eprintln!("==> {what}");
}

/// A program to run. What our own cargo told us about this very package is not passed on: it would select
/// compilers and libraries for programs that have their own.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        let selects = matches!(
            &*text,
            "CARGO" | "LD_LIBRARY_PATH" | "RUSTUP_TOOLCHAIN" | "RUST_RECURSION_COUNT" | "RUSTFLAGS"
        );
        if is_ours || selects {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command that prints for itself; fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .with_context(|| format!("Cannot start {line}"))?;
    if !status.success() {
        bail!("This failed ({status}): {line}");
    }
    Ok(())
}

/// Runs a command without showing what it prints, unless it fails.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// Runs a command and returns what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("Cannot start {line}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "This failed ({}): {line}\n{}",
            output.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says what is being done, does it, and says how long it took.
pub fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    step(what);
    let start = Instant::now();
    let value = work()?;
    let seconds = start.elapsed().as_secs_f32();
    if seconds >= 2.0 {
        eprintln!("    done in {seconds:.0} s");
    }
    Ok(value)
}

/// Where a program lies, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    // Debian keeps some tools where a user's PATH does not look.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// All programs whose names begin with `prefix`.
pub fn find_all(prefix: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listings = std::env::split_paths(&path).filter_map(|folder| folder.read_dir().ok());
    let files = listings
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let named = |file: &PathBuf| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    files.filter(named).collect()
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// A command as a person would type it.
pub fn line(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
