//! Address space identifiers of one CPU: [`AsidPool`]. They are handed out in
//! rising order; when none is left, all translations are flushed and a new
//! generation starts. A vCPU that must forget its translations, or comes from
//! another CPU, just takes a fresh one. APM volume 2, 15.16.

/// The identifiers that one CPU has left.
#[derive(Clone, Copy, Debug)]
pub struct AsidPool {
    generation: u64,
    next: u32,
    count: u32,
}

/// An identifier and the generation in which it is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asid {
    /// The identifier; never 0, which is the host's.
    pub number: u32,
    /// Valid while the pool is at this generation; 0 is never valid.
    pub generation: u64,
}

/// An identifier with what its first use must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The identifier.
    pub asid: Asid,
    /// All translations of this CPU must be flushed at the next entry.
    pub flush_all: bool,
}

impl AsidPool {
    /// A pool of `count` identifiers, 0 included. The first use flushes:
    /// nothing is known of what the firmware left.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        AsidPool {
            generation: 0,
            next: count,
            count,
        }
    }

    /// The current generation.
    #[inline]
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// A fresh identifier.
    pub fn take(&mut self) -> Taken {
        let flush_all = self.next >= self.count;
        if flush_all {
            self.generation += 1;
            self.next = 1;
        }
        let number = self.next;
        self.next += 1;
        Taken {
            asid: Asid {
                number,
                generation: self.generation,
            },
            flush_all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_identifier_twice_in_a_generation() {
        let mut pool = AsidPool::new(16);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let taken = pool.take();
            assert!((1..16).contains(&taken.asid.number));
            assert!(seen.insert((taken.asid.generation, taken.asid.number)));
            assert_eq!(taken.flush_all, taken.asid.number == 1);
            assert_eq!(taken.asid.generation, pool.generation());
        }
    }

    #[test]
    fn the_default_is_never_valid() {
        let mut pool = AsidPool::new(2);
        assert!(pool.take().flush_all);
        assert_ne!(Asid::default().generation, pool.generation());
        assert!(pool.take().flush_all);
    }
}
