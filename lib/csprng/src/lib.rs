//! Random numbers that nobody can predict: one generator for a kernel, and
//! as many descendants of it as it likes.
//!
//! The main type is [`Csprng`]. Sources of entropy feed a [`pool`]; each 256
//! credited bits from it go to the [`Generator`] as one, so that an observer
//! of the output cannot guess them in small portions. Nothing is handed out
//! as random before the first 256.
//!
//! The generator is ChaCha20 (RFC 8439) with fast key erasure: each batch of
//! output replaces the key that made it, and output is erased as it is used,
//! so that whoever reads the memory later learns nothing about the past.
//!
//! ChaCha20 is written out here, in integers: the crates that offer it choose
//! vector instructions at run time, which a kernel that leaves these registers
//! to programs must never execute. Tests compare it with one of them.
#![no_std]
#![forbid(unsafe_code)]

mod chacha;
mod generator;
mod jitter;
pub mod pool;
#[cfg(test)]
mod tests;

pub use generator::Generator;
pub use jitter::Jitter;
pub use pool::{Pool, SEED_BITS, Source};

/// The generator has not been given enough entropy yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSeeded;

/// A generator with its pool.
#[derive(Debug)]
pub struct Csprng {
    pool: Pool,
    generator: Generator,
    jitter: Jitter,
    seedings: u64,
}

impl Csprng {
    /// A generator that is not seeded.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pool: Pool::new(),
            generator: Generator::from_key([0; 8]),
            jitter: Jitter::new(),
            seedings: 0,
        }
    }

    /// Whether random numbers can be had.
    #[must_use]
    pub const fn is_seeded(&self) -> bool {
        self.seedings > 0
    }

    /// How often the generator has been seeded. A descendant that was made at
    /// a lower count is worth replacing.
    #[must_use]
    pub const fn seedings(&self) -> u64 {
        self.seedings
    }

    /// Bits credited towards the next seeding.
    #[must_use]
    pub const fn credit(&self) -> u32 {
        self.pool.credit()
    }

    /// Adds what a source gave, credited as the source deserves.
    pub fn mix(&mut self, source: Source, data: &[u8]) {
        self.mix_credited(data, source.credit(data.len()));
    }

    /// Adds data with a credit in bits that the caller answers for.
    pub fn mix_credited(&mut self, data: &[u8], credit: u32) {
        self.pool.absorb(data, credit);
        if self.pool.credit() >= SEED_BITS {
            let key = self.pool.extract();
            self.generator.rekey(&key);
            self.seedings += 1;
        }
    }

    /// Adds the time of an event that nobody can foretell to the last digit,
    /// such as an interrupt, in the finest unit there is.
    pub fn mix_time(&mut self, time: u64) {
        let credit = self.jitter.credit(time);
        self.mix_credited(&time.to_le_bytes(), credit);
    }

    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// If the generator is not seeded; `out` is unchanged then.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), NotSeeded> {
        if !self.is_seeded() {
            return Err(NotSeeded);
        }
        self.generator.fill(out);
        Ok(())
    }

    /// Fills `out` with what there is, guessable until the generator is
    /// seeded. For what must not wait and needs no secret. Before seeding it
    /// costs the credit that had been collected.
    pub fn fill_insecure(&mut self, out: &mut [u8]) {
        if !self.is_seeded() {
            let key = self.pool.extract();
            self.generator.rekey(&key);
        }
        self.generator.fill(out);
    }

    /// Eight random bytes as a number.
    ///
    /// # Errors
    /// If the generator is not seeded.
    pub fn next_u64(&mut self) -> Result<u64, NotSeeded> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A generator of its own, for a CPU say, that needs no lock shared with
    /// others.
    ///
    /// # Errors
    /// If this one is not seeded.
    pub fn descendant(&mut self) -> Result<Generator, NotSeeded> {
        let mut bytes = [0; 32];
        self.fill(&mut bytes)?;
        Ok(Generator::from_key(chacha::key_of(&bytes)))
    }
}

impl Default for Csprng {
    fn default() -> Self {
        Self::new()
    }
}
