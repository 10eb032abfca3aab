//! [`Queue`]: the threads that wait for one CPU, least weighted time first.

use crate::thread::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Threads by weighted running time, then by the order of their coming.
pub(crate) struct Queue {
    threads: BTreeMap<(u64, u64), Arc<Thread>>,
    order: u64,
    floor: u64,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self {
            threads: BTreeMap::new(),
            order: 0,
            floor: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    /// The weighted time that newcomers start from.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn push(&mut self, thread: Arc<Thread>) {
        self.order += 1;
        self.threads.insert(
            (thread.virtual_ns.load(Ordering::Relaxed), self.order),
            thread,
        );
    }

    /// The first thread that may run on one of `cpus`.
    pub(crate) fn pop(&mut self, cpus: u64) -> Option<Arc<Thread>> {
        let key = *self
            .threads
            .iter()
            .find(|(_, thread)| thread.affinity() & cpus != 0)?
            .0;
        self.floor = self.floor.max(key.0);
        self.threads.remove(&key)
    }
}
