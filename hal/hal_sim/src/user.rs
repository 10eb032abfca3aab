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

fn reach<R>(va: u64, need: Prot, access: impl FnOnce(&Frame, usize) -> R) -> Result<R, UserFault> {
    let table = task::table().filter(|_| va < mem::USER_END);
    table
        .and_then(|table| table.access(va, need, access))
        .ok_or(UserFault { addr: va })
}

/// Calls `each` with the address and the part of the buffer of each page.
fn pieces(
    va: u64,
    len: usize,
    mut each: impl FnMut(u64, std::ops::Range<usize>) -> Result<(), UserFault>,
) -> Result<(), UserFault> {
    let mut done = 0;
    while done < len {
        let at = va.wrapping_add(done as u64);
        let part = (len - done).min(PAGE_SIZE - at as usize % PAGE_SIZE);
        each(at, done..done + part)?;
        done += part;
    }
    Ok(())
}

/// Copies from the program at `va` into `to`.
pub fn copy_in(va: u64, to: &mut [u8]) -> Result<(), UserFault> {
    pieces(va, to.len(), |at, part| {
        reach(at, Prot::READ, |frame, offset| {
            frame.read(offset, &mut to[part])
        })
    })
}

/// Copies `from` to the program at `va`.
pub fn copy_out(va: u64, from: &[u8]) -> Result<(), UserFault> {
    pieces(va, from.len(), |at, part| {
        reach(at, Prot::WRITE, |frame, offset| {
            frame.write(offset, &from[part])
        })
    })
}

/// Replaces the aligned 32-bit word at `va` by `new` if it is `old`; tells what
/// it was.
pub fn compare_exchange_u32(va: u64, old: u32, new: u32) -> Result<u32, UserFault> {
    reach(va, Prot::WRITE, |frame, offset| {
        frame.compare_exchange_u32(offset, old, new)
    })
}

/// Reads an aligned 32-bit word in one access.
pub fn load_u32(va: u64) -> Result<u32, UserFault> {
    reach(va, Prot::READ, |frame, offset| frame.read_u32(offset))
}

/// Reads an aligned 64-bit word in one access.
pub fn load_u64(va: u64) -> Result<u64, UserFault> {
    reach(va, Prot::READ, |frame, offset| frame.read_u64(offset))
}

/// Writes an aligned 64-bit word.
pub fn store_u64(va: u64, value: u64) -> Result<(), UserFault> {
    reach(va, Prot::WRITE, |frame, offset| {
        frame.write_u64(offset, value)
    })
}
