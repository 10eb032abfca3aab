//! Boots a guest with `vmx`, here and on Linux with KVM, and passes on what it measures of itself.
//!
//! The guest's process 1 is a script around `bench_boot`: it prints the time, fills its memory and says how much of
//! it it has not touched, then powers off. `mem.vm` is what is missing on the host then, without what the guest has
//! touched: the monitor, its threads, the kernel's share, page tables.

#![expect(unsafe_code)]
// UNSAFETY: sysinfo.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::mem::MaybeUninit;
use std::process::{Command, ExitCode, Stdio};

const MONITOR: &str = "/bin/vmx";
const FILE: &str = "/tmp/bench.toml";
const MEMORY_MIB: f64 = 128.0;
const CONFIGURATION: &str = "\
kernel = \"/vm/vmlinuz\"
initrd = \"/vm/bench_initrd\"
memory = \"128 MiB\"
cmdline = \"console=ttyS0 quiet panic=-1\"
on_reboot = \"stop\"
";
/// The line that says that the guest's memory is full.
const IS_FULL: &str = "BENCH guest.untouched ";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench_guest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<bool> {
    fs::write(FILE, CONFIGURATION)?;
    let free_before = free_mib()?;
    let mut command = Command::new(MONITOR);
    // A pipe that stays open: an end of input would be the operator's.
    command
        .arg(FILE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // The guest ends it.
    stopwatch::begin_span();
    let mut monitor = command.spawn()?;
    if let Some(output) = monitor.stdout.take() {
        pass_on(output, free_before)?;
    }
    let status = monitor.wait()?;
    println!("{MONITOR} ended with {status}");
    Ok(status.success())
}

/// Prints what the guest prints, and the host's memory when the guest's is full.
fn pass_on(output: impl Read, free_before: f64) -> io::Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{}", line.trim_end());
        let untouched = line
            .trim()
            .strip_prefix(IS_FULL)
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        if let Some(untouched) = untouched {
            let taken = free_before - free_mib()?;
            println!("BENCH mem.vm {:.3} MiB", taken - (MEMORY_MIB - untouched));
        }
    }
    Ok(())
}

fn free_mib() -> io::Result<f64> {
    let mut info = MaybeUninit::uninit();
    // SAFETY: room for what the call writes.
    if unsafe { libc::sysinfo(info.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and fills all of it.
    let info = unsafe { info.assume_init() };
    Ok((info.freeram * u64::from(info.mem_unit)) as f64 / f64::from(1 << 20))
}
