//! [`InterruptTable`]: which handler belongs to which vector.

use alloc::sync::Arc;

use sync::Once;

use crate::InterruptHandler;

/// Handlers by vector. Looking one up takes no lock.
pub struct InterruptTable {
    entries: [Once<Entry>; 256],
}

struct Entry {
    handler: Arc<dyn InterruptHandler>,
    argument: usize,
}

impl InterruptTable {
    /// A table without handlers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const { Once::new() }; 256],
        }
    }

    /// Registers the handler of `vector`, which stays; whether it was free.
    pub fn register(
        &self,
        vector: u8,
        handler: Arc<dyn InterruptHandler>,
        argument: usize,
    ) -> bool {
        self.entries[usize::from(vector)]
            .set(Entry { handler, argument })
            .is_ok()
    }

    /// Calls the handler of `vector`; whether there is one.
    pub fn dispatch(&self, vector: u8) -> bool {
        match self.entries[usize::from(vector)].get() {
            Some(entry) => {
                entry.handler.interrupt(entry.argument);
                true
            }
            None => false,
        }
    }
}

impl Default for InterruptTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Sum(AtomicUsize);

    impl InterruptHandler for Sum {
        fn interrupt(&self, argument: usize) {
            self.0.fetch_add(argument, Ordering::Relaxed);
        }
    }

    #[test]
    fn calls_the_one_handler_of_a_vector() {
        let (table, sum) = (InterruptTable::new(), Arc::new(Sum::default()));
        assert!(table.register(0x41, sum.clone(), 5));
        assert!(table.register(0x42, sum.clone(), 70));
        assert!(!table.register(0x42, sum.clone(), 900));
        assert!(table.dispatch(0x41) && table.dispatch(0x42) && !table.dispatch(0x43));
        assert_eq!(sum.0.load(Ordering::Relaxed), 75);
    }
}
