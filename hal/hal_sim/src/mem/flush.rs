//! [`Flush`]: translations to forget, and the frames that may go only then.

use std::cell::Cell;
use std::sync::Arc;

use super::page_table::Root;
use super::{Frame, PAGE_SIZE};

thread_local! {
    static FINISHED: Cell<u64> = const { Cell::new(0) };
}

/// Collects what page-table changes leave behind. Finishing it (or dropping it)
/// invalidates the ranges on every CPU and then drops the frames.
#[derive(Default)]
#[must_use = "frames stay until the flush is finished"]
pub struct Flush {
    pages: Vec<(Arc<Root>, u64)>,
    frames: Vec<Frame>,
}

impl Flush {
    /// Nothing to forget.
    pub const fn new() -> Self {
        Self {
            pages: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Invalidates, then drops the frames.
    pub fn finish(self) {}

    pub(super) fn note(&mut self, root: &Arc<Root>, va: u64) {
        self.pages.push((root.clone(), va));
    }

    pub(super) fn retire(&mut self, root: &Arc<Root>, va: u64, frame: Frame) {
        self.note(root, va);
        self.frames.push(frame);
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            FINISHED.set(FINISHED.get() + 1);
        }
        for (root, va) in self.pages.drain(..) {
            root.forget(va..va + PAGE_SIZE as u64);
        }
    }
}

/// Flushes with something in them that this thread has finished.
#[must_use]
pub fn flushes_finished() -> u64 {
    FINISHED.get()
}
