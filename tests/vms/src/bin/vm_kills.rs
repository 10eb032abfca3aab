//! VMs whose monitors are killed at random points, again and again: afterwards
//! the host has the memory and the processes that it had before.
//!
//! `vm_kills COUNT SEED` for a campaign.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use nix::sys::sysinfo::sysinfo;
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use vms::{Chance, Config};

/// Before the first measurement, so that what is kept for reuse is there.
const WARM_UP: u64 = 10;
/// Bytes that the host may have less afterwards: caches, not a page a VM.
const SLACK: u64 = 384 << 10;
/// What is freed behind the back of whoever waits for a process's end gets so
/// many looks, each after a pause.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm_kills: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    let mut words = env::args().skip(1);
    let mut number = |or: u64| words.next().map_or(Ok(or), |word| word.parse());
    let count = number(200).context("the count")?;
    let seed = number(1).context("the seed")?;
    let mut chance = Chance::new(seed);
    for _ in 0..WARM_UP {
        life(&mut chance)?;
    }
    let (free, processes) = at_rest(0, u16::MAX)?;
    println!("{free} bytes free, {processes} processes before {count} VMs, seed {seed}");
    for round in 1..=count {
        life(&mut chance).with_context(|| format!("VM {round}"))?;
        if round % 50 == 0 {
            let system = sysinfo()?;
            println!("{round} VMs: {} bytes free", system.ram_unused());
        }
    }
    let (later, left) = at_rest(free - SLACK, processes)?;
    println!("{later} bytes free, {left} processes after {count} VMs");
    ensure!(
        later + SLACK >= free,
        "{count} killed VMs left {} bytes behind",
        free - later
    );
    ensure!(left <= processes, "{left} processes, {processes} before");
    println!("vm_kills: passed");
    Ok(())
}

/// One VM, killed between its start and some seconds of its boot. Times are
/// spread over magnitudes: as many hit the first millisecond as the last second.
fn life(chance: &mut Chance) -> Result<()> {
    let vm = Config::new("killed")
        .cpus(1 + chance.below(4) as u32)
        .start()?;
    let magnitude = 1 << chance.below(16);
    let micros = 64 * (magnitude + chance.below(magnitude));
    thread::sleep(Duration::from_micros(micros));
    vm.kill().map(drop)
}

/// Free bytes and processes, when they are what they should be or stay what they are.
fn at_rest(free: u64, processes: u16) -> Result<(u64, u16)> {
    let mut looks = 0;
    loop {
        let system = sysinfo()?;
        let found = (system.ram_unused(), system.process_count());
        if looks >= LOOKS || looks > 0 && found.0 >= free && found.1 <= processes {
            return Ok(found);
        }
        looks += 1;
        thread::sleep(PAUSE);
    }
}
