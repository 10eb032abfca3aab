//! Advisory locks: flock(2), and record locks owned by a process or by an open
//! file (fcntl(2)).
//!
//! Locks hang at the inode's number in one table, so that every file system has
//! them. Record locks of one owner never overlap: setting one replaces what the
//! owner had in the range.

use crate::{Errno, OpenFile, Result};
use abi::lock::{F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use sync::SpinLock;
use wait::WaitQueue;

/// Who holds a record lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A process: its descriptor table, and its id for `F_GETLK`.
    Process {
        /// [`crate::FdTable::lock_owner`].
        table: u64,
        /// Process id.
        pid: u32,
    },
    /// An open file (`F_OFD_SETLK`), by [`OpenFile::id`].
    OpenFile(u64),
}

impl Owner {
    fn is(self, other: Owner) -> bool {
        match (self, other) {
            (Self::Process { table: a, .. }, Self::Process { table: b, .. }) => a == b,
            _ => self == other,
        }
    }
}

/// A record lock: bytes `start` to `end`, the last included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Who holds it.
    pub owner: Owner,
    /// For writing, so shared with nobody?
    pub exclusive: bool,
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

impl Record {
    fn conflicts(&self, other: &Record) -> bool {
        !self.owner.is(other.owner)
            && (self.exclusive || other.exclusive)
            && self.start <= other.end
            && other.start <= self.end
    }
}

#[derive(Default)]
struct Held {
    records: Vec<Record>,
    /// flock: open file, exclusive.
    whole: Vec<(u64, bool)>,
}

#[derive(Default)]
struct FileLocks {
    held: SpinLock<Held>,
    queue: WaitQueue,
}

type Key = (u64, u64);

static TABLE: SpinLock<BTreeMap<Key, Arc<FileLocks>>> = SpinLock::new(BTreeMap::new());
/// Files in the table; spares everybody else the look.
static FILES: AtomicUsize = AtomicUsize::new(0);
/// Which process waits for which, for `EDEADLK`.
static WAITS: SpinLock<Vec<(Owner, Owner)>> = SpinLock::new(Vec::new());

fn key(file: &OpenFile) -> Key {
    let metadata = file.metadata();
    (metadata.device, metadata.inode)
}

fn locks_of(key: Key) -> Arc<FileLocks> {
    let mut table = TABLE.lock();
    let locks = table.entry(key).or_default().clone();
    FILES.store(table.len(), Ordering::Release);
    locks
}

/// Drops a file's entry once nobody holds or awaits a lock on it.
fn tidy(key: Key, locks: Arc<FileLocks>) {
    let mut table = TABLE.lock();
    let idle = {
        let held = locks.held.lock();
        held.records.is_empty() && held.whole.is_empty()
    };
    // The table and this call hold it; a waiter would too.
    if idle && Arc::strong_count(&locks) == 2 {
        table.remove(&key);
        FILES.store(table.len(), Ordering::Release);
    }
}

/// flock(2).
///
/// # Errors
/// `EINVAL`, `EAGAIN` with `LOCK_NB`, `ERESTART`.
pub fn flock(file: &OpenFile, operation: u32) -> Result<()> {
    let exclusive = match operation & !LOCK_NB {
        LOCK_SH => false,
        LOCK_EX => true,
        LOCK_UN => {
            unlock_whole(file);
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    file.has_locks.store(true, Ordering::Relaxed);
    let key = key(file);
    let locks = locks_of(key);
    // A change of kind gives the old lock up first, as on Linux.
    let had = forget_whole(&locks, file.id(), Some(exclusive));
    if had {
        locks.queue.wake_all();
    }
    let attempt = || try_whole(&locks, file.id(), exclusive).then_some(());
    let result = if attempt().is_some() {
        Ok(())
    } else if operation & LOCK_NB != 0 {
        Err(Errno::EAGAIN)
    } else {
        locks.queue.wait(None, attempt).map_err(Errno::from)
    };
    tidy(key, locks);
    result
}

/// Removes the lock of an open file unless it is of kind `keep`.
fn forget_whole(locks: &FileLocks, id: u64, keep: Option<bool>) -> bool {
    let mut held = locks.held.lock();
    let before = held.whole.len();
    held.whole
        .retain(|(holder, exclusive)| *holder != id || Some(*exclusive) == keep);
    held.whole.len() != before
}

fn try_whole(locks: &FileLocks, id: u64, exclusive: bool) -> bool {
    let mut held = locks.held.lock();
    if held
        .whole
        .iter()
        .any(|(holder, other)| *holder != id && (exclusive || *other))
    {
        return false;
    }
    if !held.whole.iter().any(|(holder, _)| *holder == id) {
        held.whole.push((id, exclusive));
    }
    true
}

fn unlock_whole(file: &OpenFile) {
    let key = key(file);
    let Some(locks) = TABLE.lock().get(&key).cloned() else {
        return;
    };
    if forget_whole(&locks, file.id(), None) {
        locks.queue.wake_all();
    }
    tidy(key, locks);
}

/// Sets, changes or (with `F_UNLCK`) removes a record lock. `end` is the last
/// byte. The caller has turned `whence` and the length into a range, and checked
/// that the file is open for what the lock is for.
///
/// # Errors
/// `EAGAIN` where it conflicts and `wait` is false; `EDEADLK`, `ERESTART`.
pub fn set_record(
    file: &OpenFile,
    owner: Owner,
    kind: i16,
    range: (u64, u64),
    wait: bool,
) -> Result<()> {
    let exclusive = match kind {
        F_RDLCK => false,
        F_WRLCK => true,
        F_UNLCK => {
            release_records(key(file), owner, range);
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    if matches!(owner, Owner::OpenFile(_)) {
        file.has_locks.store(true, Ordering::Relaxed);
    }
    let key = key(file);
    let locks = locks_of(key);
    let wanted = Record {
        owner,
        exclusive,
        start: range.0,
        end: range.1,
    };
    let result = match try_record(&locks, wanted) {
        Ok(()) => Ok(()),
        Err(_) if !wait => Err(Errno::EAGAIN),
        Err(_) => wait_record(&locks, wanted),
    };
    if result.is_ok() {
        // Turning a write lock into a read lock may let others in.
        locks.queue.wake_all();
    }
    tidy(key, locks);
    result
}

fn wait_record(locks: &FileLocks, wanted: Record) -> Result<()> {
    let waited = locks.queue.wait(None, || match try_record(locks, wanted) {
        Ok(()) => Some(Ok(())),
        Err(blocker) if note_wait(wanted.owner, blocker) => Some(Err(Errno::EDEADLK)),
        Err(_) => None,
    });
    WAITS.lock().retain(|(waiter, _)| !waiter.is(wanted.owner));
    waited?
}

/// Notes that `waiter` waits for `blocker`; true where that closes a circle.
fn note_wait(waiter: Owner, blocker: Owner) -> bool {
    let mut waits = WAITS.lock();
    waits.retain(|(known, _)| !known.is(waiter));
    let mut at = blocker;
    for _ in 0..=waits.len() {
        if at.is(waiter) {
            return true;
        }
        match waits.iter().find(|(known, _)| known.is(at)) {
            Some((_, next)) => at = *next,
            None => break,
        }
    }
    if matches!(waiter, Owner::Process { .. }) {
        waits.push((waiter, blocker));
    }
    false
}

fn try_record(locks: &FileLocks, wanted: Record) -> core::result::Result<(), Owner> {
    let mut held = locks.held.lock();
    if let Some(blocker) = held.records.iter().find(|record| record.conflicts(&wanted)) {
        return Err(blocker.owner);
    }
    cut(&mut held.records, wanted.owner, (wanted.start, wanted.end));
    held.records.push(wanted);
    Ok(())
}

/// Removes `range` from what `owner` holds. Returns whether anything changed.
fn cut(records: &mut Vec<Record>, owner: Owner, (start, end): (u64, u64)) -> bool {
    let mut pieces = Vec::new();
    let before = records.len();
    records.retain(|record| {
        if !record.owner.is(owner) || record.end < start || end < record.start {
            return true;
        }
        if record.start < start {
            pieces.push(Record {
                end: start - 1,
                ..*record
            });
        }
        if record.end > end {
            pieces.push(Record {
                start: end + 1,
                ..*record
            });
        }
        false
    });
    let changed = records.len() != before;
    records.append(&mut pieces);
    changed
}

fn release_records(key: Key, owner: Owner, range: (u64, u64)) {
    let Some(locks) = TABLE.lock().get(&key).cloned() else {
        return;
    };
    if cut(&mut locks.held.lock().records, owner, range) {
        locks.queue.wake_all();
    }
    tidy(key, locks);
}

/// A lock that keeps `wanted` from being set, if any (`F_GETLK`).
#[must_use]
pub fn find_conflict(file: &OpenFile, wanted: &Record) -> Option<Record> {
    let locks = TABLE.lock().get(&key(file)).cloned()?;
    let held = locks.held.lock();
    held.records
        .iter()
        .find(|record| record.conflicts(wanted))
        .copied()
}

/// A process has closed a descriptor of `file`: its record locks on it go.
pub(crate) fn release_process(table: u64, file: &OpenFile) {
    if FILES.load(Ordering::Acquire) != 0 {
        release_records(key(file), Owner::Process { table, pid: 0 }, (0, u64::MAX));
    }
}

/// An open file ends: its own locks go.
pub(crate) fn release_open_file(file: &OpenFile) {
    unlock_whole(file);
    release_records(key(file), Owner::OpenFile(file.id()), (0, u64::MAX));
}
