//! [`FdTable`]: a process's descriptors (open(2), dup(2), fcntl(2)).

use crate::{Errno, OpenFile, Result, locks};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    cloexec: bool,
}

#[derive(Clone, Default)]
struct Slots {
    list: Vec<Option<Slot>>,
    /// No descriptor below this one is free.
    first_free: usize,
}

/// A descriptor in use, for listings.
pub struct Installed {
    /// Its number.
    pub fd: i32,
    /// What it stands for.
    pub file: Arc<OpenFile>,
    /// Closed on exec?
    pub cloexec: bool,
}

/// A process's descriptors; threads share it with `CLONE_FILES`.
pub struct FdTable {
    /// Names the table as the owner of record locks.
    id: u64,
    slots: SpinLock<Slots>,
    /// RLIMIT_NOFILE.
    limit: AtomicU64,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl FdTable {
    /// No descriptors, and at most `limit`.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        let slots = SpinLock::new(Slots::default());
        Arc::new(Self {
            id: next_id(),
            slots,
            limit: AtomicU64::new(limit),
        })
    }

    /// A copy for fork.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        let slots = SpinLock::new(self.slots.lock().clone());
        let limit = AtomicU64::new(self.limit.load(Ordering::Relaxed));
        Arc::new(Self {
            id: next_id(),
            slots,
            limit,
        })
    }

    /// Sets RLIMIT_NOFILE.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The owner of the process's record locks.
    #[must_use]
    pub fn lock_owner(&self) -> u64 {
        self.id
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let slots = self.slots.lock();
        match slots.list.get(fd as u32 as usize) {
            Some(Some(slot)) => Ok(slot.file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Gives `file` the lowest free descriptor.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn install(&self, file: Arc<OpenFile>, cloexec: bool) -> Result<i32> {
        self.install_from(0, file, cloexec)
    }

    /// Gives `file` the lowest free descriptor from `least` on (`F_DUPFD`).
    ///
    /// # Errors
    /// `EINVAL` where `least` is out of range, `EMFILE`.
    pub fn install_from(&self, least: i32, file: Arc<OpenFile>, cloexec: bool) -> Result<i32> {
        let limit = self.limit.load(Ordering::Relaxed).min(i32::MAX as u64) as usize;
        let least = usize::try_from(least).map_err(|_| Errno::EINVAL)?;
        if least >= limit {
            return Err(if least == 0 {
                Errno::EMFILE
            } else {
                Errno::EINVAL
            });
        }
        let mut slots = self.slots.lock();
        let start = least.max(slots.first_free);
        let free = (start..slots.list.len())
            .find(|index| slots.list[*index].is_none())
            .unwrap_or(slots.list.len().max(start));
        if free >= limit {
            return Err(Errno::EMFILE);
        }
        if free >= slots.list.len() {
            slots.list.resize(free + 1, None);
        }
        slots.list[free] = Some(Slot { file, cloexec });
        if start == slots.first_free {
            slots.first_free = free + 1;
        }
        Ok(free as i32)
    }

    /// dup2(2) and dup3(2): makes `new` stand for what `old` does, closing what
    /// it stood for.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn duplicate_to(&self, old: i32, new: i32, cloexec: bool) -> Result<i32> {
        let file = self.get(old)?;
        let limit = self.limit.load(Ordering::Relaxed);
        let index = usize::try_from(new).map_err(|_| Errno::EBADF)?;
        if index as u64 >= limit {
            return Err(Errno::EBADF);
        }
        if old == new {
            return Ok(new);
        }
        let replaced = {
            let mut slots = self.slots.lock();
            if index >= slots.list.len() {
                slots.list.resize(index + 1, None);
            }
            slots.list[index].replace(Slot { file, cloexec })
        };
        if let Some(slot) = replaced {
            // dup2 loses the errors of the close it contains.
            let _ = self.finish_close(&slot.file);
        }
        Ok(new)
    }

    /// close(2). The descriptor is gone even where an error is returned.
    ///
    /// # Errors
    /// `EBADF`; those of the file.
    pub fn close(&self, fd: i32) -> Result<()> {
        let slot = {
            let mut slots = self.slots.lock();
            let index = fd as u32 as usize;
            let slot = slots
                .list
                .get_mut(index)
                .and_then(Option::take)
                .ok_or(Errno::EBADF)?;
            slots.first_free = slots.first_free.min(index);
            slot
        };
        self.finish_close(&slot.file)
    }

    fn finish_close(&self, file: &OpenFile) -> Result<()> {
        locks::release_process(self.id, file);
        file.file().flush()
    }

    /// close_range(2), or with `cloexec` only marking them.
    pub fn close_range(&self, first: u32, last: u32, cloexec: bool) {
        self.close_where(|fd, slot| {
            let inside = (first..=last).contains(&fd);
            if inside && cloexec {
                slot.cloexec = true;
            }
            inside && !cloexec
        });
    }

    /// Closes what is marked so, for execve(2).
    pub fn close_on_exec(&self) {
        self.close_where(|_, slot| slot.cloexec);
    }

    /// Closes everything, for exit.
    pub fn close_all(&self) {
        self.close_where(|_, _| true);
    }

    fn close_where(&self, mut condition: impl FnMut(u32, &mut Slot) -> bool) {
        let mut fd = 0;
        loop {
            // One at a time: what a file's end does needs the lock to be free.
            let victim = {
                let mut slots = self.slots.lock();
                let found =
                    slots
                        .list
                        .iter_mut()
                        .enumerate()
                        .skip(fd)
                        .find_map(|(index, entry)| {
                            let hit = entry
                                .as_mut()
                                .is_some_and(|slot| condition(index as u32, slot));
                            if hit {
                                Some((index, entry.take()?))
                            } else {
                                None
                            }
                        });
                let Some((index, slot)) = found else { break };
                slots.first_free = slots.first_free.min(index);
                fd = index + 1;
                slot
            };
            let _ = self.finish_close(&victim.file);
        }
    }

    /// Is the descriptor closed on exec? (`F_GETFD`)
    ///
    /// # Errors
    /// `EBADF`.
    pub fn cloexec(&self, fd: i32) -> Result<bool> {
        let slots = self.slots.lock();
        let slot = slots.list.get(fd as u32 as usize).and_then(Option::as_ref);
        slot.map(|slot| slot.cloexec).ok_or(Errno::EBADF)
    }

    /// Sets whether the descriptor is closed on exec (`F_SETFD`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Result<()> {
        let mut slots = self.slots.lock();
        let slot = slots
            .list
            .get_mut(fd as u32 as usize)
            .and_then(Option::as_mut);
        slot.ok_or(Errno::EBADF)?.cloexec = cloexec;
        Ok(())
    }

    /// Every descriptor in use.
    #[must_use]
    pub fn list(&self) -> Vec<Installed> {
        let slots = self.slots.lock();
        let used = slots.list.iter().enumerate();
        used.filter_map(|(fd, slot)| {
            let slot = slot.as_ref()?;
            Some(Installed {
                fd: fd as i32,
                file: slot.file.clone(),
                cloexec: slot.cloexec,
            })
        })
        .collect()
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.close_all();
    }
}
