//! [`thread`]: a thread's life, as the C library makes it.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use stopwatch::{measure, timed};

/// Creates a thread that ends at once, and joins it.
pub fn thread() -> io::Result<()> {
    const THREADS: u64 = 32;
    measure("sys.thread", THREADS, || {
        timed(|| {
            for _ in 0..THREADS {
                one()?;
            }
            Ok(())
        })
    })
}

fn one() -> io::Result<()> {
    let mut id = MaybeUninit::uninit();
    // SAFETY: room for the id; no attributes; a function that ignores its argument.
    match unsafe { libc::pthread_create(id.as_mut_ptr(), ptr::null(), nothing, ptr::null_mut()) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    // SAFETY: the thread was made above, and is joined once.
    match unsafe { libc::pthread_join(id.assume_init(), ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

extern "C" fn nothing(_argument: *mut c_void) -> *mut c_void {
    ptr::null_mut()
}
