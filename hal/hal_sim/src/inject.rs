//! Allocation failures on demand, per thread of the test.
//!
//! Frames, page-table nodes, tasks and whatever calls [`allocation`] count.

use std::cell::Cell;

use crate::mem::OutOfMemory;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FAIL_AT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Counts one allocation, and refuses it if its turn has come.
pub fn allocation() -> Result<(), OutOfMemory> {
    let count = COUNT.get();
    COUNT.set(count + 1);
    if count == FAIL_AT.get() {
        Err(OutOfMemory)
    } else {
        Ok(())
    }
}

/// Makes the `n`-th allocation of this thread from now on fail, the next one
/// being number 0. Only that one fails.
pub fn fail_nth(n: u64) {
    FAIL_AT.set(COUNT.get().saturating_add(n));
}

/// Runs `call` with its allocations neither counted nor refused.
pub fn suspended<R>(call: impl FnOnce() -> R) -> R {
    let (count, fail_at) = (COUNT.get(), FAIL_AT.replace(u64::MAX));
    let result = call();
    COUNT.set(count);
    FAIL_AT.set(fail_at);
    result
}

/// No allocation of this thread fails any more.
pub fn clear() {
    FAIL_AT.set(u64::MAX);
}

/// Allocations this thread made so far, refused ones included.
#[must_use]
pub fn count() -> u64 {
    COUNT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_nth_fails() {
        fail_nth(2);
        let results: Vec<_> = (0..5).map(|_| allocation().is_ok()).collect();
        assert_eq!(results, [true, true, false, true, true]);
    }
}
