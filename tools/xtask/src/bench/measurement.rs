//! One measuring run: a machine that counts instructions, and the lines it prints.
//!
//! Main type: [`Measurement`]. TCG with icount: virtual time is instructions executed, so that the load of the
//! machine that emulates does not matter.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use qemu::{Accelerator, Machine, Verdict};

use super::ByName;
use crate::boot_archive::GUEST_CLOCK;
use crate::build::Built;
use crate::house::House;
use crate::peer::Peer;
use crate::setup::debian_kernel::DebianKernel;

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(900);
/// What the issue measures with.
const MEMORY_MIB: u32 = 2048;
/// What a line of ours begins with.
const MARK: &str = "BENCH ";

/// A measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// What a run printed.
pub type Measured = ByName<Measurement>;

impl Measurement {
    /// A value with its unit.
    pub fn new(value: f64, unit: &str) -> Measurement {
        Measurement {
            value,
            unit: unit.to_owned(),
        }
    }
}

/// The machine that runs a program on Alster.
pub fn on_alster(house: &House, built: &Built, program: &str) -> Machine {
    // The clock is the first command of the host's shell.
    let words = if program == GUEST_CLOCK {
        format!("verdict init=/bin/sh -- -c /bench/{program}")
    } else {
        format!("verdict init=/bench/{program}")
    };
    let machine = Machine::new(&built.kernel.elf)
        .initrd(&built.archive)
        .append(&words);
    counting(machine).log(&house.built(&format!("bench/alster-{program}.log")))
}

/// The machine that runs it on Linux.
pub fn on_peer(house: &House, peer: &Peer, program: &str, words: &str) -> Machine {
    let machine = peer.machine(&format!("{words} -- /bench/{program}"));
    counting(machine).log(&house.built(&format!("bench/linux-{words}-{program}.log")))
}

/// The machine that boots a guest's kernel without any hypervisor.
pub fn on_bare_machine(house: &House, kernel: &DebianKernel, initrd: &Path) -> Machine {
    let machine = Machine::new(&kernel.image)
        .initrd(initrd)
        .append("console=ttyS0 panic=-1");
    counting(machine).log(&house.built("bench/bare.log"))
}

fn counting(machine: Machine) -> Machine {
    machine
        .cpus(1)
        .memory_mib(MEMORY_MIB)
        .accelerator(Accelerator::Icount)
}

/// Runs a machine to its end and reads what it measured.
pub fn run(machine: &Machine, what: &str) -> Result<Measured> {
    let mut running = machine.start()?;
    let Some(ending) = running.wait(LIMIT)? else {
        bail!(
            "{what} did not end within {} s.\n{}",
            LIMIT.as_secs(),
            running.serial().last_lines(20)
        );
    };
    if !matches!(ending.verdict, Verdict::Success | Verdict::PowerOff) {
        // One program that fails costs its own figures, which are then reported as missed.
        eprintln!("    {what} ended with: {}", ending.verdict);
    }
    Ok(parse(&ending.serial))
}

/// Reads the lines `BENCH name value unit`.
fn parse(serial: &str) -> Measured {
    let read = |line: &str| {
        let mut words = line.trim().strip_prefix(MARK)?.split_whitespace();
        let name = words.next()?.to_owned();
        let value = words.next()?.parse().ok()?;
        let unit = words.collect::<Vec<_>>().join(" ");
        Some((name, Measurement { value, unit }))
    };
    serial.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_passed_over() {
        let text = "boot\r\nBENCH exit.cpuid 498 instructions\r\nBENCH broken x\nBENCH mem.host 31.5 MiB\n";
        let measured = parse(text);
        assert_eq!(measured.len(), 2);
        assert_eq!(
            measured["exit.cpuid"],
            Measurement::new(498.0, "instructions")
        );
        assert_eq!(measured["mem.host"], Measurement::new(31.5, "MiB"));
    }
}
