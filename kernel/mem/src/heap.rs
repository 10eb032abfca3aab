//! brk(2).

use hal::mem::Prot;

use crate::area::{Area, AreaFlags, Backing};
use crate::space::State;
use crate::{PAGE, Space, USER_END};

impl Space {
    /// Moves the heap's end to `end` and returns where it is: at `end`, or,
    /// where that is not possible, where it was.
    pub fn brk(&self, end: u64) -> u64 {
        let mut state = self.lock();
        if end >= state.layout.heap && end <= USER_END && state.move_heap_end(end).is_some() {
            state.heap_end = end;
        }
        state.heap_end
    }
}

impl State {
    fn move_heap_end(&mut self, end: u64) -> Option<()> {
        let old = self.heap_end.checked_next_multiple_of(PAGE)?;
        let new = end.checked_next_multiple_of(PAGE)?;
        if new == old {
            return Some(());
        }
        if new < old {
            return self.unmap(&(new..old)).ok();
        }
        if end - self.layout.heap > self.limits.data || !self.areas.is_free(&(old..new + PAGE)) {
            return None;
        }
        self.check_limit(new - old).ok()?;
        self.areas.prepare_insertion().ok()?;
        self.areas.insert(Area {
            start: old,
            end: new,
            prot: Prot::READ | Prot::WRITE,
            flags: AreaFlags::HEAP | AreaFlags::MAY_WRITE,
            backing: Backing::Anonymous,
        });
        self.mapped += new - old;
        Some(())
    }
}
