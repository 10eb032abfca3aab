//! Sets of CPUs, as affinity masks and as summaries of who is idle.

/// A set of CPUs 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self(0);
    /// Every CPU.
    pub const ALL: Self = Self(u64::MAX);
    /// The most CPUs.
    pub const CAPACITY: usize = 64;

    /// CPUs 0 to `count` - 1.
    #[must_use]
    pub const fn first(count: usize) -> Self {
        if count >= Self::CAPACITY {
            Self::ALL
        } else {
            Self((1 << count) - 1)
        }
    }

    /// Whether `cpu` is in the set; false above 63.
    #[must_use]
    pub const fn contains(self, cpu: usize) -> bool {
        cpu < Self::CAPACITY && self.0 & (1 << cpu) != 0
    }

    /// Adds a CPU; above 63 nothing happens.
    pub const fn insert(&mut self, cpu: usize) {
        if cpu < Self::CAPACITY {
            self.0 |= 1 << cpu;
        }
    }

    /// Removes a CPU.
    pub const fn remove(&mut self, cpu: usize) {
        if cpu < Self::CAPACITY {
            self.0 &= !(1 << cpu);
        }
    }

    /// CPUs in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first member at or after `cpu`, going around.
    #[must_use]
    pub const fn next_from(self, cpu: usize) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let shift = cpu as u32 % 64;
        let ahead = self.0.rotate_right(shift).trailing_zeros();
        Some(((ahead + shift) % 64) as usize)
    }

    /// The members, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.iter_from(0)
    }

    /// The members, ascending from `cpu` and going around.
    pub fn iter_from(mut self, cpu: usize) -> impl Iterator<Item = usize> {
        core::iter::from_fn(move || {
            let member = self.next_from(cpu)?;
            self.remove(member);
            Some(member)
        })
    }
}
