//! `cargo xtask test`: every test, on this machine first, then in QEMU.
//!
//! Host tests are cargo's, run by nextest. QEMU tests are the rows of `table`, and one row for each test program
//! that has none; `machine_test` runs one, two run at a time. The last line printed counts the QEMU tests.

mod machine_test;
mod table;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};

use crate::arguments::TestOptions;
use crate::build;
use crate::command::{line, program, timed};
use crate::house::{House, Package};
use crate::peer;
use crate::setup::packages;
use crate::worlds::Kind;
use machine_test::Outcome;
use table::{Host, MachineTest};

/// How many machines run at once.
const AT_ONCE: usize = 2;

/// Runs the tests that were asked for.
pub fn test(house: &House, options: &TestOptions) -> Result<ExitCode> {
    let all = house.packages()?;
    let is_host_good = !options.on_host || host_tests(house, &all)?;
    if !options.in_qemu {
        return Ok(if is_host_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let (passed, failed) = machine_tests(house, options).unwrap_or_else(|error| {
        // What could not be built or started is a failure of every test.
        eprintln!("xtask: {error:#}");
        (
            0,
            chosen(options, &[])
                .into_iter()
                .map(|test| test.name)
                .collect(),
        )
    });
    if !is_host_good {
        println!("host tests failed: see nextest's summary above");
    }
    failed
        .iter()
        .for_each(|name| println!("failed in QEMU: {name}"));
    println!("{passed} passed, {} failed", failed.len());
    let is_good = is_host_good && failed.is_empty();
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds and runs the QEMU tests: how many passed, and the names of those that failed.
fn machine_tests(house: &House, options: &TestOptions) -> Result<(usize, Vec<String>)> {
    packages::qemu()?;
    let built = build::all(house, build::Purpose::Test)?;
    let tests = chosen(options, &built.programs(Kind::Test));
    let on_linux = tests.iter().any(|test| test.host == Host::Linux);
    let peer = if on_linux {
        Some(peer::build(house, &built.worlds)?)
    } else {
        None
    };
    let failed = timed(&format!("Running {} tests in QEMU", tests.len()), || {
        Ok(run_all(&tests, |test| {
            machine_test::run(house, &built, peer.as_ref(), test)
        }))
    })?;
    Ok((tests.len() - failed.len(), failed))
}

/// The rows that were asked for.
fn chosen(options: &TestOptions, programs: &[String]) -> Vec<MachineTest> {
    let rows = if options.on_peer {
        table::rows_on_linux(programs)
    } else {
        table::rows(programs)
    };
    let is_wanted = |test: &MachineTest| is_chosen(&test.name, &options.names);
    rows.into_iter().filter(is_wanted).collect()
}

fn is_chosen(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()))
}

/// Runs everything that builds for this machine. Whether all passed.
fn host_tests(house: &House, all: &[Package]) -> Result<bool> {
    let mut command = match packages::nextest(house) {
        Ok(nextest) => {
            let mut command = program(nextest);
            command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
            command.args([
                "--no-tests=pass",
                "--status-level=fail",
                "--final-status-level=fail",
            ]);
            command
        }
        Err(error) => {
            eprintln!("    cargo-nextest cannot be had, so cargo runs them: {error:#}");
            let mut command = program("cargo");
            command.args(["test", "--workspace", "--no-fail-fast"]);
            command
        }
    };
    for package in all.iter().filter(|package| package.is_bare_metal) {
        command.args(["--exclude", &package.name]);
    }
    timed("Running the tests on this machine", || {
        let status = command.current_dir(&house.root).status();
        let status = status.with_context(|| format!("Cannot start {}", line(&command)))?;
        Ok(status.success())
    })
}

/// Runs all tests, some at once, and says how each went. Returns the names of those that failed.
fn run_all(tests: &[MachineTest], run: impl Fn(&MachineTest) -> Outcome + Sync) -> Vec<String> {
    let queue = Mutex::new(tests.iter());
    let failed = Mutex::new(Vec::new());
    let next = || queue.lock().expect("invariant: no worker panics").next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(test) = next() {
                    let outcome = run(test);
                    let mut failed = failed.lock().expect("invariant: no worker panics");
                    // Printed under the lock: a report stays in one piece.
                    println!("{}", outcome.report(&test.name));
                    if !outcome.is_pass() {
                        failed.push(test.name.clone());
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("invariant: no worker panics");
    failed.sort();
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn every_test_runs_once_and_failures_are_named() {
        let tests: Vec<_> = (0..7).map(|i| MachineTest::new(&format!("t{i}"))).collect();
        let runs = AtomicUsize::new(0);
        let failed = run_all(&tests, |test| {
            runs.fetch_add(1, Ordering::Relaxed);
            let problem = (test.name == "t3" || test.name == "t1").then(|| "no".to_owned());
            Outcome {
                elapsed: Duration::ZERO,
                problem,
            }
        });
        assert_eq!(runs.into_inner(), 7);
        assert_eq!(failed, ["t1", "t3"]);
    }

    #[test]
    fn names_choose_by_part() {
        assert!(is_chosen("boot_2", &[]));
        assert!(is_chosen("boot_2", &["oot".into()]));
        assert!(!is_chosen("boot_2", &["shell".into(), "4".into()]));
    }
}
