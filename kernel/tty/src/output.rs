//! [`Output`]: output processing (the `oflag` of termios(3)), and the bytes that
//! the driver has not taken yet.

use abi::tty::{OCRNL, ONLCR, ONLRET, ONOCR, OPOST, TAB3};
use alloc::collections::VecDeque;

/// Bytes on their way to the driver.
#[derive(Default)]
pub struct Output {
    pending: VecDeque<u8>,
    /// Column of the cursor, as far as it can be known.
    column: usize,
}

impl Output {
    /// Column of the cursor.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// Adds a byte, processed as `oflag` says.
    pub fn push(&mut self, byte: u8, oflag: u32) {
        if oflag & OPOST == 0 {
            self.put(byte);
            return;
        }
        match byte {
            b'\n' => {
                if oflag & ONLCR != 0 {
                    self.put(b'\r');
                }
                if oflag & (ONLCR | ONLRET) != 0 {
                    self.column = 0;
                }
                self.pending.push_back(b'\n');
            }
            b'\r' if oflag & ONOCR != 0 && self.column == 0 => {}
            b'\r' if oflag & OCRNL != 0 => {
                if oflag & ONLRET != 0 {
                    self.column = 0;
                }
                self.pending.push_back(b'\n');
            }
            b'\t' if oflag & TAB3 == TAB3 => {
                for _ in 0..8 - self.column % 8 {
                    self.put(b' ');
                }
            }
            byte => self.put(byte),
        }
    }

    fn put(&mut self, byte: u8) {
        self.column += width(byte, self.column);
        match byte {
            b'\r' => self.column = 0,
            8 => self.column = self.column.saturating_sub(1),
            _ => {}
        }
        self.pending.push_back(byte);
    }

    /// Gives what waits to `write`, which returns how many bytes it took.
    pub fn drain(&mut self, mut write: impl FnMut(&[u8]) -> usize) {
        loop {
            let (front, _) = self.pending.as_slices();
            if front.is_empty() {
                return;
            }
            let (offered, taken) = (front.len(), write(front).min(front.len()));
            self.pending.drain(..taken);
            if taken < offered {
                return;
            }
        }
    }
}

/// Columns that a byte takes at `column`.
pub(crate) fn width(byte: u8, column: usize) -> usize {
    match byte {
        b'\t' => 8 - column % 8,
        0..=31 | 127 => 0,
        // What follows the first byte of a character in UTF-8.
        0x80..=0xbf => 0,
        _ => 1,
    }
}
