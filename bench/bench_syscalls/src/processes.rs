//! Two processes: [`pipe`] sends a byte there and back, [`spawn`] runs a small program.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;

use stopwatch::{measure, timed};

use crate::{checked, moved};

/// The program that is run.
const PROGRAM: &std::ffi::CStr = c"/bench/spawned";

/// A byte to another process by one pipe and back by another: two switches.
pub fn pipe() -> io::Result<()> {
    const TRIPS: u64 = 200;
    let (to_child, to_parent) = (ends()?, ends()?);
    // SAFETY: this process has one thread, so the child may do what it likes.
    let child = checked(i64::from(unsafe { libc::fork() }))? as i32;
    if child == 0 {
        close(to_child[1]);
        while pass(to_child[0], to_parent[1]).is_ok() {}
        // SAFETY: ends the child without what the parent registered for its own end.
        unsafe { libc::_exit(0) };
    }
    measure("sys.pipe", TRIPS, || {
        timed(|| {
            for _ in 0..TRIPS {
                let mut byte = 7_u8;
                let address = ptr::from_mut(&mut byte).cast::<c_void>();
                // SAFETY: a byte that lives here.
                unsafe {
                    moved(libc::write(to_child[1], address, 1), 1)?;
                    moved(libc::read(to_parent[0], address, 1), 1)?;
                }
            }
            io::Result::Ok(())
        })
    })?;
    for fd in to_child.into_iter().chain(to_parent) {
        close(fd);
    }
    reap(child)
}

/// Reads a byte and writes it.
fn pass(from: c_int, to: c_int) -> io::Result<()> {
    let mut byte = 0_u8;
    let address = ptr::from_mut(&mut byte).cast::<c_void>();
    // SAFETY: a byte that lives here.
    unsafe {
        moved(libc::read(from, address, 1), 1)?;
        moved(libc::write(to, address, 1), 1)
    }
}

fn ends() -> io::Result<[c_int; 2]> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    checked(i64::from(unsafe { libc::pipe2(fds.as_mut_ptr(), 0) }))?;
    Ok(fds)
}

fn close(fd: c_int) {
    // SAFETY: every caller owns the descriptor.
    unsafe { libc::close(fd) };
}

/// Starts a small static program as `vfork` and `execve` do, and waits for its end.
pub fn spawn() -> io::Result<()> {
    const PROGRAMS: u64 = 8;
    let mut stack = vec![0_u64; 8192];
    measure("sys.spawn", PROGRAMS, || {
        timed(|| {
            for _ in 0..PROGRAMS {
                let top = stack.as_mut_ptr_range().end.cast();
                let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
                // SAFETY: a stack of its own, aligned to 16 bytes or not as `clone` corrects it; the parent waits
                // until the child has left this memory.
                let child = unsafe { libc::clone(become_program, top, flags, ptr::null_mut()) };
                reap(checked(i64::from(child))? as i32)?;
            }
            Ok(())
        })
    })
}

extern "C" fn become_program(_argument: *mut c_void) -> c_int {
    let arguments = [PROGRAM.as_ptr(), ptr::null()];
    let environment = [ptr::null()];
    // SAFETY: both lists end with null; nothing but these two calls is made in the parent's memory.
    unsafe {
        libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        libc::_exit(127)
    }
}

/// Waits for a child, which must have ended well.
fn reap(child: c_int) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: room for a status.
    checked(i64::from(unsafe {
        libc::waitpid(child, &raw mut status, 0)
    }))?;
    if status != 0 {
        return Err(io::Error::other(format!(
            "a child ended with status {status:#x}"
        )));
    }
    Ok(())
}
