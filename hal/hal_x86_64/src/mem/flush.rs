//! [`Flush`]: translations that other CPUs may still have, and the frames that
//! must not be reused before they are gone.
//!
//! There is one request at a time in the machine. Its sender waits until every
//! CPU of the mask has served it; who waits for the sender's lock serves too, so
//! no two senders wait for each other.

use super::Frame;
use super::page_table::Root;
use crate::cpu::{self, block, others_of, this_cpu};
use crate::{apic, irq, registers};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use sync::{SpinGuard, SpinLock};

/// Above this many pages, everything is flushed.
const SINGLE_PAGES: u64 = 32;
/// The value of `END` that asks to let go of the table.
const DETACH: u64 = u64::MAX;

static SENDER: SpinLock<()> = SpinLock::new(());
static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);
static PENDING: AtomicU64 = AtomicU64::new(0);

/// Collects what changed in one address space; finishing it (or dropping it)
/// makes every CPU forget, then frees the frames.
#[derive(Debug, Default)]
pub struct Flush {
    root: Option<Arc<Root>>,
    start: u64,
    end: u64,
    frames: Vec<Frame>,
}

impl Flush {
    /// Nothing to forget yet.
    pub const fn new() -> Self {
        Self {
            root: None,
            start: 0,
            end: 0,
            frames: Vec::new(),
        }
    }

    /// Notes that the page at `va` changed; `was_present` says whether a CPU can
    /// know of it.
    #[inline]
    pub(crate) fn note(&mut self, root: &Arc<Root>, va: u64, was_present: bool) {
        if !was_present {
            return;
        }
        match &self.root {
            None => {
                self.root = Some(root.clone());
                (self.start, self.end) = (va, va + 4096);
            }
            Some(known) => {
                if !Arc::ptr_eq(known, root) {
                    self.finish_in_place();
                    return self.note(root, va, was_present);
                }
                self.start = self.start.min(va);
                self.end = self.end.max(va + 4096);
            }
        }
    }

    /// Notes that the page at `va` is gone, and keeps its frame till the end.
    #[inline]
    pub(crate) fn retire(&mut self, root: &Arc<Root>, va: u64, frame: Frame, was_present: bool) {
        self.note(root, va, was_present);
        self.frames.push(frame);
    }

    /// Makes every CPU forget, then frees the frames.
    pub fn finish(mut self) {
        self.finish_in_place();
    }

    fn finish_in_place(&mut self) {
        if let Some(root) = self.root.take() {
            // The entries were changed before the mask is read: who is not in it
            // yet loads the table later, and walks what is there now.
            fence(Ordering::SeqCst);
            let mask = root.active.load(Ordering::Acquire);
            if mask & 1 << cpu::id() != 0 {
                forget(self.start, self.end);
            }
            if others_of(mask) != 0 {
                send(&root, self.start, self.end);
            }
        }
        self.frames.clear();
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.finish_in_place();
    }
}

/// Takes `root` off every CPU.
pub(crate) fn detach(root: &Root) {
    root.unload();
    if others_of(root.active.load(Ordering::SeqCst)) != 0 {
        send(root, 0, DETACH);
    }
}

/// Makes every CPU forget the kernel's own pages in `start..end`, which are gone.
pub(crate) fn forget_kernel(start: u64, end: u64) {
    fence(Ordering::SeqCst);
    forget(start, end);
    let all = u64::MAX >> (64 - cpu::count());
    let others = others_of(all);
    if others != 0 {
        let sender = SENDER.lock();
        request(&sender, others, core::ptr::null(), start, end);
    }
}

fn send(root: &Root, start: u64, end: u64) {
    let sender = SENDER.lock();
    let mask = others_of(root.active.load(Ordering::SeqCst));
    request(&sender, mask, root, start, end);
}

/// Has the CPUs of `mask` forget, where they have `root` loaded (null: anyway),
/// and waits until they have.
fn request(_sender: &SpinGuard<'_, ()>, mask: u64, root: *const Root, start: u64, end: u64) {
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
    ROOT.store(root as u64, Ordering::Relaxed);
    PENDING.store(mask, Ordering::Release);
    for cpu in (0..cpu::MAX_CPUS).filter(|cpu| mask & 1 << cpu != 0) {
        if let Some(block) = block(cpu) {
            apic::send_ipi(block.apic_id.load(Ordering::Relaxed), irq::FLUSH);
        }
    }
    while PENDING.load(Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
}

/// Serves the request that is pending for this CPU, if any.
#[inline]
pub(crate) fn serve() {
    if PENDING.load(Ordering::Acquire) != 0 {
        serve_pending();
    }
}

#[cold]
fn serve_pending() {
    let bit = 1 << cpu::id();
    if PENDING.load(Ordering::Acquire) & bit == 0 {
        return;
    }
    let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    let root = ROOT.load(Ordering::Relaxed) as *const Root;
    if root.is_null() {
        forget(start, end);
    } else if core::ptr::eq(this_cpu().memory.loaded.get(), root) {
        if end == DETACH {
            // SAFETY: the sender holds the root until all have answered.
            unsafe { (*root).unload() };
        } else {
            forget(start, end);
        }
    }
    PENDING.fetch_and(!bit, Ordering::AcqRel);
}

/// Forgets this CPU's translations of `start..end`.
fn forget(start: u64, end: u64) {
    if (end - start) / 4096 > SINGLE_PAGES {
        // SAFETY: reloads the table that is loaded.
        unsafe { registers::set_cr3(registers::cr3()) };
        return;
    }
    for page in (start..end).step_by(4096) {
        // SAFETY: forgetting a translation changes no mapping.
        unsafe { asm!("invlpg [{}]", in(reg) page, options(nostack, preserves_flags)) };
    }
}
