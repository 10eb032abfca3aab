//! Measures system calls, here and on Linux: `sys.*` of SPECIFICATION.md.
//!
//! One file a subject: [`calls`] that return at once, [`pages`], [`threads`], [`processes`]. Everything is static
//! and single-threaded between measurements, and runs on one CPU.

#![expect(unsafe_code)]
// UNSAFETY: what is measured are system calls, and the library's checks around them would be measured, too.

mod calls;
mod pages;
mod processes;
mod threads;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result: io::Result<()> = calls::getppid()
        .and_then(|()| calls::eventfd())
        .and_then(|()| pages::page_fault())
        .and_then(|()| threads::thread())
        .and_then(|()| processes::pipe())
        .and_then(|()| processes::spawn());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_syscalls: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a call returned, or the error it left in `errno`.
fn checked(result: i64) -> io::Result<i64> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Whether a call moved as many bytes as it was to.
fn moved(result: isize, expected: usize) -> io::Result<()> {
    match checked(result as i64)? as usize {
        count if count == expected => Ok(()),
        count => Err(io::Error::other(format!(
            "{count} bytes were moved instead of {expected}"
        ))),
    }
}
