//! Running one QEMU test.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use qemu::{Ending, Machine, Running};

use super::table::{Host, Line, MachineTest};
use crate::build::Built;
use crate::house::House;
use crate::peer::Peer;

/// How many of the machine's last lines a report shows.
const TAIL: usize = 40;

/// How a test went.
#[derive(Debug)]
pub struct Outcome {
    /// How long it took.
    pub elapsed: Duration,
    /// What is wrong, if anything.
    pub problem: Option<String>,
}

impl Outcome {
    /// Whether it passed.
    pub fn is_pass(&self) -> bool {
        self.problem.is_none()
    }

    /// What is printed about it: one line, and all there is to say about a failure.
    pub fn report(&self, name: &str) -> String {
        let seconds = self.elapsed.as_secs_f32();
        match &self.problem {
            None => format!("test {name} ... ok ({seconds:.1} s)"),
            Some(problem) => {
                let indented = problem.trim_end().replace('\n', "\n    ");
                format!("test {name} ... FAILED ({seconds:.1} s)\n    {indented}")
            }
        }
    }
}

/// Runs a test to its end, or to its limit.
pub fn run(house: &House, built: &Built, peer: Option<&Peer>, test: &MachineTest) -> Outcome {
    let start = Instant::now();
    let machine = machine(house, built, peer, test);
    let problem = match machine.and_then(|machine| attempt(&machine, built, test)) {
        Ok(problem) => problem,
        Err(error) => Some(format!("{error:#}")),
    };
    Outcome {
        elapsed: start.elapsed(),
        problem,
    }
}

/// What is wrong, if anything; an error if the test could not be made.
fn attempt(machine: &Machine, built: &Built, test: &MachineTest) -> Result<Option<String>> {
    let deadline = Instant::now() + test.limit;
    let mut running = machine.start()?;
    if let Err(problem) = hold_talk(&mut running, &test.talk, deadline) {
        return explain(running, built, test, problem, deadline).map(Some);
    }
    match running.wait(left(deadline))? {
        Some(ending) if ending.verdict == test.verdict => Ok(None),
        Some(ending) => Ok(Some(wrong_end(built, test, &ending))),
        None => {
            let problem = format!("It did not end within {} s.", test.limit.as_secs());
            Ok(Some(format!(
                "{problem}\n{}",
                running.hang_report(&built.kernel.symbols)
            )))
        }
    }
}

fn machine(
    house: &House,
    built: &Built,
    peer: Option<&Peer>,
    test: &MachineTest,
) -> Result<Machine> {
    let folder = house.built("tests");
    let machine = match (test.host, peer) {
        (Host::Linux, Some(peer)) => peer.machine(&test.append),
        (Host::Linux, None) => bail!("The peer was not built"),
        (Host::Alster, _) => Machine::new(&built.kernel.elf)
            .initrd(&built.archive)
            .append(&test.append),
    };
    let mut machine = machine
        .cpu(test.cpu)
        .cpus(test.cpus)
        .memory_mib(test.memory_mib)
        .log(&folder.join(format!("{}.log", test.name)))
        .arguments(&test.arguments);
    if test.on_virtio {
        machine = machine.virtio_console();
    }
    if let Some(size) = test.disk_mib {
        fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}", folder.display()))?;
        let image = folder.join(format!("{}.img", test.name));
        let file = File::create(&image);
        file.and_then(|file| file.set_len(u64::from(size) << 20))
            .with_context(|| format!("Cannot make the disk {}", image.display()))?;
        machine = machine.disk(&image);
    }
    Ok(machine)
}

fn hold_talk(running: &mut Running, talk: &[Line], deadline: Instant) -> Result<(), String> {
    for line in talk {
        match line {
            Line::Expect(text) => {
                let expected = running.serial().expect(text, left(deadline));
                expected.map(|_| ()).map_err(|miss| format!("{miss}."))?;
            }
            Line::Send(text) => running
                .serial()
                .send(text)
                .map_err(|error| format!("{error:#}"))?,
        }
    }
    Ok(())
}

/// Completes a report about a talk that went wrong: how the machine ended, or where it is.
fn explain(
    mut running: Running,
    built: &Built,
    test: &MachineTest,
    problem: String,
    deadline: Instant,
) -> Result<String> {
    let is_over = left(deadline).is_zero();
    let ending = if is_over {
        None
    } else {
        running.wait(left(deadline))?
    };
    Ok(match ending {
        Some(ending) => format!("{problem}\n{}", wrong_end(built, test, &ending)),
        None => format!("{problem}\n{}", running.hang_report(&built.kernel.symbols)),
    })
}

fn wrong_end(built: &Built, test: &MachineTest, ending: &Ending) -> String {
    let lines: Vec<&str> = ending.serial.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    let tail = built.kernel.symbols.annotate(&tail);
    let (ended, wanted) = (ending.verdict, test.verdict);
    format!(
        "It ended with: {ended}; expected: {wanted}.\n{}{tail}",
        ending.complaints
    )
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
