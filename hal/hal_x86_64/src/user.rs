//! Reading and writing the memory of the program whose table is loaded.
//!
//! A fault inside the copy does not resolve anything: the copy stops and says
//! where, and the caller (`mem::Space`) maps the page and tries again.

use crate::layout::USER_END;
use crate::smap::{close_user_memory, open_user_memory};
use crate::trap::{Frame, PAGE_FAULT};
use core::arch::naked_asm;

/// A program's address that is not mapped, or not for this access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFault {
    /// The first address that could not be reached.
    pub addr: u64,
}

/// Copies from the program at `addr` into `to`.
#[inline]
pub fn copy_in(addr: u64, to: &mut [u8]) -> Result<(), UserFault> {
    check(addr, to.len())?;
    // SAFETY: `to` is the kernel's own and as long as said; the program's side
    // is checked to lie below the kernel, and faults there are fixed up.
    let left = unsafe { user_copy(to.as_mut_ptr(), addr as *const u8, to.len()) };
    done(addr, to.len(), left)
}

/// Copies `from` to the program at `addr`.
#[inline]
pub fn copy_out(addr: u64, from: &[u8]) -> Result<(), UserFault> {
    check(addr, from.len())?;
    // SAFETY: as `copy_in`, with the directions exchanged.
    let left = unsafe { user_copy(addr as *mut u8, from.as_ptr(), from.len()) };
    done(addr, from.len(), left)
}

/// Reads an aligned 32-bit word in one access.
#[inline]
pub fn load_u32(addr: u64) -> Result<u32, UserFault> {
    check(addr, 4)?;
    // SAFETY: the address lies below the kernel; a fault is fixed up.
    let result = unsafe { user_load(addr as *const u32) };
    if result < 0 {
        Err(UserFault { addr })
    } else {
        Ok(result as u32)
    }
}

/// Reads an aligned 64-bit word in one access.
#[inline]
pub fn load_u64(addr: u64) -> Result<u64, UserFault> {
    let mut bytes = [0; 8];
    copy_in(addr, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes an aligned 64-bit word.
#[inline]
pub fn store_u64(addr: u64, value: u64) -> Result<(), UserFault> {
    copy_out(addr, &value.to_le_bytes())
}

/// Replaces the aligned 32-bit word at `addr` by `new` if it is `old`; tells
/// what it was.
#[inline]
pub fn compare_exchange_u32(addr: u64, old: u32, new: u32) -> Result<u32, UserFault> {
    check(addr, 4)?;
    // SAFETY: the address lies below the kernel; a fault is fixed up.
    let result = unsafe { user_compare_exchange(addr as *mut u32, old, new) };
    if result < 0 {
        Err(UserFault { addr })
    } else {
        Ok(result as u32)
    }
}

#[inline]
fn check(addr: u64, len: usize) -> Result<(), UserFault> {
    match addr.checked_add(len as u64) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(UserFault {
            addr: addr.max(USER_END),
        }),
    }
}

#[inline]
fn done(addr: u64, len: usize, left: usize) -> Result<(), UserFault> {
    if left == 0 {
        Ok(())
    } else {
        Err(UserFault {
            addr: addr + (len - left) as u64,
        })
    }
}

/// Copies `len` bytes; returns how many were not copied. Eight bytes at a time,
/// then the rest singly. RCX counts down as `rep` goes, so it tells the
/// remainder at a fault.
#[unsafe(naked)]
unsafe extern "C" fn user_copy(to: *mut u8, from: *const u8, len: usize) -> usize {
    naked_asm!(
        open_user_memory!(),
        "mov rcx, rdx",
        "and edx, 7",
        "shr rcx, 3",
        "jz 2f",
        ".global user_copy_words",
        "user_copy_words:",
        "rep movsq",
        "2:",
        "mov ecx, edx",
        "test ecx, ecx",
        "jz 3f",
        ".global user_copy_bytes",
        "user_copy_bytes:",
        "rep movsb",
        "3:",
        close_user_memory!(),
        "xor eax, eax",
        "ret",
        ".global user_copy_words_fault",
        "user_copy_words_fault:",
        "lea rcx, [rdx + rcx*8]",
        // A word at the edge of a page: its first bytes may still be there.
        ".global user_copy_rest",
        "user_copy_rest:",
        "rep movsb",
        ".global user_copy_bytes_fault",
        "user_copy_bytes_fault:",
        close_user_memory!(),
        "mov rax, rcx",
        "ret",
    )
}

/// The word, or -1 at a fault.
#[unsafe(naked)]
unsafe extern "C" fn user_load(from: *const u32) -> i64 {
    naked_asm!(
        open_user_memory!(),
        ".global user_load_word",
        "user_load_word:",
        "mov eax, [rdi]",
        close_user_memory!(),
        "ret",
    )
}

/// What the word was, or -1 at a fault.
#[unsafe(naked)]
unsafe extern "C" fn user_compare_exchange(to: *mut u32, old: u32, new: u32) -> i64 {
    naked_asm!(
        open_user_memory!(),
        "mov eax, esi",
        ".global user_exchange_word",
        "user_exchange_word:",
        "lock cmpxchg [rdi], edx",
        "mov eax, eax",
        close_user_memory!(),
        "ret",
        ".global user_word_fault",
        "user_word_fault:",
        close_user_memory!(),
        "mov rax, -1",
        "ret",
    )
}

unsafe extern "C" {
    static user_copy_words: u8;
    static user_copy_bytes: u8;
    static user_copy_rest: u8;
    static user_copy_words_fault: u8;
    static user_copy_bytes_fault: u8;
    static user_load_word: u8;
    static user_exchange_word: u8;
    static user_word_fault: u8;
}

/// Sends a fault at one of the instructions above to its way out. False where
/// the fault is the kernel's own.
pub(crate) fn fix_up(frame: &mut Frame) -> bool {
    if frame.vector != PAGE_FAULT && frame.vector != 13 {
        return false;
    }
    let here = frame.rip as *const u8;
    let way_out = if here == &raw const user_copy_words {
        &raw const user_copy_words_fault
    } else if here == &raw const user_copy_bytes || here == &raw const user_copy_rest {
        &raw const user_copy_bytes_fault
    } else if here == &raw const user_load_word || here == &raw const user_exchange_word {
        &raw const user_word_fault
    } else {
        return false;
    };
    frame.rip = way_out as u64;
    true
}
