//! What page tables and CPU shall stop, done on purpose: for the kernel's tests of
//! itself. Each function but [`nmi_to_others`] ends the kernel where the
//! protection is there, and does no harm where it is not.

use crate::layout::{DIRECT_MAP, IMAGE, USER_END};
use crate::{apic, cpu};
use core::hint::black_box;

/// Stores to the kernel's text.
pub fn write_text() {
    rewrite(text());
}

/// Stores to the kernel's text where the direct map has it.
pub fn write_text_in_direct_map() {
    rewrite((text() as u64 - IMAGE + DIRECT_MAP) as *mut u8);
}

fn text() -> *mut u8 {
    write_text as *const () as *mut u8
}

fn rewrite(byte: *mut u8) {
    // SAFETY: text is mapped; should the store go through, it changes nothing.
    unsafe { byte.write_volatile(byte.read_volatile()) }
}

/// Calls a return instruction that stands in data.
pub fn execute_data() {
    static RETURN: [u8; 1] = [0xc3];
    call(RETURN.as_ptr());
}

/// As [`execute_data`], on the stack.
pub fn execute_stack() {
    let instruction = black_box([0xc3u8]);
    call(instruction.as_ptr());
}

fn call(instruction: *const u8) {
    // SAFETY: the instruction is a return, or a program's, which SMEP stops.
    let function: extern "C" fn() = unsafe { core::mem::transmute(instruction) };
    function();
}

/// Reads a byte of the program without saying so.
pub fn read_program(address: u64) -> u8 {
    assert!(address < USER_END, "invariant: an address of a program's");
    // SAFETY: should the load go through, the byte may have any value; a fault
    // ends the kernel.
    unsafe { (address as *const u8).read_volatile() }
}

/// Calls what a program has at `address`; returns where the CPU would let it, for
/// lack of SMEP.
pub fn execute_program(address: u64) {
    assert!(address < USER_END, "invariant: an address of a program's");
    if cpu::features().smep {
        call(address as *const u8);
    }
}

/// Sends every other CPU an NMI, which it has to survive.
pub fn nmi_to_others() {
    if cpu::count() > 1 {
        apic::send_nmi_to_others();
    }
}
