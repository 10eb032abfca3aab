//! The pool: collects entropy until there is enough of it for a key.
//!
//! Data goes in 32 bytes at a time: the state is replaced by its own key
//! stream, the data added to it. Who does not know the state learns and
//! decides nothing by choosing data.

use crate::chacha::{Key, block, key_of};

/// Credited bits that make a seed.
pub const SEED_BITS: u32 = 256;
const PART: usize = 32;

/// Where entropy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The RDSEED instruction: full entropy (Intel SDM volume 1, 7.3.17).
    Rdseed,
    /// The RDRAND instruction: a generator reseeded at most every 511 blocks
    /// of 128 bits; credited with one bit a byte.
    Rdrand,
    /// A virtio entropy device, which the machine's owner provides: full entropy.
    VirtioRng,
    /// Data that differs between machines or boots but is no secret, such as
    /// serial numbers and the time of day: no credit.
    Identity,
}

impl Source {
    /// The credit for a number of bytes, in bits.
    #[must_use]
    pub const fn credit(self, bytes: usize) -> u32 {
        let bytes = if bytes > PART {
            PART as u32
        } else {
            bytes as u32
        };
        match self {
            Self::Rdseed | Self::VirtioRng => bytes * 8,
            Self::Rdrand => bytes,
            Self::Identity => 0,
        }
    }
}

/// A pool of entropy.
pub struct Pool {
    state: Key,
    /// Bits credited since the last extraction.
    credit: u32,
    absorbed: u32,
}

impl Pool {
    /// A pool that knows nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: [0; 8],
            credit: 0,
            absorbed: 0,
        }
    }

    /// Bits credited since the last extraction.
    #[must_use]
    pub const fn credit(&self) -> u32 {
        self.credit
    }

    /// Adds data and credit. The pool holds 256 bits, so one call is credited
    /// with no more.
    pub fn absorb(&mut self, data: &[u8], credit: u32) {
        for part in data.chunks(PART) {
            let mut padded = [0; PART];
            padded[..part.len()].copy_from_slice(part);
            self.step(part.len() as u32);
            for (word, data) in self.state.iter_mut().zip(key_of(&padded)) {
                *word ^= data;
            }
        }
        self.credit = self.credit.saturating_add(credit.min(SEED_BITS));
    }

    /// A key made of all that was absorbed. The pool keeps nothing that tells
    /// it, and its credit is spent.
    pub fn extract(&mut self) -> Key {
        self.step(u32::MAX);
        let mut key = [0; PART];
        key.copy_from_slice(&block(&self.state, [0, 0, 0, 1])[..PART]);
        self.step(u32::MAX);
        self.credit = 0;
        key_of(&key)
    }

    /// Replaces the state by a part of its key stream.
    fn step(&mut self, length: u32) {
        let mut next = [0; PART];
        next.copy_from_slice(&block(&self.state, [length, self.absorbed, 0, 0])[..PART]);
        self.state = key_of(&next);
        self.absorbed = self.absorbed.wrapping_add(1);
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Pool {
    /// Tells nothing of the state.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool")
            .field("credit", &self.credit)
            .finish_non_exhaustive()
    }
}
