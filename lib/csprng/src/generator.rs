//! The generator: batches of key stream, the first part of each the next key.

use crate::chacha::{BLOCK, Key, block, key_of};

/// Blocks of a batch.
const BLOCKS: usize = 4;
const BATCH: usize = BLOCKS * BLOCK;
const KEY: usize = 32;

/// A seeded generator. Its output is as good as the key it was made from.
#[derive(Clone)]
pub struct Generator {
    key: Key,
    /// Output not yet used is at the end; all before it is zero.
    batch: [u8; BATCH],
    unused: usize,
}

impl Generator {
    pub(crate) const fn from_key(key: Key) -> Self {
        Self {
            key,
            batch: [0; BATCH],
            unused: 0,
        }
    }

    /// Mixes a key into the current one and drops the output made before. Who
    /// knows only one of the two does not know the result.
    pub(crate) fn rekey(&mut self, key: &Key) {
        self.refill();
        for (mine, theirs) in self.key.iter_mut().zip(key) {
            *mine ^= theirs;
        }
        self.batch.fill(0);
        self.unused = 0;
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut rest = out;
        while !rest.is_empty() {
            if self.unused == 0 {
                self.refill();
            }
            let count = rest.len().min(self.unused);
            let (now, later) = rest.split_at_mut(count);
            let start = BATCH - self.unused;
            let ready = &mut self.batch[start..start + count];
            now.copy_from_slice(ready);
            ready.fill(0);
            self.unused -= count;
            rest = later;
        }
    }

    /// Eight random bytes as a number.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// What was used and what was not.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        self.batch.split_at(BATCH - self.unused)
    }

    fn refill(&mut self) {
        for (counter, part) in self.batch.chunks_exact_mut(BLOCK).enumerate() {
            part.copy_from_slice(&block(&self.key, [counter as u32, 0, 0, 0]));
        }
        let mut next = [0; KEY];
        next.copy_from_slice(&self.batch[..KEY]);
        self.batch[..KEY].fill(0);
        self.key = key_of(&next);
        self.unused = BATCH - KEY;
    }
}

impl core::fmt::Debug for Generator {
    /// Tells nothing of the state.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Generator")
    }
}
