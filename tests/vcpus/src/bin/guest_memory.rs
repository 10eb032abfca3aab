//! A guest's memory follows the monitor's address space: while four vCPUs
//! write all the time, pages are given back, protected, unmapped, copied by
//! fork, and whole monitors are killed. Nobody may write into a freed frame,
//! what the guest writes must be what the monitor reads, and a vCPU that lost
//! a page must be told so.
//!
//! Neighbours: `vcpus::Writers`, the guest; `vcpus::Watched`, frames that
//! nobody may write. Wants four CPUs; `guest_memory ROUNDS` for a campaign.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use vcpus::{Watched, Writers, raw};

/// Frames that are watched after each step.
const WATCHED: usize = 24;
/// How the program starts itself as a monitor that will be killed.
const VICTIM: &str = "victim";

fn main() -> ExitCode {
    let word = env::args().nth(1);
    let done = match word.as_deref() {
        Some(VICTIM) => victim(),
        Some(rounds) => rounds.parse().context("the number of rounds").and_then(all),
        None => all(60),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest_memory: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all(rounds: u32) -> Result<()> {
    let writers = Writers::start()?;
    let mut chance = Chance(u64::from(rounds));
    discard(&writers, rounds, &mut chance).context("MADV_DONTNEED")?;
    println!("ok: MADV_DONTNEED");
    protect(&writers, rounds, &mut chance).context("mprotect")?;
    println!("ok: mprotect");
    unmap(&writers, rounds, &mut chance).context("munmap")?;
    println!("ok: munmap");
    for round in 0..rounds.div_ceil(4) {
        fork(&writers, round).context("fork")?;
    }
    println!("ok: fork");
    ensure!(
        writers.faults() == 2 * u64::from(rounds),
        "vCPUs were told EFAULT {} times, not {}",
        writers.faults(),
        2 * rounds
    );
    writers.stop()?;
    for round in 0..rounds.div_ceil(4) {
        kill(round).context("kill")?;
    }
    println!("ok: kill");
    println!("guest_memory: passed");
    Ok(())
}

/// Numbers that differ, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

fn discard(writers: &Writers, rounds: u32, chance: &mut Chance) -> Result<()> {
    for round in 0..rounds {
        let page = chance.below(writers.pages.count());
        // A word that the guest does not write tells that the page is a new one.
        writers.pages.write(page, 9, 0xFFFF_0000);
        writers.pages.discard(page)?;
        let watched = Watched::fill(WATCHED, round)?;
        ensure!(
            writers.pages.read(page, 9) == 0,
            "page {page} was not given back"
        );
        let now = writers.pages.read(page, 0);
        writers.wait_for_write(page, now)?;
        writers.let_others_write(page)?;
        watched.verify()?;
    }
    Ok(())
}

fn protect(writers: &Writers, rounds: u32, chance: &mut Chance) -> Result<()> {
    for _ in 0..rounds {
        let page = chance.below(writers.pages.count());
        writers.pages.protect(page, false)?;
        let value = writers.pages.read(page, 0);
        writers.wait_for_fault(page)?;
        writers.let_others_write(page)?;
        let found = writers.pages.read(page, 0);
        ensure!(
            found == value,
            "page {page} is read-only and went from {value:#x} to {found:#x}"
        );
        writers.pages.protect(page, true)?;
        writers.go_on(page);
        writers.wait_for_write(page, value)?;
    }
    Ok(())
}

fn unmap(writers: &Writers, rounds: u32, chance: &mut Chance) -> Result<()> {
    for round in 0..rounds {
        let page = chance.below(writers.pages.count());
        writers.pages.unmap(page)?;
        let watched = Watched::fill(WATCHED, round)?;
        writers.wait_for_fault(page)?;
        writers.let_others_write(page)?;
        watched.verify()?;
        writers.pages.map_again(page)?;
        ensure!(writers.pages.read(page, 0) == 0, "page {page} is not empty");
        writers.go_on(page);
        writers.wait_for_write(page, 0)?;
        watched.verify()?;
    }
    Ok(())
}

/// The child must see one moment of the guest's memory for ever, the monitor
/// what the guest writes.
fn fork(writers: &Writers, round: u32) -> Result<()> {
    let (mut ours, mut its) = UnixStream::pair()?;
    let pages = &writers.pages;
    let child = raw::fork(|| {
        let mut seen = [0; 64];
        let each = |seen: &mut [u32; 64]| {
            let words = seen.iter_mut().enumerate().take(pages.count());
            words.for_each(|(page, value)| *value = pages.read(page, 0));
        };
        each(&mut seen);
        let told = its.write_all(b"r").is_ok() && its.read_exact(&mut [0]).is_ok();
        let mut later = [0; 64];
        each(&mut later);
        i32::from(!told || seen != later)
    })?;
    let watched = Watched::fill(WATCHED, round)?;
    ours.read_exact(&mut [0])?;
    for page in 0..pages.count() {
        writers.wait_for_write(page, pages.read(page, 0))?;
    }
    ours.write_all(b"g")?;
    let status = waitpid(Pid::from_raw(child), None)?;
    ensure!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "the child saw memory change that is its own: {status:?}"
    );
    watched.verify()
}

/// A monitor that runs vCPUs until it is killed.
fn victim() -> Result<()> {
    let writers = Writers::start()?;
    println!("running");
    std::io::stdout().flush()?;
    // Nobody writes there: until the end.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    writers.stop()
}

fn kill(round: u32) -> Result<()> {
    let program = env::args_os().next().context("no program name")?;
    let mut command = Command::new(program);
    command
        .arg(VICTIM)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut monitor = command.spawn()?;
    let mut running = [0; 8];
    let output = monitor.stdout.as_mut().context("no output")?;
    output.read_exact(&mut running)?;
    monitor.kill()?;
    // Its frames may be ours as soon as they are free.
    let early = Watched::fill(WATCHED, round)?;
    let status = monitor.wait()?;
    ensure!(
        status.signal() == Some(libc::SIGKILL),
        "the monitor ended by itself: {status}"
    );
    let late = Watched::fill(8 * WATCHED, !round)?;
    for _ in 0..3 {
        early.verify()?;
        late.verify()?;
        std::thread::yield_now();
    }
    Ok(())
}
