//! [`Account`]: who pays for memory, in pages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// No frame is left, or the account has reached its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<OutOfMemory> for abi::Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

#[derive(Debug)]
struct Books {
    used: AtomicU64,
    limit: AtomicU64,
}

/// A counted, limited share of memory. Clones are handles to the same books.
#[derive(Clone, Debug)]
pub struct Account(Arc<Books>);

impl Account {
    /// An account that may use `limit` pages at once.
    pub fn new(limit: u64) -> Result<Self, OutOfMemory> {
        Ok(Self(Arc::new(Books {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        })))
    }

    /// The VMkernel's own account, without a limit.
    #[must_use]
    pub fn kernel() -> Self {
        static KERNEL: OnceLock<Account> = OnceLock::new();
        KERNEL
            .get_or_init(|| Account::new(u64::MAX).expect("invariant: never fails here"))
            .clone()
    }

    /// Pages in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Pages that may be in use.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; what is in use above it stays.
    pub fn set_limit(&self, pages: u64) {
        self.0.limit.store(pages, Ordering::Relaxed);
    }

    /// Takes `pages` for as long as the charge lives.
    pub fn charge(&self, pages: u64) -> Result<Charge, OutOfMemory> {
        let limit = self.limit();
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(pages).filter(|&sum| sum <= limit)
            })
            .map_err(|_| OutOfMemory)?;
        Ok(Charge {
            account: self.clone(),
            pages,
        })
    }
}

/// Pages taken from an account; dropping gives them back.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    pages: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.used.fetch_sub(self.pages, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds() {
        let account = Account::new(3).unwrap();
        let two = account.charge(2).unwrap();
        assert_eq!(account.charge(2).err(), Some(OutOfMemory));
        drop(two);
        let _three = account.charge(3).unwrap();
        assert_eq!(account.used(), 3);
    }
}
