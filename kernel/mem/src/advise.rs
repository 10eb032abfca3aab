//! madvise(2).

use core::ops::Range;

use abi::Errno;

use crate::area::{Area, AreaFlags, Backing};
use crate::map::no_memory;
use crate::space::{PIECE, State, pages};
use crate::{Access, FaultError, PAGE, Space, preempt};

/// What a program advises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// How it will access, or that it will soon; changes nothing here.
    Hint,
    /// The contents are not needed any more; private pages become zeros or the
    /// object's again.
    DontNeed,
    /// The contents may go. They go at once.
    Free,
    /// The object's pages are to be given back.
    Remove,
    /// A forked child does not get the range, or does again.
    DontFork(bool),
    /// A forked child finds zeros, or the contents again.
    WipeOnFork(bool),
    /// Fault in for reading, or for writing.
    Populate(Access),
}

impl Advice {
    /// The advice with the number of madvise(2), if it is known. Page merging
    /// (MADV_MERGEABLE) is not.
    #[must_use]
    pub fn from_abi(number: i32) -> Option<Self> {
        Some(match number {
            // NORMAL, RANDOM, SEQUENTIAL, WILLNEED
            0..=3 => Self::Hint,
            4 => Self::DontNeed,
            8 => Self::Free,
            9 => Self::Remove,
            10 => Self::DontFork(true),
            11 => Self::DontFork(false),
            // HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP
            14..=17 => Self::Hint,
            18 => Self::WipeOnFork(true),
            19 => Self::WipeOnFork(false),
            // COLD, PAGEOUT
            20 | 21 => Self::Hint,
            22 => Self::Populate(Access::Read),
            23 => Self::Populate(Access::Write),
            _ => return None,
        })
    }
}

impl Space {
    /// Takes advice about the pages of `len` bytes at `start` (madvise(2)).
    ///
    /// # Errors
    /// EINVAL: not a range of user pages, or not for mappings of this kind.
    /// ENOMEM: not all of it is mapped (what is, is done), or no memory. EFAULT:
    /// populating failed. EOPNOTSUPP: the object cannot give pages back.
    pub fn madvise(&self, start: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        let range = pages(start, len).ok_or(Errno::EINVAL)?;
        match advice {
            Advice::DontNeed | Advice::Free => self.discard(&range, advice == Advice::Free),
            Advice::Populate(access) => self.populate_all(&range, access),
            Advice::Hint => self.lock().check_mapped(&range),
            Advice::Remove => {
                let state = self.lock();
                state.check_each(&range, |area| area.has(AreaFlags::SHARED))?;
                Err(Errno::EOPNOTSUPP)
            }
            Advice::DontFork(on) => self.lock().set_flag(&range, AreaFlags::DONT_FORK, on),
            Advice::WipeOnFork(on) => {
                let mut state = self.lock();
                state.check_each(&range, |area| !on || is_private_memory(area))?;
                state.set_flag(&range, AreaFlags::WIPE_ON_FORK, on)
            }
        }
    }

    fn discard(&self, range: &Range<u64>, only_private_memory: bool) -> Result<(), Errno> {
        if only_private_memory {
            self.lock().check_each(range, is_private_memory)?;
        }
        if range.end - range.start > PIECE {
            self.zap_in_pieces(range);
            return self.lock().check_mapped(range);
        }
        let mut state = self.lock();
        state.zap(range);
        state.check_mapped(range)
    }

    fn populate_all(&self, range: &Range<u64>, access: Access) -> Result<(), Errno> {
        for page in range.clone().step_by(PAGE as usize) {
            self.fault(page, access).map_err(|error| match error {
                FaultError::NoArea | FaultError::OutOfMemory => Errno::ENOMEM,
                FaultError::Denied => Errno::EINVAL,
                FaultError::BusError => Errno::EFAULT,
            })?;
            if page & (PIECE / 16 - 1) == 0 {
                preempt::point();
            }
        }
        Ok(())
    }

    /// Checks that all pages of `len` bytes at `start` are mapped, as msync(2)
    /// and mlock(2) want.
    ///
    /// # Errors
    /// EINVAL: not a range of user pages. ENOMEM: there are gaps.
    pub fn check_mapped(&self, start: u64, len: u64) -> Result<(), Errno> {
        let range = pages(start, len).ok_or(Errno::EINVAL)?;
        self.lock().check_mapped(&range)
    }
}

fn is_private_memory(area: &Area) -> bool {
    matches!(area.backing, Backing::Anonymous)
}

impl State {
    pub(crate) fn check_mapped(&self, range: &Range<u64>) -> Result<(), Errno> {
        if self.bytes_in(range) == range.end - range.start {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    fn check_each(&self, range: &Range<u64>, allows: impl Fn(&Area) -> bool) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let all = self
            .areas
            .slice(self.areas.touching(range))
            .iter()
            .all(allows);
        if all { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn set_flag(&mut self, range: &Range<u64>, flag: AreaFlags, on: bool) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        let inside = self.areas.touching(range);
        self.areas
            .prepare_cuts(range, inside.clone())
            .map_err(no_memory)?;
        let inside = self.areas.carve(range, inside);
        for index in inside.clone() {
            self.areas.at_mut(index).flags.set(flag, on);
        }
        for index in (inside.start..=inside.end).rev() {
            self.areas.join(index);
        }
        self.check_mapped(range)
    }
}
