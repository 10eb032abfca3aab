//! Futexes: waiting until a word of memory changes (futex(2)).
//!
//! Waiters stand in buckets by key. A waiter checks the word under its bucket's
//! lock, so that a wake after the change cannot miss it.

use crate::{Result, UserThread};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use mem::{FutexKey, Space};
use sync::SpinLock;
use wait::Deadline;

const BUCKETS: usize = 256;
/// Matches every wake.
pub const ANY: u32 = u32::MAX;
/// A robust futex whose owner died (set_robust_list(2)).
const OWNER_DIED: u32 = 0x4000_0000;
const TID_MASK: u32 = 0x3fff_ffff;
const WAITERS: u32 = 0x8000_0000;
/// The most entries of a robust list that are looked at.
const ROBUST_MAX: usize = 2048;

struct Waiter {
    key: SpinLock<FutexKey>,
    bits: u32,
    is_woken: AtomicBool,
    waker: Waker,
}

static TABLE: [SpinLock<Vec<Arc<Waiter>>>; BUCKETS] =
    [const { SpinLock::new(Vec::new()) }; BUCKETS];

fn bucket(key: &FutexKey) -> &'static SpinLock<Vec<Arc<Waiter>>> {
    &TABLE[bucket_index(key)]
}

fn bucket_index(key: &FutexKey) -> usize {
    let (a, b) = match *key {
        FutexKey::Private { space, address } => (space, address),
        FutexKey::Shared { object, offset } => (!object, offset),
    };
    let mixed = (a ^ b >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize
}

/// The key of the word at `address`.
pub fn key(space: &Space, address: u64, is_private: bool) -> Result<FutexKey> {
    if !address.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if is_private {
        Ok(space.private_futex_key(address))
    } else {
        space.futex_key(address)
    }
}

/// Waits while the word at `address` is `expected`, for a wake with one of
/// `bits`.
pub fn wait(
    space: &Space,
    address: u64,
    key: FutexKey,
    expected: u32,
    bits: u32,
    deadline: Deadline,
) -> Result<()> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let waiter = Arc::new(Waiter {
        key: SpinLock::new(key),
        bits,
        is_woken: AtomicBool::new(false),
        waker: wait::scheduler().current(),
    });
    enter(space, address, key, expected, &waiter)?;
    loop {
        if waiter.is_woken.load(Ordering::Acquire) {
            return Ok(());
        }
        let is_late = deadline.is_some_and(|deadline| wait::now_ns() >= deadline);
        if is_late || wait::interrupted() {
            return match leave(&waiter) {
                false => Ok(()),
                true if is_late => Err(Errno::ETIMEDOUT),
                true => Err(Errno::ERESTART),
            };
        }
        wait::scheduler().park(deadline);
    }
}

/// Puts the waiter into its bucket if the word is as expected.
fn enter(
    space: &Space,
    address: u64,
    key: FutexKey,
    expected: u32,
    waiter: &Arc<Waiter>,
) -> Result<()> {
    loop {
        // Brings the page in, which may not be done under the lock.
        if space.load_u32(address)? != expected {
            return Err(Errno::EAGAIN);
        }
        let mut waiters = bucket(&key).lock();
        match hal::user::load_u32(address) {
            Ok(value) if value == expected => {
                waiters.push(waiter.clone());
                return Ok(());
            }
            Ok(_) => return Err(Errno::EAGAIN),
            Err(_) => {}
        }
    }
}

/// Takes the waiter out; false where somebody woke it first.
fn leave(waiter: &Arc<Waiter>) -> bool {
    loop {
        let key = *waiter.key.lock();
        let mut waiters = bucket(&key).lock();
        if let Some(at) = waiters.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            waiters.swap_remove(at);
            return true;
        }
        if waiter.is_woken.load(Ordering::Acquire) {
            return false;
        }
        // It was moved to another bucket meanwhile.
    }
}

/// Wakes up to `count` waiters of `key` that wait for one of `bits`.
pub fn wake(key: FutexKey, count: usize, bits: u32) -> usize {
    let mut woken = 0;
    while woken < count {
        let waiter = {
            let mut waiters = bucket(&key).lock();
            let found = waiters
                .iter()
                .position(|waiter| *waiter.key.lock() == key && waiter.bits & bits != 0);
            let Some(at) = found else { break };
            let waiter = waiters.remove(at);
            waiter.is_woken.store(true, Ordering::Release);
            waiter
        };
        waiter.waker.wake_by_ref();
        woken += 1;
    }
    woken
}

/// What [`requeue`] does: wakes up to `wake` waiters of `from`, and makes up to
/// `moves` of the rest wait for `to`.
#[derive(Clone, Copy, Debug)]
pub struct Requeue {
    /// Where they wait.
    pub from: FutexKey,
    /// Where they shall wait.
    pub to: FutexKey,
    /// The most that are woken.
    pub wake: usize,
    /// The most that are moved.
    pub moves: usize,
}

/// Wakes and moves waiters if the word at `address` is `expected`, where one is
/// given. No waiter is missed by a wake meanwhile: both buckets are held.
/// Returns how many were woken and moved.
pub fn requeue(
    space: &Space,
    address: u64,
    expected: Option<u32>,
    request: Requeue,
) -> Result<(usize, usize)> {
    loop {
        if let Some(expected) = expected
            && space.load_u32(address)? != expected
        {
            return Err(Errno::EAGAIN);
        }
        let still = || match expected {
            Some(expected) => hal::user::load_u32(address).map(|value| value == expected),
            None => Ok(true),
        };
        let (one, two) = (bucket_index(&request.from), bucket_index(&request.to));
        // In the order of the table, so that two calls never wait for each other.
        let mut first = TABLE[one.min(two)].lock();
        let mut second = (one != two).then(|| TABLE[one.max(two)].lock());
        match still() {
            Ok(true) => {}
            Ok(false) => return Err(Errno::EAGAIN),
            Err(_) => continue,
        }
        let (woken, moved) = match &mut second {
            None => redirect(&mut first, None, &request),
            Some(second) if one < two => redirect(&mut first, Some(second), &request),
            Some(second) => redirect(second, Some(&mut first), &request),
        };
        drop((first, second));
        woken.iter().for_each(|waiter| waiter.waker.wake_by_ref());
        return Ok((woken.len(), moved));
    }
}

/// The part of [`requeue`] under the locks; `target` is `None` where both keys
/// share a bucket.
fn redirect(
    source: &mut Vec<Arc<Waiter>>,
    mut target: Option<&mut Vec<Arc<Waiter>>>,
    request: &Requeue,
) -> (Vec<Arc<Waiter>>, usize) {
    let mut woken = Vec::new();
    let mut moved = 0;
    let mut at = 0;
    while at < source.len() && (woken.len() < request.wake || moved < request.moves) {
        if *source[at].key.lock() != request.from {
            at += 1;
        } else if woken.len() < request.wake {
            let waiter = source.remove(at);
            waiter.is_woken.store(true, Ordering::Release);
            woken.push(waiter);
        } else {
            moved += 1;
            *source[at].key.lock() = request.to;
            match &mut target {
                Some(target) => target.push(source.remove(at)),
                None => at += 1,
            }
        }
    }
    (woken, moved)
}

/// Wakes all waiters at `address`, of this space and of whoever shares it.
pub(crate) fn wake_all_at(space: &Space, address: u64) {
    wake(space.private_futex_key(address), usize::MAX, ANY);
    if let Ok(key @ FutexKey::Shared { .. }) = space.futex_key(address) {
        wake(key, usize::MAX, ANY);
    }
}

/// Marks the robust futexes that a dying thread holds, and wakes a waiter of
/// each. The list is the program's and may be anything.
pub(crate) fn leave_robust(thread: &UserThread, space: &Space) {
    let (head, _) = thread.robust_list();
    if head == 0 {
        return;
    }
    let word = |address: u64| {
        let mut bytes = [0; 8];
        space
            .read(address, &mut bytes)
            .map(|()| u64::from_le_bytes(bytes))
    };
    let (Ok(mut entry), Ok(offset), Ok(pending)) = (
        word(head),
        word(head.wrapping_add(8)),
        word(head.wrapping_add(16)),
    ) else {
        return;
    };
    for _ in 0..ROBUST_MAX {
        if entry == head {
            break;
        }
        // Read before: whoever is woken may reuse the entry at once.
        let next = word(entry & !1);
        if entry & !1 != pending & !1 {
            mark_dead(thread, space, (entry & !1).wrapping_add(offset));
        }
        let Ok(next) = next else { return };
        entry = next;
    }
    if pending != 0 {
        mark_dead(thread, space, (pending & !1).wrapping_add(offset));
    }
}

fn mark_dead(thread: &UserThread, space: &Space, address: u64) {
    let Ok(value) = space.load_u32(address) else {
        return;
    };
    if value & TID_MASK != thread.tid() {
        return;
    }
    let marked = space.update_u32(address, |value| value & WAITERS | OWNER_DIED);
    if marked.is_ok_and(|old| old & WAITERS != 0) {
        wake(space.private_futex_key(address), 1, ANY);
        if let Ok(key @ FutexKey::Shared { .. }) = space.futex_key(address) {
            wake(key, 1, ANY);
        }
    }
}
