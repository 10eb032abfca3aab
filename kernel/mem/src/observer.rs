//! [`Invalidate`]: hearing of pages before they go.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;

use hal::mem::OutOfMemory;

use crate::space::State;

/// Someone who has given out frames of a space elsewhere (a virtual machine's
/// nested table).
pub trait Invalidate: Send + Sync {
    /// Pages in `range` are about to be freed, replaced or made read-only. When
    /// this returns, nobody reaches the old frames through the observer.
    ///
    /// The space's lock is held: do not call into the space, and do not block.
    /// A frame that was asked for before this call may no longer be entered
    /// after it: count the calls, and ask again when the count has moved.
    fn invalidate(&self, range: Range<u64>);
}

/// Observers of one space.
#[derive(Default)]
pub(crate) struct Observers(Vec<Weak<dyn Invalidate>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: Weak<dyn Invalidate>) -> Result<(), OutOfMemory> {
        self.0.retain(|known| known.strong_count() > 0);
        self.0.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.0.push(observer);
        Ok(())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells all of them. The references taken meanwhile go to `garbage`, for
    /// one may be the last.
    #[cold]
    fn tell(&self, range: &Range<u64>, garbage: &mut Vec<Arc<dyn Invalidate>>) {
        let _ = garbage.try_reserve(self.0.len());
        for observer in self.0.iter().filter_map(Weak::upgrade) {
            observer.invalidate(range.clone());
            if garbage.len() < garbage.capacity() {
                garbage.push(observer);
            }
        }
    }
}

impl State {
    /// Tells the observers that pages in `range` are about to change.
    #[inline]
    pub(crate) fn invalidate(&mut self, range: &Range<u64>) {
        if !self.observers.is_empty() {
            self.observers.tell(range, &mut self.garbage.observers);
        }
    }
}
