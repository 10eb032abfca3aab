//! [`Frame`]: a counted reference to a block of physical memory.
//!
//! Its contents are reached by copying only: a program or a guest that has it
//! mapped may write at any moment.

use super::account::Account;
use super::physical::{copy, to_virtual};
use super::{OutOfMemory, PAGE_SIZE, frames};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysAddr(pub u64);

/// A reference to 2^order contiguous frames, free again when the last one goes.
#[derive(Debug)]
pub struct Frame {
    number: u32,
}

impl Frame {
    /// A single frame whose contents are left over from others: the caller
    /// overwrites all of it.
    #[inline]
    pub fn alloc(account: &Account) -> Result<Self, OutOfMemory> {
        frames::take_one(account.index()).map(|number| Self { number })
    }

    /// A single frame of zeros.
    #[inline]
    pub fn zeroed(account: &Account) -> Result<Self, OutOfMemory> {
        let frame = Self::alloc(account)?;
        frame.zero();
        Ok(frame)
    }

    /// 2^order contiguous frames of zeros, aligned to their size.
    pub fn alloc_order(order: u8, account: &Account) -> Result<Self, OutOfMemory> {
        let frame = Self {
            number: frames::take(order, account.index())?,
        };
        frame.zero();
        Ok(frame)
    }

    /// Takes over a reference that [`Frame::into_raw`] or the allocator left.
    ///
    /// # Safety
    /// The reference is counted and nobody else will give it back.
    #[inline]
    pub(crate) unsafe fn from_number(number: u32) -> Self {
        Self { number }
    }

    /// Turns this reference into a physical address that stands for it.
    #[inline]
    pub(crate) fn into_raw(self) -> u64 {
        let address = self.phys().0;
        core::mem::forget(self);
        address
    }

    /// Takes back what [`Frame::into_raw`] gave.
    ///
    /// # Safety
    /// `address` came from `into_raw`, and is taken back once.
    #[inline]
    pub(crate) unsafe fn from_raw(address: u64) -> Self {
        Self {
            number: (address / PAGE_SIZE as u64) as u32,
        }
    }

    /// Its first byte's physical address.
    #[inline]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(u64::from(self.number) * PAGE_SIZE as u64)
    }

    /// How many references there are, tables' included.
    #[inline]
    pub fn ref_count(&self) -> u32 {
        frames::state(self.number).refs.load(Ordering::Acquire)
    }

    /// log2 of the number of frames.
    pub fn order(&self) -> u8 {
        frames::state(self.number).order.load(Ordering::Relaxed)
    }

    /// Its size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        PAGE_SIZE << self.order()
    }

    /// Fills it with zeros.
    #[inline]
    pub fn zero(&self) {
        // SAFETY: the block is this reference's, `len` long; no Rust reference
        // points into it (the type gives none out).
        unsafe {
            asm!(
                "rep stosq",
                inout("rcx") self.len() / 8 => _, inout("rdi") self.writable() => _, in("rax") 0,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Copies the contents of `from`, which is as long.
    pub fn copy_from(&self, from: &Self) {
        let len = self.len();
        assert_eq!(len, from.len(), "invariant: both frames have one order");
        // SAFETY: both blocks are `len` long, and they are two or the same.
        unsafe { copy(from.pointer(), self.writable(), len) }
    }

    /// Reads the bytes at `offset`; the range must lie within.
    #[inline]
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        self.check(offset, to.len());
        // SAFETY: checked to lie within; `to` is the caller's own memory.
        unsafe { copy(self.pointer().add(offset), to.as_mut_ptr(), to.len()) }
    }

    /// Writes the bytes at `offset`; the range must lie within.
    #[inline]
    pub fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        // SAFETY: as `read`.
        unsafe { copy(from.as_ptr(), self.writable().add(offset), from.len()) }
    }

    /// The aligned 32-bit word at `offset`.
    #[inline]
    pub fn read_u32(&self, offset: usize) -> u32 {
        self.word32(offset).load(Ordering::Acquire)
    }

    /// Stores an aligned 32-bit word.
    #[inline]
    pub fn write_u32(&self, offset: usize, value: u32) {
        self.writable();
        self.word32(offset).store(value, Ordering::Release);
    }

    /// The aligned 64-bit word at `offset`.
    #[inline]
    pub fn read_u64(&self, offset: usize) -> u64 {
        self.word64(offset).load(Ordering::Acquire)
    }

    /// Stores an aligned 64-bit word.
    #[inline]
    pub fn write_u64(&self, offset: usize, value: u64) {
        self.writable();
        self.word64(offset).store(value, Ordering::Release);
    }

    /// Replaces the aligned word at `offset` by `new` if it is `old`; tells what
    /// it was.
    pub fn compare_exchange_u32(&self, offset: usize, old: u32, new: u32) -> u32 {
        self.writable();
        match self
            .word32(offset)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(was) | Err(was) => was,
        }
    }

    /// As [`Frame::compare_exchange_u32`], of 64 bits.
    pub fn compare_exchange_u64(&self, offset: usize, old: u64, new: u64) -> u64 {
        self.writable();
        match self
            .word64(offset)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(was) | Err(was) => was,
        }
    }

    /// Where it stands in the direct map, to be written. The boot archive's frames
    /// are not: the kernel holds references into them.
    #[inline]
    fn writable(&self) -> *mut u8 {
        assert!(
            !frames::is_read_only(self.number),
            "invariant: the boot archive is not written"
        );
        self.pointer()
    }

    /// Where it stands in the direct map.
    #[inline]
    pub(crate) fn pointer(&self) -> *mut u8 {
        to_virtual(self.phys().0)
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        // A block has a page at least: where that suffices, nothing is looked up.
        assert!(
            end.is_some_and(|end| end <= PAGE_SIZE || end <= self.len()),
            "invariant: access within the frame"
        );
    }

    #[inline]
    fn word32(&self, offset: usize) -> &AtomicU32 {
        self.check(offset, 4);
        assert!(offset.is_multiple_of(4), "invariant: aligned access");
        // SAFETY: within the block and aligned; atomics tolerate other writers.
        unsafe { &*self.pointer().add(offset).cast() }
    }

    #[inline]
    fn word64(&self, offset: usize) -> &AtomicU64 {
        self.check(offset, 8);
        assert!(offset.is_multiple_of(8), "invariant: aligned access");
        // SAFETY: as `word32`.
        unsafe { &*self.pointer().add(offset).cast() }
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Self {
        let before = frames::state(self.number)
            .refs
            .fetch_add(1, Ordering::Relaxed);
        assert!(
            before < u32::MAX / 2,
            "invariant: references to a frame do not overflow"
        );
        Self {
            number: self.number,
        }
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if frames::state(self.number)
            .refs
            .fetch_sub(1, Ordering::Release)
            == 1
        {
            fence(Ordering::Acquire);
            frames::give(self.number);
        }
    }
}
