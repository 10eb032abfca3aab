//! The serial console: a 16550 at the first COM port (PC16550D data sheet).
//!
//! Output is polled and locked per call; input is taken by interrupt into the
//! hands of whoever registered for it (see `irq`).

use crate::port;
use sync::SpinLock;

const DATA: u16 = 0x3f8;
const INTERRUPT_ENABLE: u16 = DATA + 1;
const FIFO_CONTROL: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const MODEM_CONTROL: u16 = DATA + 4;
const LINE_STATUS: u16 = DATA + 5;

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// What the port is read as when nothing answers.
const ABSENT: u8 = 0xff;

/// The ISA interrupt line of the first serial port.
pub const ISA_IRQ: u8 = 4;

static PORT: SpinLock<()> = SpinLock::new(());

/// Sets 115200 baud, 8 data bits, FIFOs on.
pub(crate) fn init() {
    port::out8(INTERRUPT_ENABLE, 0);
    port::out8(LINE_CONTROL, 0x80);
    port::out8(DATA, 1);
    port::out8(INTERRUPT_ENABLE, 0);
    port::out8(LINE_CONTROL, 0x03);
    port::out8(FIFO_CONTROL, 0x07);
    port::out8(MODEM_CONTROL, 0x0b);
}

/// Writes `bytes` as they are.
pub fn write(bytes: &[u8]) {
    let _port = PORT.lock();
    bytes.iter().for_each(|&byte| put(byte));
}

/// Writes `bytes` without waiting for another CPU that is writing: for panics.
pub fn write_now(bytes: &[u8]) {
    let _port = PORT.try_lock();
    bytes.iter().for_each(|&byte| put(byte));
}

fn put(byte: u8) {
    let status = port::in8(LINE_STATUS);
    if status == ABSENT {
        return;
    }
    while port::in8(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {
        core::hint::spin_loop();
    }
    port::out8(DATA, byte);
}

/// The next received byte, if one is there.
pub fn read() -> Option<u8> {
    let status = port::in8(LINE_STATUS);
    (status != ABSENT && status & DATA_READY != 0).then(|| port::in8(DATA))
}

/// Lets received bytes raise the port's interrupt.
pub fn enable_receive_interrupt() {
    port::out8(INTERRUPT_ENABLE, 1);
}
