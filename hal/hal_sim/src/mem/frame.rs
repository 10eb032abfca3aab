//! [`Frame`]: an owned, reference-counted piece of physical memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::{Account, Charge, OutOfMemory, PAGE_SIZE, PhysAddr, ram};
use crate::inject;

pub(crate) struct Memory {
    phys: u64,
    order: u8,
    words: Box<[AtomicU64]>,
    _charge: Charge,
}

impl Drop for Memory {
    fn drop(&mut self) {
        ram::give_back(self.phys);
    }
}

/// `2^order` contiguous pages. A clone is another reference to the same memory;
/// the last one to go frees it.
#[derive(Clone)]
pub struct Frame(Arc<Memory>);

impl Frame {
    /// One page of zeros.
    pub fn zeroed(account: &Account) -> Result<Self, OutOfMemory> {
        Self::filled(0, account, 0)
    }

    /// One page with unspecified contents, for a caller that overwrites it.
    pub fn alloc(account: &Account) -> Result<Self, OutOfMemory> {
        Self::filled(0, account, 0xdead_dead_dead_dead)
    }

    /// `2^order` contiguous pages of zeros, aligned to their size.
    pub fn alloc_order(order: u8, account: &Account) -> Result<Self, OutOfMemory> {
        Self::filled(order, account, 0)
    }

    fn filled(order: u8, account: &Account, word: u64) -> Result<Self, OutOfMemory> {
        inject::allocation()?;
        let charge = account.charge(1 << order)?;
        let words = (0..(PAGE_SIZE / 8) << order)
            .map(|_| AtomicU64::new(word))
            .collect();
        Ok(Self(Arc::new(Memory {
            phys: ram::take(order),
            order,
            words,
            _charge: charge,
        })))
    }

    /// References that exist, this one included.
    #[must_use]
    pub fn ref_count(&self) -> u32 {
        Arc::strong_count(&self.0) as u32
    }

    /// Where it lies.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(self.0.phys)
    }

    /// The binary logarithm of its pages.
    #[must_use]
    pub fn order(&self) -> u8 {
        self.0.order
    }

    /// Bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        PAGE_SIZE << self.0.order
    }

    /// Copies out of the frame. Panics outside it.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.len(), "read outside the frame");
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % 8;
            let (now, later) = rest.split_at_mut(rest.len().min(8 - within));
            let word = self.0.words[at / 8].load(Ordering::Relaxed).to_le_bytes();
            now.copy_from_slice(&word[within..within + now.len()]);
            at += now.len();
            rest = later;
        }
    }

    /// Copies into the frame. Panics outside it.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= self.len(),
            "write outside the frame"
        );
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % 8;
            let (now, later) = rest.split_at(rest.len().min(8 - within));
            self.patch(at / 8, within, now);
            at += now.len();
            rest = later;
        }
    }

    fn patch(&self, index: usize, within: usize, bytes: &[u8]) {
        let word = &self.0.words[index];
        let with_bytes = |old: u64| {
            let mut whole = old.to_le_bytes();
            whole[within..within + bytes.len()].copy_from_slice(bytes);
            Some(u64::from_le_bytes(whole))
        };
        if bytes.len() == 8 {
            word.store(with_bytes(0).unwrap_or(0), Ordering::Relaxed);
        } else {
            let _ = word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, with_bytes);
        }
    }

    /// The little-endian word at `offset`, a multiple of 4.
    #[must_use]
    pub fn read_u32(&self, offset: usize) -> u32 {
        let word = self.word(offset & !7).load(Ordering::SeqCst);
        assert!(offset.is_multiple_of(4), "unaligned word");
        (word >> (offset % 8 * 8)) as u32
    }

    /// Stores at `offset`, a multiple of 4.
    pub fn write_u32(&self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4), "unaligned word");
        self.patch(offset / 8, offset % 8, &value.to_le_bytes());
    }

    /// The little-endian word at `offset`, a multiple of 8.
    #[must_use]
    pub fn read_u64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::SeqCst)
    }

    /// Stores at `offset`, a multiple of 8.
    pub fn write_u64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::SeqCst);
    }

    /// Replaces the aligned word at `offset` by `new` if it is `old`; tells what
    /// it was.
    pub fn compare_exchange_u32(&self, offset: usize, old: u32, new: u32) -> u32 {
        assert!(offset.is_multiple_of(4), "unaligned word");
        let shift = offset % 8 * 8;
        let mask = u64::from(u32::MAX) << shift;
        let update = |word: u64| {
            ((word & mask) >> shift == u64::from(old))
                .then(|| (word & !mask) | (u64::from(new) << shift))
        };
        let word = self.word(offset & !7);
        let (Ok(was) | Err(was)) = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
        (was >> shift) as u32
    }

    /// As [`Frame::compare_exchange_u32`], of 64 bits.
    pub fn compare_exchange_u64(&self, offset: usize, old: u64, new: u64) -> u64 {
        let word = self.word(offset);
        let (Ok(was) | Err(was)) =
            word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
        was
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "unaligned word");
        &self.0.words[offset / 8]
    }

    /// Overwrites this frame with the contents of another of the same size.
    pub fn copy_from(&self, source: &Frame) {
        assert_eq!(self.len(), source.len(), "frames of different size");
        for (to, from) in self.0.words.iter().zip(source.0.words.iter()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Fills it with zeros.
    pub fn zero(&self) {
        self.0
            .words
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

/// A note of a frame that keeps nothing alive.
pub(crate) struct WeakFrame(Weak<Memory>);

impl WeakFrame {
    pub(crate) fn upgrade(&self) -> Option<Frame> {
        self.0.upgrade().map(Frame)
    }
}

impl Frame {
    pub(crate) fn downgrade(&self) -> WeakFrame {
        WeakFrame(Arc::downgrade(&self.0))
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.0.phys == other.0.phys
    }
}

impl Eq for Frame {}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({:#x}, order {})", self.0.phys, self.0.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::is_allocated;

    #[test]
    fn bytes_at_odd_places_come_back() {
        let frame = Frame::zeroed(&Account::new(1).unwrap()).unwrap();
        frame.write(4091, &[1, 2, 3, 4, 5]);
        frame.write(3, &[9; 14]);
        let mut back = [7; 18];
        frame.read(1, &mut back);
        assert_eq!(back[..2], [0, 0]);
        assert_eq!(back[2..16], [9; 14]);
        assert_eq!(back[16..], [0, 0]);
        assert_eq!(frame.read_u32(4092), u32::from_le_bytes([2, 3, 4, 5]));
    }

    #[test]
    fn the_last_reference_frees() {
        let account = Account::new(8).unwrap();
        let frame = Frame::alloc_order(3, &account).unwrap();
        assert_eq!((account.used(), frame.phys().0 % 0x8000), (8, 0));
        let other = frame.clone();
        assert_eq!(frame.ref_count(), 2);
        let phys = frame.phys();
        drop(frame);
        assert!(is_allocated(phys));
        assert_eq!(other.ref_count(), 1);
        drop(other);
        assert!(!is_allocated(phys));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn exchange_touches_only_its_half() {
        let frame = Frame::zeroed(&Account::new(1).unwrap()).unwrap();
        frame.write_u32(8, 5);
        assert_eq!(frame.compare_exchange_u32(12, 0, 7), 0);
        assert_eq!(frame.compare_exchange_u32(12, 0, 8), 7);
        assert_eq!(frame.read_u64(8), 7 << 32 | 5);
    }
}
