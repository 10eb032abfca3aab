//! The serial console: what is written goes to the test's output, and what is
//! read was put there by [`type_in`].

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::machine::lock;

/// The ISA interrupt of the first serial port.
pub const ISA_IRQ: u8 = 4;

static INPUT: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());
static OUTPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes bytes.
pub fn write(bytes: &[u8]) {
    lock(&OUTPUT).extend_from_slice(bytes);
    print!("{}", String::from_utf8_lossy(bytes));
}

/// Writes bytes, whoever else is writing.
pub fn write_now(bytes: &[u8]) {
    write(bytes);
}

/// A byte that was typed, if there is one.
pub fn read() -> Option<u8> {
    lock(&INPUT).pop_front()
}

/// Input raises an interrupt from now on; the simulation's tests raise it.
pub fn enable_receive_interrupt() {}

/// Types `bytes` at the console.
pub fn type_in(bytes: &[u8]) {
    lock(&INPUT).extend(bytes);
}

/// Everything written so far, by all tests of the process.
#[must_use]
pub fn written() -> Vec<u8> {
    lock(&OUTPUT).clone()
}
