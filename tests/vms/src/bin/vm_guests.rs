//! Debian in three VMs at once, with 1, 2 and 4 vCPUs: each comes to its shell,
//! runs something on every vCPU, reboots, comes to its shell again and is
//! switched off by its power button.
//!
//! On a host with 1, 2 or 4 CPUs; there are always more vCPUs than CPUs.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use std::thread;
use vms::Config;

const VCPUS: [u32; 3] = [1, 2, 4];

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm_guests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    let lives = VCPUS.map(|cpus| thread::spawn(move || life(cpus)));
    for (cpus, life) in VCPUS.into_iter().zip(lives) {
        let Ok(lived) = life.join() else {
            bail!("the thread of the VM with {cpus} vCPUs panicked");
        };
        lived.with_context(|| format!("the VM with {cpus} vCPUs"))?;
    }
    println!("vm_guests: passed");
    Ok(())
}

fn life(cpus: u32) -> Result<()> {
    let mut vm = Config::new(&format!("guest{cpus}")).cpus(cpus).start()?;
    vm.wait_for_shell()?;
    vm.command("echo cpus-$(nproc)-", &format!("cpus-{cpus}-"))?;
    for cpu in 0..cpus {
        let mask = 1 << cpu;
        let work = "i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; echo did-$i";
        vm.enter(&format!("taskset {mask} sh -c '{work}' &"))?;
    }
    for _ in 0..cpus {
        vm.expect("did-2000")?;
    }
    vm.command("wait; echo all-$((6 * 7))", "all-42")?;
    vm.enter("reboot -f")?;
    vm.wait_for_shell()?;
    vm.command("echo again-$(nproc)-", &format!("again-{cpus}-"))?;
    vm.press_power_button()?;
    vm.wait(0)
}
