//! Prints how long booting took and how much memory is free.
//!
//! It runs as the first command of the host's shell, or with the word `guest` in a guest. Under icount the
//! time-stamp counter ticks once an instruction and starts at 0 when the machine, or the VM, is powered on (AMD64
//! Architecture Programmer's Manual, volume 2, 13.2.4 and 15.30.5). With `fill` it fills a guest's memory first, so
//! that all of it is there.

#![expect(unsafe_code)]
// UNSAFETY: sysinfo and memory that is touched page by page.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

const PAGE: usize = 4096;
/// What a guest is left to live on while its memory is filled.
const RESERVE: u64 = 6 << 20;

fn main() -> io::Result<()> {
    let ticks = stopwatch::ticks();
    match std::env::args().nth(1).as_deref() {
        None => {
            println!("BENCH boot.host {:.4} 1e9 instructions", ticks as f64 / 1e9);
            println!("BENCH memory.free {:.3} MiB", mebibytes(free()?));
        }
        Some("guest") => {
            stopwatch::end_span("boot.guest");
            println!("BENCH guest.ticks {ticks} ticks");
        }
        Some("fill") => {
            fill(free()?.saturating_sub(RESERVE))?;
            println!("BENCH guest.untouched {:.3} MiB", mebibytes(free()?));
        }
        Some(word) => {
            return Err(io::Error::other(format!(
                "{word} is unknown; there are guest and fill"
            )));
        }
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Free memory in bytes, as the kernel says.
fn free() -> io::Result<u64> {
    let mut info = MaybeUninit::uninit();
    // SAFETY: room for what the call writes.
    if unsafe { libc::sysinfo(info.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and fills all of it.
    let info = unsafe { info.assume_init() };
    Ok(info.freeram * u64::from(info.mem_unit))
}

/// Touches so much fresh memory, and keeps it.
fn fill(bytes: u64) -> io::Result<()> {
    let length = bytes as usize / PAGE * PAGE;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, wherever there is room.
    let memory = unsafe { libc::mmap(ptr::null_mut(), length, rights, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for page in (0..length).step_by(PAGE) {
        // SAFETY: inside the mapping, which nobody else knows.
        unsafe { memory.cast::<u8>().add(page).write_volatile(1) };
    }
    Ok(())
}
