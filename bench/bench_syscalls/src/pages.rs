//! [`page_fault`]: the first touch of anonymous memory.

use std::io;
use std::ptr;

use stopwatch::{measure, timed};

use crate::checked;

const PAGE: usize = 4096;

/// Touches fresh pages one after the other, each of which faults once.
pub fn page_fault() -> io::Result<()> {
    const PAGES: usize = 256;
    measure("sys.page_fault", PAGES as u64, || {
        let length = PAGES * PAGE;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever there is room.
        let memory = unsafe { libc::mmap(ptr::null_mut(), length, rights, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Large pages would make most of the faults disappear. A kernel that has none may refuse.
        // SAFETY: the mapping above.
        unsafe { libc::madvise(memory, length, libc::MADV_NOHUGEPAGE) };
        let taken = timed(|| {
            for page in 0..PAGES {
                // SAFETY: inside the mapping, which nobody else knows.
                unsafe { memory.cast::<u8>().add(page * PAGE).write_volatile(1) };
            }
            Ok(())
        });
        // SAFETY: the mapping above, which nothing points into any more.
        checked(i64::from(unsafe { libc::munmap(memory, length) }))?;
        taken
    })
}
