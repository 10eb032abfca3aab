//! [`Flush`]: translations to forget, and the frames that may go only then.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use super::Frame;
use super::page_table::Table;

thread_local! {
    static FINISHED: Cell<u64> = const { Cell::new(0) };
}

/// Collects what page-table changes leave behind. Finishing it (or dropping it)
/// invalidates the ranges on every CPU and then drops the frames.
#[derive(Default)]
#[must_use = "frames stay until the flush is finished"]
pub struct Flush {
    ranges: Vec<(Arc<Table>, Range<u64>)>,
    frames: Vec<Frame>,
}

impl Flush {
    /// Nothing to forget.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.frames.is_empty()
    }

    /// Invalidates, then drops the frames.
    pub fn finish(self) {}

    pub(super) fn range(&mut self, table: &Arc<Table>, range: Range<u64>) {
        self.ranges.push((table.clone(), range));
    }

    pub(super) fn frame(&mut self, frame: Frame) {
        self.frames.push(frame);
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if !self.ranges.is_empty() {
            FINISHED.set(FINISHED.get() + 1);
        }
        for (table, range) in self.ranges.drain(..) {
            table.forget(range);
        }
    }
}

/// Flushes with something in them that this thread has finished.
#[must_use]
pub fn flushes_finished() -> u64 {
    FINISHED.get()
}
