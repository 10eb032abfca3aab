//! One measuring run: a machine that counts instructions, and the lines it prints.
//!
//! Main type: [`Measurement`]. TCG with icount: virtual time is instructions executed, so that the load of the
//! machine that emulates does not matter.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use qemu::{Accelerator, Machine, Verdict};

use super::ByName;
use super::op_counter::{self, Span};
use super::programs::{Place, Program};
use crate::boot_archive;
use crate::build::Built;
use crate::house::House;
use crate::peer::Peer;
use crate::setup::debian_kernel::DebianKernel;
use crate::worlds::{Kind, World};

/// The unit of executions by kind.
pub const PER_OPERATION: &str = "per operation";
/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(900);
/// What the issue measures with.
pub const MEMORY_MIB: u32 = 2048;
/// What a line of ours begins with: a figure, or the name of a span for the plugin.
const MARK: &str = "BENCH ";
const SPAN: &str = "SPAN ";
/// What the guest has whose boot is measured.
const GUEST_MEMORY_MIB: u32 = 128;
/// Where a bzImage that a boot loader has loaded begins.
const KERNEL_ENTRY: &str = "0x100000";

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

/// Runs a program on Alster.
pub fn on_alster(
    house: &House,
    built: &Built,
    program: &Program,
    plugin: &Path,
) -> Result<Measured> {
    let name = format!("alster-{}", program.name);
    let machine = alster_machine(house, built, program)?;
    counted(house, machine, &name, plugin, program.counting)
}

/// Runs it on Linux.
pub fn on_peer(
    house: &House,
    peer: &Peer,
    program: &Program,
    words: &str,
    plugin: &Path,
) -> Result<Measured> {
    let machine = peer
        .machine(&format!("{words} -- /bench/{}", program.name))
        .memory_mib(MEMORY_MIB);
    counted(
        house,
        machine,
        &format!("linux-{words}-{}", program.name),
        plugin,
        program.counting,
    )
}

/// Boots a guest's kernel without any hypervisor, and counts what its firmware executes before.
pub fn on_bare_machine(
    house: &House,
    kernel: &DebianKernel,
    initrd: &Path,
    plugin: &Path,
) -> Result<Measured> {
    let machine = Machine::new(&kernel.image)
        .initrd(initrd)
        .append("console=ttyS0 quiet panic=-1")
        .memory_mib(GUEST_MEMORY_MIB);
    let out = house.built("bench/bare.counts");
    let machine = counting(machine).log(&house.built("bench/bare.log"));
    let options = format!(",all=on,entry={KERNEL_ENTRY}");
    let machine = op_counter::load(machine, plugin, &out, &options);
    measured(&out, &run(&machine, "the bare guest")?)
}

/// Runs a program on Alster once more and counts every instruction by its address.
pub fn places(house: &House, built: &Built, program: &Program) -> Result<Vec<Span>> {
    let plugin = op_counter::build(house)?;
    let out = house.built("bench/profile.counts");
    let machine = counting(alster_machine(house, built, program)?);
    let machine = op_counter::load(machine, &plugin, &out, ",places=on");
    let serial = run(&machine, program.name)?;
    op_counter::read(&out, span_names(&serial))
}

fn alster_machine(house: &House, built: &Built, program: &Program) -> Result<Machine> {
    let path = format!("/bench/{}", program.name);
    let (archive, words) = match program.place {
        Place::First => (built.archive.clone(), format!("verdict init={path}")),
        Place::Shell => {
            let is_shipped =
                |world: &&World| world.kind == Kind::Product || world.name == program.name;
            let worlds: Vec<&World> = built.worlds.iter().filter(is_shipped).collect();
            let archive =
                boot_archive::build_lean(house, "boot-shell.cpio", &worlds, &built.kernel.symbols)?;
            (archive, format!("verdict init=/bin/sh -- -c {path}"))
        }
    };
    let machine = Machine::new(&built.kernel.elf)
        .initrd(&archive)
        .append(&words);
    Ok(machine.memory_mib(MEMORY_MIB))
}

/// Runs it with the plugin.
fn counted(
    house: &House,
    machine: Machine,
    name: &str,
    plugin: &Path,
    options: &str,
) -> Result<Measured> {
    let out = house.built(&format!("bench/{name}.counts"));
    let machine = counting(machine).log(&house.built(&format!("bench/{name}.log")));
    let machine = op_counter::load(machine, plugin, &out, options);
    measured(&out, &run(&machine, name)?)
}

/// What was printed and, for the figures of VMs, executions by kind.
fn measured(counts: &Path, serial: &str) -> Result<Measured> {
    let mut measured = parse(serial);
    for span in op_counter::read(counts, span_names(serial))? {
        if !span.name.starts_with("sys.") {
            measured.extend(by_kind(&span));
        }
    }
    Ok(measured)
}

fn by_kind(span: &Span) -> impl Iterator<Item = (String, Measurement)> {
    span.kinds.iter().map(|(kind, count)| {
        let share = *count as f64 / span.operations as f64;
        // A round's own entry and exit, and a tick, are no part of an operation.
        let rounded = (share * 10.0).round() / 10.0;
        (
            format!("{}.{kind}", span.name),
            Measurement::new(rounded, PER_OPERATION),
        )
    })
}

fn counting(machine: Machine) -> Machine {
    machine.cpus(1).accelerator(Accelerator::Icount)
}

/// Runs a machine to its end; returns what it printed.
fn run(machine: &Machine, what: &str) -> Result<String> {
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
    Ok(ending.serial)
}

/// Reads the lines `SPAN name operations`, in order.
fn span_names(serial: &str) -> Vec<(String, u64)> {
    let read = |line: &str| {
        let (name, operations) = line.trim().strip_prefix(SPAN)?.split_once(' ')?;
        Some((name.to_owned(), operations.parse().ok()?))
    };
    serial.lines().filter_map(read).collect()
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
    fn spans_are_named_in_order() {
        let text = "SPAN exit.out 1000\r\nBENCH exit.out 9 instructions\nSPAN exit.in 7\n";
        let expected = [("exit.out".to_owned(), 1000), ("exit.in".to_owned(), 7)];
        assert_eq!(span_names(text), expected);
    }

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
