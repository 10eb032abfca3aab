//! Numbers that differ, the same in every run: [`Chance`].

/// A linear congruential generator.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same `seed` gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) % end
    }
}
