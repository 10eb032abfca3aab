//! [`Widened`]: 64 bits of a counter that has fewer.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::CounterWidth;

/// A counter's last value with all of its turns. It must be read at least once
/// per turn; any CPU may.
#[derive(Debug)]
pub struct Widened {
    last: AtomicU64,
    width: CounterWidth,
}

impl Widened {
    /// A counter of `width` that is at `count` now.
    #[must_use]
    pub const fn new(width: CounterWidth, count: u64) -> Self {
        Self {
            last: AtomicU64::new(count),
            width,
        }
    }

    /// Reads the counter by `read`. No reader gets less than one whose read
    /// had ended before.
    #[inline]
    pub fn read(&self, read: impl FnOnce() -> u64) -> u64 {
        // In this order: a value older than `last` would look like a turn.
        let last = self.last.load(Ordering::Acquire);
        let now = last.wrapping_add(self.width.elapsed(last, read()));
        self.last.fetch_max(now, Ordering::AcqRel).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    #[test]
    fn readers_agree_across_turns() {
        let counter = AtomicU64::new(0xfff0);
        let wide = Widened::new(CounterWidth::bits(16), 0xfff0);
        let seen = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let before = seen.load(Ordering::Acquire);
                        let now = wide.read(|| counter.fetch_add(3, Ordering::AcqRel) & 0xffff);
                        assert!(now >= before, "{now} after {before}");
                        seen.fetch_max(now, Ordering::AcqRel);
                    }
                });
            }
        });
        let total = counter.into_inner() - 3;
        assert_eq!(wide.last.into_inner(), total);
    }

    proptest! {
        #[test]
        fn every_step_below_a_turn_is_seen(
            bits in 8u32..64,
            start in any::<u32>(),
            steps in proptest::collection::vec(any::<u64>(), 1..20),
        ) {
            let mask = (1u64 << bits) - 1;
            let mut count = u64::from(start);
            let wide = Widened::new(CounterWidth::bits(bits), count);
            for step in steps {
                count = count.wrapping_add(step & mask >> 1);
                prop_assume!(count < 1 << 63);
                prop_assert_eq!(wide.read(|| count & mask), count);
            }
        }
    }
}
