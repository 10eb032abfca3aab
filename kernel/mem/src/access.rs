//! The kernel's reads and writes of user memory.
//!
//! For the space that is active the CPU does the walking: a copy that faults is
//! resolved like a program's own fault and goes on from there. Another space's
//! pages are looked up one by one, and copied with its lock held, so that no
//! fork or unmapping falls between finding a frame and using it.

use alloc::vec::Vec;

use abi::Errno;
use hal::mem::{Frame, PAGE_SIZE};
use hal::user;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::area_map::reserve;
use crate::space::State;
use crate::{Access, FaultError, PAGE, Space, USER_END};

/// A word at the edge of a page may have been copied in part.
const OVERLAP: u64 = 8;
/// Bytes looked at in one go for the end of a string.
const STRING_PIECE: usize = 256;

fn errno(error: FaultError) -> Errno {
    match error {
        FaultError::OutOfMemory => Errno::ENOMEM,
        FaultError::NoArea | FaultError::Denied | FaultError::BusError => Errno::EFAULT,
    }
}

fn check(va: u64, len: usize) -> Result<(), Errno> {
    match va.checked_add(len as u64) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

impl Space {
    /// Reads `bytes.len()` bytes at `va`.
    ///
    /// # Errors
    /// EFAULT: not all of it can be read (some may have been). ENOMEM: no memory
    /// for a page.
    #[inline]
    pub fn read(&self, va: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        check(va, bytes.len())?;
        if !self.is_active() {
            return self.read_by_page(va, bytes);
        }
        match user::copy_in(va, bytes) {
            Ok(()) => Ok(()),
            Err(fault) => self.read_on(va, bytes, fault.addr),
        }
    }

    /// Writes `bytes` at `va`.
    ///
    /// # Errors
    /// EFAULT: not all of it can be written (some may have been). ENOMEM: no
    /// memory for a page.
    #[inline]
    pub fn write(&self, va: u64, bytes: &[u8]) -> Result<(), Errno> {
        check(va, bytes.len())?;
        if !self.is_active() {
            return self.write_by_page(va, bytes);
        }
        match user::copy_out(va, bytes) {
            Ok(()) => Ok(()),
            Err(fault) => self.write_on(va, bytes, fault.addr),
        }
    }

    #[cold]
    fn read_on(&self, va: u64, bytes: &mut [u8], mut fault: u64) -> Result<(), Errno> {
        loop {
            self.fault(fault, Access::Read).map_err(errno)?;
            let done = (fault - va).saturating_sub(OVERLAP);
            match user::copy_in(va + done, &mut bytes[done as usize..]) {
                Ok(()) => return Ok(()),
                Err(next) => fault = next.addr,
            }
        }
    }

    #[cold]
    fn write_on(&self, va: u64, bytes: &[u8], mut fault: u64) -> Result<(), Errno> {
        loop {
            self.fault(fault, Access::Write).map_err(errno)?;
            let done = (fault - va).saturating_sub(OVERLAP);
            match user::copy_out(va + done, &bytes[done as usize..]) {
                Ok(()) => return Ok(()),
                Err(next) => fault = next.addr,
            }
        }
    }

    fn read_by_page(&self, va: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let at = va + done as u64;
            let offset = (at % PAGE) as usize;
            let part = (bytes.len() - done).min(PAGE_SIZE - offset);
            let mut state = self.lock();
            let frame = state.reach(at, Access::Read).map_err(errno)?;
            frame.read(offset, &mut bytes[done..done + part]);
            done += part;
        }
        Ok(())
    }

    fn write_by_page(&self, va: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let at = va + done as u64;
            let offset = (at % PAGE) as usize;
            let part = (bytes.len() - done).min(PAGE_SIZE - offset);
            let mut state = self.lock();
            let frame = state.reach(at, Access::Write).map_err(errno)?;
            frame.write(offset, &bytes[done..done + part]);
            done += part;
        }
        Ok(())
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As [`Space::read`].
    #[inline]
    pub fn read_value<T: FromBytes + IntoBytes>(&self, va: u64) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read(va, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// As [`Space::write`].
    #[inline]
    pub fn write_value<T: IntoBytes + Immutable>(&self, va: u64, value: &T) -> Result<(), Errno> {
        self.write(va, value.as_bytes())
    }

    /// Reads a string up to, and without, its terminating zero.
    ///
    /// # Errors
    /// ENAMETOOLONG: `max` bytes and no zero. EFAULT: the memory ends before.
    pub fn read_cstr(&self, va: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        let mut piece = [0; STRING_PIECE];
        while string.len() < max {
            let at = va.checked_add(string.len() as u64).ok_or(Errno::EFAULT)?;
            // Never past the page: the next one need not exist.
            let room = PAGE_SIZE - (at % PAGE) as usize;
            let len = room.min(STRING_PIECE).min(max - string.len());
            let piece = &mut piece[..len];
            self.read(at, piece)?;
            let end = piece.iter().position(|&byte| byte == 0);
            let part = &piece[..end.unwrap_or(len)];
            reserve(&mut string, part.len()).map_err(|_| Errno::ENOMEM)?;
            string.extend_from_slice(part);
            if end.is_some() {
                return Ok(string);
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Loads the aligned word at `va` at once.
    ///
    /// # Errors
    /// EINVAL: not aligned; others as [`Space::read`].
    #[inline]
    pub fn load_u32(&self, va: u64) -> Result<u32, Errno> {
        check_word(va)?;
        if !self.is_active() {
            let mut state = self.lock();
            let frame = state.reach(va, Access::Read).map_err(errno)?;
            return Ok(frame.read_u32((va % PAGE) as usize));
        }
        loop {
            match user::load_u32(va) {
                Ok(word) => return Ok(word),
                Err(_) => self.fault(va, Access::Read).map_err(errno)?,
            }
        }
    }

    /// Replaces the aligned word at `va` by `new` if it is `old`; what it was.
    ///
    /// # Errors
    /// EINVAL: not aligned; others as [`Space::write`].
    pub fn compare_exchange_u32(&self, va: u64, old: u32, new: u32) -> Result<u32, Errno> {
        check_word(va)?;
        if !self.is_active() {
            let mut state = self.lock();
            let frame = state.reach(va, Access::Write).map_err(errno)?;
            return Ok(frame.compare_exchange_u32((va % PAGE) as usize, old, new));
        }
        loop {
            match user::compare_exchange_u32(va, old, new) {
                Ok(found) => return Ok(found),
                Err(_) => self.fault(va, Access::Write).map_err(errno)?,
            }
        }
    }

    /// Changes the aligned word at `va` by `change` at once; what it was.
    ///
    /// # Errors
    /// As [`Space::compare_exchange_u32`].
    pub fn update_u32(&self, va: u64, change: impl Fn(u32) -> u32) -> Result<u32, Errno> {
        let mut old = self.load_u32(va)?;
        loop {
            let found = self.compare_exchange_u32(va, old, change(old))?;
            if found == old {
                return Ok(old);
            }
            old = found;
        }
    }
}

#[inline]
fn check_word(va: u64) -> Result<(), Errno> {
    if !va.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    check(va, 4)
}

impl State {
    /// The frame behind `va`, after making `access` possible.
    pub(crate) fn reach(&mut self, va: u64, access: Access) -> Result<Frame, FaultError> {
        let page = va & !(PAGE - 1);
        if let Some(mapping) = self.table.lookup(page)
            && mapping.prot.contains(access.needs())
        {
            return Ok(mapping.frame);
        }
        self.fault(page, access)?;
        Ok(self.table.lookup(page).ok_or(FaultError::NoArea)?.frame)
    }
}
