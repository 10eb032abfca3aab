//! The unsafe calls: mappings, memory slots, fork, the record of an exit.
#![expect(unsafe_code)]

use crate::PAGE;
use anyhow::{Context, Result, ensure};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{VcpuFd, VmFd};
use libc::{
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE, c_void, pid_t,
};
use std::io;
use std::ptr;

/// Private anonymous memory. Single pages can be taken away and put back;
/// whoever reads or writes one must know that it is there.
#[derive(Debug)]
pub struct Pages {
    start: *mut u8,
    count: usize,
}

// SAFETY: the memory is only reached by volatile accesses, from any thread.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

fn check(result: i32, what: &'static str) -> Result<()> {
    ensure!(result == 0, "{what}: {}", io::Error::last_os_error());
    Ok(())
}

impl Pages {
    /// Maps `count` pages.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(count: usize) -> Result<Pages> {
        let rights = PROT_READ | PROT_WRITE;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS;
        // SAFETY: a fresh mapping where the kernel likes.
        let start = unsafe { libc::mmap(ptr::null_mut(), count * PAGE, rights, flags, -1, 0) };
        ensure!(
            start != libc::MAP_FAILED,
            "mmap: {}",
            io::Error::last_os_error()
        );
        Ok(Pages {
            start: start.cast(),
            count,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    fn page(&self, index: usize) -> *mut c_void {
        assert!(index < self.count, "page {index} of {}", self.count);
        // SAFETY: inside the mapping.
        unsafe { self.start.add(index * PAGE) }.cast()
    }

    fn word(&self, page: usize, word: usize) -> *mut u32 {
        assert!(word < PAGE / 4, "word {word} of a page");
        // SAFETY: inside the page.
        unsafe { self.page(page).cast::<u32>().add(word) }
    }

    /// A word of a page.
    #[must_use]
    pub fn read(&self, page: usize, word: usize) -> u32 {
        // SAFETY: inside the mapping; guests write meanwhile, hence volatile.
        unsafe { self.word(page, word).read_volatile() }
    }

    /// Sets a word of a page.
    pub fn write(&self, page: usize, word: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { self.word(page, word).write_volatile(value) }
    }

    /// Copies bytes to the start of a page.
    pub fn load(&self, page: usize, bytes: &[u8]) {
        assert!(bytes.len() <= PAGE, "more than a page");
        // SAFETY: inside the page; no guest runs yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.page(page).cast(), bytes.len()) };
    }

    /// Gives a page's content back: madvise(MADV_DONTNEED).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn discard(&self, page: usize) -> Result<()> {
        // SAFETY: the page is ours and holds nothing that Rust knows of.
        let result = unsafe { libc::madvise(self.page(page), PAGE, MADV_DONTNEED) };
        check(result, "madvise")
    }

    /// Forbids or allows writing a page.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn protect(&self, page: usize, writable: bool) -> Result<()> {
        let rights = PROT_READ | if writable { PROT_WRITE } else { 0 };
        // SAFETY: as in `discard`.
        check(
            unsafe { libc::mprotect(self.page(page), PAGE, rights) },
            "mprotect",
        )
    }

    /// Takes a page away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unmap(&self, page: usize) -> Result<()> {
        // SAFETY: as in `discard`; until `map_again` nobody touches it.
        check(unsafe { libc::munmap(self.page(page), PAGE) }, "munmap")
    }

    /// Puts an empty page where one was taken away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map_again(&self, page: usize) -> Result<()> {
        let rights = PROT_READ | PROT_WRITE;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        let wanted = self.page(page);
        // SAFETY: replaces a page of our own mapping.
        let found = unsafe { libc::mmap(wanted, PAGE, rights, flags, -1, 0) };
        ensure!(
            found == wanted,
            "mmap of one page: {}",
            io::Error::last_os_error()
        );
        Ok(())
    }

    /// Makes pages a memory slot of a VM.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_to(&self, vm: &VmFd, slot: u32, guest: u64) -> Result<()> {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: guest,
            memory_size: (self.count * PAGE) as u64,
            userspace_addr: self.start as u64,
        };
        // SAFETY: guests may write there whenever they like: see `read`.
        unsafe { vm.set_user_memory_region(region) }.context("a memory slot")
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping; nobody has a reference into it.
        unsafe { libc::munmap(self.start.cast(), self.count * PAGE) };
    }
}

/// Runs `child` in a copy of this process, which ends with what it returns.
/// `child` may neither allocate nor take a lock: other threads may hold one.
///
/// # Errors
/// No process can be had.
pub fn fork(child: impl FnOnce() -> i32) -> Result<pid_t> {
    // SAFETY: the caller's promise above.
    match unsafe { libc::fork() } {
        0 => {
            let status = child();
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) }
        }
        -1 => Err(io::Error::last_os_error()).context("fork"),
        pid => Ok(pid),
    }
}

/// The record of KVM_EXIT_INTERNAL_ERROR: the suberror, and the words that count.
pub fn internal_error(vcpu: &mut VcpuFd) -> (u32, Vec<u64>) {
    let run = vcpu.get_kvm_run();
    // SAFETY: all of the union is plain numbers.
    let record = unsafe { run.__bindgen_anon_1.internal };
    let count = (record.ndata as usize).min(record.data.len());
    (record.suberror, record.data[..count].to_vec())
}
