//! Which frames are free: the buddy allocator over one table of frame states,
//! with a small cache of single frames per CPU in front.

use super::account::{charge, credit};
use super::physical::to_virtual;
use super::{Frame, OutOfMemory, PAGE_SIZE};
use crate::cpu::this_cpu;
use boot_info::{MemoryKind, MemoryMap};
use buddy::{Buddy, Links, Mark};
use core::cell::Cell;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};
use sync::SpinLock;

/// What is known of one frame. `next`, `prev` and `mark` are the allocator's
/// (under its lock), the rest its owner's.
#[repr(C)]
pub(crate) struct FrameState {
    pub(crate) refs: AtomicU32,
    next: AtomicU32,
    prev: AtomicU32,
    pub(crate) account: AtomicU16,
    pub(crate) order: AtomicU8,
    mark: AtomicU8,
}

#[derive(Clone, Copy)]
struct States(&'static [FrameState]);

impl Links for States {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }
    #[inline]
    fn next(&self, frame: u32) -> u32 {
        self.0[frame as usize].next.load(Ordering::Relaxed)
    }
    #[inline]
    fn set_next(&mut self, frame: u32, next: u32) {
        self.0[frame as usize].next.store(next, Ordering::Relaxed);
    }
    #[inline]
    fn prev(&self, frame: u32) -> u32 {
        self.0[frame as usize].prev.load(Ordering::Relaxed)
    }
    #[inline]
    fn set_prev(&mut self, frame: u32, prev: u32) {
        self.0[frame as usize].prev.store(prev, Ordering::Relaxed);
    }
    #[inline]
    fn mark(&self, frame: u32) -> Mark {
        Mark::from_bits(self.0[frame as usize].mark.load(Ordering::Relaxed))
    }
    #[inline]
    fn set_mark(&mut self, frame: u32, mark: Mark) {
        self.0[frame as usize]
            .mark
            .store(mark.to_bits(), Ordering::Relaxed);
    }
}

static BUDDY: SpinLock<Buddy<States>> = SpinLock::new(Buddy::new(States(&[])));
static STATES: sync::Once<States> = sync::Once::new();

const CACHE: usize = 64;
const BATCH: usize = 32;

/// One CPU's free frames.
pub(crate) struct CpuFrames {
    count: Cell<usize>,
    frames: [Cell<u32>; CACHE],
}

impl CpuFrames {
    pub(crate) const fn new() -> Self {
        Self {
            count: Cell::new(0),
            frames: [const { Cell::new(0) }; CACHE],
        }
    }
}

/// How memory is used. All in frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameStatistics {
    /// Frames under management.
    pub managed: u64,
    /// Free frames.
    pub free: u64,
}

/// How memory is used just now; frames in CPUs' caches count as free.
pub fn statistics() -> FrameStatistics {
    let cached: usize = (0..crate::cpu::count())
        .filter_map(crate::cpu::block)
        // A racy read of another CPU's count: a figure for people.
        .map(|block| block.memory.frames.count.get())
        .sum();
    let buddy = BUDDY.lock();
    FrameStatistics {
        managed: u64::from(buddy.managed_frames()),
        free: u64::from(buddy.free_frames()) + cached as u64,
    }
}

/// Builds the table of frame states and frees what is usable.
pub(crate) fn init(map: &mut MemoryMap) {
    let count = (map.memory_end() / PAGE_SIZE as u64) as usize;
    let bytes = (count * size_of::<FrameState>()).next_multiple_of(PAGE_SIZE);
    let Some(address) = map.find_usable(bytes as u64, PAGE_SIZE as u64, 1 << 32) else {
        panic!("no room below 4 GiB for the states of {count} frames ({bytes} bytes)");
    };
    map.claim(address, bytes as u64, MemoryKind::Kernel)
        .expect("invariant: a usable run can be claimed");
    // SAFETY: the range was free, is now claimed, and lies within what the boot
    // tables map; all-zero bytes are a valid state.
    let states = unsafe {
        core::ptr::write_bytes(to_virtual(address), 0, bytes);
        core::slice::from_raw_parts(to_virtual(address).cast::<FrameState>(), count)
    };
    let _ = STATES.set(States(states));
    let mut buddy = BUDDY.lock();
    *buddy = Buddy::new(States(states));
    // Only what the boot tables map may be used yet; `add_high` brings the rest.
    add_usable(&mut buddy, map, 0, 1 << 32);
}

/// Frees the memory above 4 GiB, once the direct map covers it.
pub(crate) fn add_high(map: &MemoryMap) {
    add_usable(&mut BUDDY.lock(), map, 1 << 32, u64::MAX);
}

fn add_usable(buddy: &mut Buddy<States>, map: &MemoryMap, low: u64, high: u64) {
    for region in map.of_kind(MemoryKind::Usable) {
        let (start, end) = (region.start.max(low), region.end.min(high));
        if start < end {
            let (first, count) = (start / PAGE_SIZE as u64, (end - start) / PAGE_SIZE as u64);
            buddy
                .add_range(first as u32, count as u32)
                .expect("invariant: regions of the map are disjoint and below its end");
        }
    }
}

#[inline]
pub(crate) fn state(frame: u32) -> &'static FrameState {
    let states = STATES
        .get()
        .expect("invariant: set before the first frame is given out");
    &states.0[frame as usize]
}

/// A single frame; its contents are what they were.
#[inline]
pub(crate) fn take_one(account: u16) -> Result<u32, OutOfMemory> {
    charge(account, 1)?;
    let cache = &this_cpu().memory.frames;
    let mut count = cache.count.get();
    if count == 0 {
        count = refill(cache, account);
        if count == 0 {
            credit(account, 1);
            return Err(OutOfMemory);
        }
    }
    let frame = cache.frames[count - 1].get();
    cache.count.set(count - 1);
    own(frame, 0, account);
    Ok(frame)
}

/// One part in this many of all memory is the kernel's: what it cannot do
/// without must not fail because programs have taken everything.
const RESERVED_PART: u32 = 64;

/// Whether `frames` more for `account` would leave the kernel its part.
fn leaves_reserve(buddy: &Buddy<States>, account: u16, frames: u32) -> bool {
    let reserve = buddy.managed_frames() / RESERVED_PART;
    account == 0 || buddy.free_frames() >= reserve + frames
}

#[cold]
fn refill(cache: &CpuFrames, account: u16) -> usize {
    let mut buddy = BUDDY.lock();
    let mut count = 0;
    if !leaves_reserve(&buddy, account, BATCH as u32) {
        return 0;
    }
    while count < BATCH
        && let Some(frame) = buddy.alloc(0)
    {
        cache.frames[count].set(frame);
        count += 1;
    }
    cache.count.set(count);
    count
}

/// A block of 2^order frames.
pub(crate) fn take(order: u8, account: u16) -> Result<u32, OutOfMemory> {
    if order == 0 {
        return take_one(account);
    }
    if order > buddy::MAX_ORDER {
        return Err(OutOfMemory);
    }
    charge(account, 1 << order)?;
    let frame = {
        let mut buddy = BUDDY.lock();
        match leaves_reserve(&buddy, account, 1 << order) {
            true => buddy.alloc(order),
            false => None,
        }
    };
    let Some(frame) = frame else {
        credit(account, 1 << order);
        return Err(OutOfMemory);
    };
    own(frame, order, account);
    Ok(frame)
}

#[inline]
fn own(frame: u32, order: u8, account: u16) {
    let state = state(frame);
    state.account.store(account, Ordering::Relaxed);
    state.order.store(order, Ordering::Relaxed);
    state.refs.store(1, Ordering::Relaxed);
}

/// Gives a block back. The caller held its last reference.
#[inline]
pub(crate) fn give(frame: u32) {
    let state = state(frame);
    let order = state.order.load(Ordering::Relaxed);
    credit(state.account.load(Ordering::Relaxed), 1 << order);
    let cache = &this_cpu().memory.frames;
    let count = cache.count.get();
    if order == 0 && count < CACHE {
        cache.frames[count].set(frame);
        cache.count.set(count + 1);
    } else {
        give_back(frame, order, cache);
    }
}

#[cold]
fn give_back(frame: u32, order: u8, cache: &CpuFrames) {
    let mut buddy = BUDDY.lock();
    let mut free = |frame, order| {
        buddy
            .free(frame, order)
            .expect("invariant: a frame is given back once, by its last owner");
    };
    free(frame, order);
    if order == 0 {
        for _ in 0..BATCH {
            let count = cache.count.get() - 1;
            cache.count.set(count);
            free(cache.frames[count].get(), 0);
        }
    }
}

/// A frame of the boot archive, which the allocator never had: it begins with
/// one reference that nobody gives back.
pub(crate) fn share_boot_frame(address: u64) -> Frame {
    let number = (address / PAGE_SIZE as u64) as u32;
    let state = state(number);
    if state.refs.fetch_add(1, Ordering::Relaxed) == 0 {
        state.refs.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the count above includes this reference.
    unsafe { Frame::from_number(number) }
}
