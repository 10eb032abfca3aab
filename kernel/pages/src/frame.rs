//! [`Frame`], a reference-counted page, and [`Account`], who pays for it.
//!
//! These are heap-backed pages with the interface of the hardware layer's
//! frames, so that file systems run on a host; the kernel proper re-exports
//! the hardware layer's types from this file instead.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;

/// No memory, or not within the account's limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<OutOfMemory> for abi::Errno {
    fn from(_: OutOfMemory) -> Self {
        abi::Errno::ENOMEM
    }
}

struct Counters {
    used: AtomicU64,
    limit: u64,
}

/// Who pays for memory, in pages.
#[derive(Clone)]
pub struct Account(Arc<Counters>);

impl Account {
    /// An account that may hold `limit_pages`.
    #[must_use]
    pub fn new(limit_pages: u64) -> Self {
        Self(Arc::new(Counters {
            used: AtomicU64::new(0),
            limit: limit_pages,
        }))
    }

    /// An account without limit, for what belongs to no world.
    #[must_use]
    pub fn kernel() -> Self {
        Self::new(u64::MAX)
    }

    /// Pages in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Pages allowed.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Charges `pages` until the charge is dropped.
    ///
    /// # Errors
    /// [`OutOfMemory`] beyond the limit.
    pub fn charge(&self, pages: u64) -> Result<Charge, OutOfMemory> {
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(pages).filter(|sum| *sum <= self.0.limit)
            })
            .map_err(|_| OutOfMemory)?;
        Ok(Charge {
            account: self.clone(),
            pages,
        })
    }
}

/// Pages charged to an account; dropping it gives them back.
pub struct Charge {
    account: Account,
    pages: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.used.fetch_sub(self.pages, Ordering::Relaxed);
    }
}

struct Page {
    words: Vec<AtomicU64>,
    _charge: Charge,
}

/// One page of memory, counted by reference.
#[derive(Clone)]
pub struct Frame(Arc<Page>);

impl Frame {
    /// A page of zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the account has no page left.
    pub fn zeroed(account: &Account) -> Result<Self, OutOfMemory> {
        let charge = account.charge(1)?;
        let words = (0..PAGE_SIZE / 8).map(|_| AtomicU64::new(0)).collect();
        Ok(Self(Arc::new(Page {
            words,
            _charge: charge,
        })))
    }

    /// How many hold this frame.
    #[must_use]
    pub fn ref_count(&self) -> u32 {
        Arc::strong_count(&self.0) as u32
    }

    /// Copies out of the page.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        for (at, byte) in (offset..).zip(into) {
            *byte = self.0.words[at / 8].load(Ordering::Relaxed).to_le_bytes()[at % 8];
        }
    }

    /// Copies into the page.
    pub fn write(&self, offset: usize, from: &[u8]) {
        for (at, byte) in (offset..).zip(from) {
            let shift = at % 8 * 8;
            let word = &self.0.words[at / 8];
            let kept = word.load(Ordering::Relaxed) & !(0xff << shift);
            word.store(kept | u64::from(*byte) << shift, Ordering::Relaxed);
        }
    }

    /// Copies a whole page.
    pub fn copy_from(&self, other: &Frame) {
        for (to, from) in self.0.words.iter().zip(&other.0.words) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Fills the page with zeros.
    pub fn zero(&self) {
        for word in &self.0.words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_land_where_they_were_written() {
        let account = Account::new(2);
        let frame = Frame::zeroed(&account).unwrap();
        frame.write(6, b"across");
        let mut bytes = [9; 14];
        frame.read(0, &mut bytes);
        assert_eq!(&bytes, b"\0\0\0\0\0\0across\0\0");
        let copy = Frame::zeroed(&account).unwrap();
        copy.copy_from(&frame);
        frame.zero();
        copy.read(6, &mut bytes[..6]);
        assert_eq!(&bytes[..6], b"across");
    }

    #[test]
    fn the_last_holder_gives_the_page_back() {
        let account = Account::new(1);
        let frame = Frame::zeroed(&account).unwrap();
        let second = frame.clone();
        assert!(Frame::zeroed(&account).is_err());
        drop(frame);
        assert_eq!((account.used(), second.ref_count()), (1, 1));
        drop(second);
        assert_eq!(account.used(), 0);
        assert!(Frame::zeroed(&account).is_ok());
    }
}
