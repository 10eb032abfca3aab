//! Calls that return at once: [`getppid`], which does nothing else, and [`eventfd`], which goes through a file.

use std::io;
use std::ptr;

use stopwatch::{measure, timed};

use crate::{checked, moved};

/// The cheapest call there is.
pub fn getppid() -> io::Result<()> {
    const CALLS: u64 = 1000;
    measure("sys.getppid", CALLS, || {
        timed(|| {
            for _ in 0..CALLS {
                // SAFETY: it takes nothing and always succeeds.
                unsafe { libc::getppid() };
            }
            Ok(())
        })
    })
}

/// A write that makes it readable and the read that drains it.
pub fn eventfd() -> io::Result<()> {
    const PAIRS: u64 = 500;
    // SAFETY: no pointers.
    let fd = checked(i64::from(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }))? as i32;
    measure("sys.eventfd", PAIRS, || {
        timed(|| {
            for _ in 0..PAIRS {
                let mut value = 1_u64;
                let address = ptr::from_mut(&mut value).cast();
                // SAFETY: eight bytes that live here, written from and read to.
                unsafe {
                    moved(libc::write(fd, address, 8), 8)?;
                    moved(libc::read(fd, address, 8), 8)?;
                }
            }
            Ok(())
        })
    })
}
