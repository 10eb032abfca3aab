//! [`PerCpu`]: one value per CPU, each on cache lines of its own.

/// The most CPUs one host can have.
pub const MAX_CPUS: usize = 64;

#[repr(align(64))]
struct Line<T>(T);

/// One `T` per CPU. Any CPU may read any entry; types with interior mutability
/// decide what sharing means.
pub struct PerCpu<T> {
    entries: [Line<T>; MAX_CPUS],
}

impl<T> PerCpu<T> {
    /// Builds every entry from its CPU's number.
    pub fn from_fn(mut build: impl FnMut(usize) -> T) -> Self {
        Self {
            entries: core::array::from_fn(|cpu| Line(build(cpu))),
        }
    }

    /// The entry of CPU `cpu`.
    #[inline]
    pub fn get(&self, cpu: usize) -> &T {
        &self.entries[cpu].0
    }

    /// All entries, in the order of their CPUs.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|line| &line.0)
    }
}

/// Builds a [`PerCpu`] in a constant, from an expression that is one.
#[macro_export]
macro_rules! per_cpu {
    ($init:expr) => {
        $crate::PerCpu::from_array([const { $init }; $crate::MAX_CPUS])
    };
}

impl<T> PerCpu<T> {
    /// Used by [`per_cpu!`].
    #[doc(hidden)]
    pub const fn from_array(values: [T; MAX_CPUS]) -> Self {
        // A transmute of arrays of generic size is not const, so the values are
        // moved one by one.
        let values = core::mem::ManuallyDrop::new(values);
        let mut entries = [const { core::mem::MaybeUninit::<Line<T>>::uninit() }; MAX_CPUS];
        let mut cpu = 0;
        while cpu < MAX_CPUS {
            // SAFETY: each element is read once, and `values` is never dropped.
            let value = unsafe { core::ptr::read((&raw const values).cast::<T>().add(cpu)) };
            entries[cpu] = core::mem::MaybeUninit::new(Line(value));
            cpu += 1;
        }
        // SAFETY: every element was initialised above, and an array of
        // `MaybeUninit<X>` has the layout of an array of `X`.
        let entries = unsafe { core::mem::transmute_copy(&entries) };
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};

    static COUNTS: PerCpu<AtomicU32> = crate::per_cpu!(AtomicU32::new(7));

    #[test]
    fn entries_are_apart() {
        COUNTS.get(3).store(9, Ordering::Relaxed);
        assert_eq!(COUNTS.get(2).load(Ordering::Relaxed), 7);
        assert_eq!(COUNTS.get(3).load(Ordering::Relaxed), 9);
        let (a, b) = (
            COUNTS.get(0) as *const _ as usize,
            COUNTS.get(1) as *const _ as usize,
        );
        assert!(b - a >= 64);
    }
}
