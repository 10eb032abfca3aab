//! User memory through the active page table, as a CPU would reach it: no fault
//! is resolved here; the caller does that and tries again.

use crate::mem::{self, Frame, PAGE_SIZE, Prot};
use crate::task;

/// An access that the page table does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault {
    /// The first byte that could not be accessed; all before it were.
    pub addr: u64,
}

fn reach(va: u64, need: Prot) -> Result<(Frame, usize), UserFault> {
    if va >= mem::USER_END {
        return Err(UserFault { addr: va });
    }
    let frame = task::table().and_then(|table| table.translate(va, need));
    frame
        .map(|frame| (frame, va as usize % PAGE_SIZE))
        .ok_or(UserFault { addr: va })
}

/// Reads `bytes.len()` bytes at `va`.
pub fn copy_in(va: u64, bytes: &mut [u8]) -> Result<(), UserFault> {
    let mut done = 0;
    while done < bytes.len() {
        let (frame, offset) = reach(va.wrapping_add(done as u64), Prot::READ)?;
        let part = (bytes.len() - done).min(PAGE_SIZE - offset);
        frame.read(offset, &mut bytes[done..done + part]);
        done += part;
    }
    Ok(())
}

/// Writes `bytes` at `va`.
pub fn copy_out(va: u64, bytes: &[u8]) -> Result<(), UserFault> {
    let mut done = 0;
    while done < bytes.len() {
        let (frame, offset) = reach(va.wrapping_add(done as u64), Prot::WRITE)?;
        let part = (bytes.len() - done).min(PAGE_SIZE - offset);
        frame.write(offset, &bytes[done..done + part]);
        done += part;
    }
    Ok(())
}

/// Stores `new` at `va` (a multiple of 4) if `old` is there; the value found.
pub fn compare_exchange_u32(va: u64, old: u32, new: u32) -> Result<u32, UserFault> {
    let (frame, offset) = reach(va, Prot::WRITE)?;
    Ok(frame.compare_exchange_u32(offset, old, new))
}

/// The word at `va`, a multiple of 4, in one load.
pub fn load_u32(va: u64) -> Result<u32, UserFault> {
    reach(va, Prot::READ).map(|(frame, offset)| frame.read_u32(offset))
}

/// Reads an aligned 64-bit word in one access.
pub fn load_u64(va: u64) -> Result<u64, UserFault> {
    let mut bytes = [0; 8];
    copy_in(va, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes an aligned 64-bit word.
pub fn store_u64(va: u64, value: u64) -> Result<(), UserFault> {
    copy_out(va, &value.to_le_bytes())
}
