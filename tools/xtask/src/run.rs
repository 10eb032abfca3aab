//! `cargo xtask run`: Alster in QEMU, with a demo VM.
//!
//! With a terminal, the person is put through to it; with `--headless` the machine must give its verdict by
//! itself, and that is our exit status.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use qemu::{Accelerator, Machine, Verdict};

use crate::arguments::RunOptions;
use crate::build::{self, Built};
use crate::command::step;
use crate::house::House;
use crate::peer;
use crate::setup::packages;

/// How long an unattended run may take.
const HEADLESS_LIMIT: Duration = Duration::from_secs(600);

/// Builds and boots.
pub fn run(house: &House, options: &RunOptions) -> Result<ExitCode> {
    packages::qemu()?;
    if options.kvm {
        refuse_kvm_without_nesting()?;
    }
    let built = build::all(house, build::Purpose::Run)?;
    let machine = machine(house, &built, options)?;
    if options.headless {
        headless(house, &built, machine)
    } else {
        attended(&machine, options.gdb)
    }
}

fn machine(house: &House, built: &Built, options: &RunOptions) -> Result<Machine> {
    let more = &options.append;
    let machine = if options.peer {
        let init = if options.headless { "--headless" } else { "" };
        peer::build(house, &built.worlds)?.machine(&format!("{more} -- /bin/init {init}"))
    } else {
        let init = if options.headless {
            "verdict -- --headless"
        } else {
            ""
        };
        let append = format!("{more} {init}");
        Machine::new(&built.kernel.elf)
            .initrd(&built.archive)
            .append(append.trim())
    };
    let accelerator = if options.kvm {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    };
    let mut machine = machine
        .cpus(options.cpus)
        .memory_mib(options.memory_mib)
        .accelerator(accelerator);
    if options.kvm {
        machine = machine.cpu("host");
    }
    for disk in &options.disks {
        let file = std::path::absolute(disk)?;
        if !file.exists() {
            bail!("There is no disk image {disk}");
        }
        machine = machine.disk(&file);
    }
    if options.gdb {
        machine = machine.arguments(["-gdb", "tcp:127.0.0.1:1234", "-S"]);
        eprintln!(
            "==> The machine waits for: gdb {} -ex 'target remote :1234'",
            built.kernel.elf.display()
        );
    }
    Ok(machine)
}

fn attended(machine: &Machine, gdb: bool) -> Result<ExitCode> {
    step("Booting Alster (Ctrl-] leaves a VM's console; Ctrl-A X switches the machine off)");
    match machine.hand_over()? {
        Verdict::Success | Verdict::PowerOff => Ok(ExitCode::SUCCESS),
        verdict => {
            let advice = if gdb {
                ""
            } else {
                " (--gdb waits for a debugger)"
            };
            bail!("The machine ended with: {verdict}{advice}")
        }
    }
}

fn headless(house: &House, built: &Built, machine: Machine) -> Result<ExitCode> {
    step("Booting Alster, unattended");
    let machine = machine.echo().log(&house.built("headless.log"));
    let mut running = machine.start()?;
    let Some(ending) = running.wait(HEADLESS_LIMIT)? else {
        let report = running.hang_report(&built.kernel.symbols);
        bail!("No verdict after {} s\n{report}", HEADLESS_LIMIT.as_secs());
    };
    eprint!("{}", ending.complaints);
    eprintln!(
        "==> Verdict after {:.1} s: {}",
        ending.elapsed.as_secs_f32(),
        ending.verdict
    );
    Ok(if ending.verdict == Verdict::Success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// KVM is of use here only if its guests may have VMs of their own. A device node says nothing about that; what
/// KVM offers to guests does, and QEMU asks it.
fn refuse_kvm_without_nesting() -> Result<()> {
    let offers = qemu::kvm_offers_svm();
    match offers {
        Ok(true) => Ok(()),
        Ok(false) => bail!(
            "--accel kvm: this machine's KVM does not offer SVM to its guests (KVM_GET_SUPPORTED_CPUID, leaf \
             8000_0001h, ECX bit 2), so that Alster could run no VMs on it. Use --accel tcg, the default."
        ),
        Err(error) => bail!("--accel kvm: KVM cannot be used on this machine. {error:#}"),
    }
}
