//! [`Discipline`]: the line discipline. It takes the driver's bytes one by one,
//! edits lines, finds signals and flow control, and says what to echo.
//!
//! Input that can be read is one queue. In canonical mode marks say where its
//! lines end; the line being edited is apart from it until it ends.

use crate::output::width;
use crate::{SIGINT, SIGQUIT, SIGTSTP};
use abi::tty::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ICANON, ICRNL, IEXTEN, IGNCR, IMAXBEL, INLCR,
    ISIG, ISTRIP, IUTF8, IXANY, IXON, NOFLSH, Termios, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL,
    VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VTIME, VWERASE,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes of input, and of one line.
pub(crate) const LIMIT: usize = 4096;

/// What a byte of input has led to.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// A signal for the foreground process group.
    pub signal: Option<u32>,
    /// Output that waits is to be dropped.
    pub flush_output: bool,
}

/// The line discipline's state.
pub struct Discipline {
    termios: Termios,
    /// Input that has been read so far, in bytes: where `queue` starts.
    consumed: u64,
    queue: VecDeque<u8>,
    /// Where lines end, counted like `consumed`.
    ends: VecDeque<u64>,
    /// The line being edited.
    line: Vec<u8>,
    /// Column of the cursor where the line began.
    line_column: usize,
    /// The next byte means itself.
    literal: bool,
    stopped: bool,
}

impl Discipline {
    /// With no input yet.
    #[must_use]
    pub fn new(termios: Termios) -> Self {
        Self {
            termios,
            consumed: 0,
            queue: VecDeque::new(),
            ends: VecDeque::new(),
            line: Vec::new(),
            line_column: 0,
            literal: false,
            stopped: false,
        }
    }

    /// The settings.
    #[must_use]
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. What was typed so far stays readable.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.is_canonical();
        self.termios = termios;
        if was_canonical && !self.is_canonical() {
            self.queue.extend(self.line.drain(..));
            self.ends.clear();
            self.literal = false;
        } else if !was_canonical && self.is_canonical() && !self.queue.is_empty() {
            self.end_line();
        }
        if !self.input_flag(IXON) {
            self.stopped = false;
        }
    }

    /// Is output stopped by ^S?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops or starts output.
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Drops all input.
    pub fn clear(&mut self) {
        self.consumed += self.queue.len() as u64;
        self.queue.clear();
        self.ends.clear();
        self.line.clear();
        self.literal = false;
    }

    pub(crate) fn is_canonical(&self) -> bool {
        self.local_flag(ICANON)
    }

    fn local_flag(&self, flag: u32) -> bool {
        self.termios.lflag & flag != 0
    }

    fn input_flag(&self, flag: u32) -> bool {
        self.termios.iflag & flag != 0
    }

    /// Is `byte` this control character? Zero means that it is disabled.
    fn is(&self, byte: u8, index: u32) -> bool {
        let control = self.termios.cc[index as usize];
        control != 0 && control == byte
    }

    pub(crate) fn min(&self) -> usize {
        usize::from(self.termios.cc[VMIN as usize])
    }

    /// Tenths of a second.
    pub(crate) fn time(&self) -> u64 {
        u64::from(self.termios.cc[VTIME as usize])
    }

    /// Bytes that a read would find.
    #[must_use]
    pub fn available(&self) -> usize {
        match self.ends.front() {
            _ if !self.is_canonical() => self.queue.len(),
            Some(end) => (end - self.consumed) as usize,
            None => 0,
        }
    }

    /// Would a read return now? (In canonical mode perhaps with an end of file.)
    #[must_use]
    pub fn is_readable(&self) -> bool {
        if self.is_canonical() {
            return !self.ends.is_empty();
        }
        // As poll(2) sees it: a time-out makes the first byte count.
        let least = if self.time() == 0 {
            self.min().max(1)
        } else {
            1
        };
        self.queue.len() >= least.min(LIMIT)
    }

    /// Bytes for `FIONREAD`.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Moves readable bytes into `into`; in canonical mode of one line only.
    /// Returns how many, and whether a line (or an end of file) ended with them.
    pub fn read(&mut self, into: &mut [u8]) -> (usize, bool) {
        let count = into.len().min(self.available());
        for (byte, slot) in self.queue.drain(..count).zip(into) {
            *slot = byte;
        }
        self.consumed += count as u64;
        let ended = self.ends.front() == Some(&self.consumed);
        if ended {
            self.ends.pop_front();
        }
        (count, ended)
    }

    fn end_line(&mut self) {
        self.queue.extend(self.line.drain(..));
        self.ends.push_back(self.consumed + self.queue.len() as u64);
    }

    /// Takes a byte from the driver. `column` is the cursor's; what is to be
    /// echoed goes to `echo`, unprocessed.
    pub fn input(&mut self, byte: u8, column: usize, echo: &mut Vec<u8>) -> Reaction {
        let byte = if self.input_flag(ISTRIP) {
            byte & 0x7f
        } else {
            byte
        };
        if self.line.is_empty() {
            self.line_column = column;
        }
        if core::mem::take(&mut self.literal) {
            self.insert(byte, echo);
            return Reaction::default();
        }
        if let Some(reaction) = self.control(byte, echo) {
            return reaction;
        }
        let byte = match byte {
            b'\r' if self.input_flag(IGNCR) => return Reaction::default(),
            b'\r' if self.input_flag(ICRNL) => b'\n',
            b'\n' if self.input_flag(INLCR) => b'\r',
            byte => byte,
        };
        if self.is_canonical() {
            self.edit(byte, echo);
        } else if self.queue.len() < LIMIT {
            self.echo(byte, echo);
            self.queue.push_back(byte);
        }
        Reaction::default()
    }

    /// Flow control and signals; `None` where the byte is neither.
    fn control(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<Reaction> {
        if self.input_flag(IXON) {
            if self.is(byte, VSTART) || self.is(byte, VSTOP) {
                // Where both are one character, it toggles.
                let both = self.is(byte, VSTART) && self.is(byte, VSTOP);
                self.stopped = if both {
                    !self.stopped
                } else {
                    self.is(byte, VSTOP)
                };
                return Some(Reaction::default());
            }
            if self.input_flag(IXANY) {
                self.stopped = false;
            }
        }
        if !self.local_flag(ISIG) {
            return None;
        }
        let signals = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        let (_, signal) = signals.iter().find(|(index, _)| self.is(byte, *index))?;
        let flush = !self.local_flag(NOFLSH);
        if flush {
            self.clear();
        }
        self.stopped = false;
        self.echo(byte, echo);
        Some(Reaction {
            signal: Some(*signal),
            flush_output: flush,
        })
    }

    fn edit(&mut self, byte: u8, echo: &mut Vec<u8>) {
        let extended = self.local_flag(IEXTEN);
        if self.is(byte, VERASE) {
            self.erase(1, echo);
        } else if self.is(byte, VKILL) {
            self.kill(byte, echo);
        } else if extended && self.is(byte, VWERASE) {
            self.erase_word(echo);
        } else if extended && self.is(byte, VLNEXT) {
            self.literal = true;
            if self.local_flag(ECHO) && self.local_flag(ECHOCTL) {
                echo.extend_from_slice(b"^\x08");
            }
        } else if extended && self.is(byte, VREPRINT) {
            self.reprint(byte, echo);
        } else if self.is(byte, VEOF) {
            self.end_line();
        } else if byte == b'\n' {
            if self.local_flag(ECHO) || self.local_flag(ECHONL) {
                echo.push(b'\n');
            }
            self.line.push(byte);
            self.end_line();
        } else if self.is(byte, VEOL) || extended && self.is(byte, VEOL2) {
            self.echo(byte, echo);
            self.line.push(byte);
            self.end_line();
        } else {
            self.insert(byte, echo);
        }
    }

    /// Adds an ordinary byte. One place is kept for the end of the line.
    fn insert(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.queue.len() + self.line.len() >= LIMIT - 1 {
            if self.input_flag(IMAXBEL) {
                echo.push(7);
            }
            return;
        }
        self.echo(byte, echo);
        if self.is_canonical() {
            self.line.push(byte);
        } else {
            self.queue.push_back(byte);
        }
    }

    fn echo(&self, byte: u8, echo: &mut Vec<u8>) {
        if self.local_flag(ECHO) {
            self.show(byte, echo);
        }
    }

    /// A byte as it is shown.
    fn show(&self, byte: u8, echo: &mut Vec<u8>) {
        if self.shows_caret(byte) {
            echo.extend_from_slice(&[b'^', byte ^ 0x40]);
        } else {
            echo.push(byte);
        }
    }

    fn shows_caret(&self, byte: u8) -> bool {
        let control = byte < 32 || byte == 127;
        control && self.local_flag(ECHOCTL) && byte != b'\t' && byte != b'\n'
    }

    /// Column after the first `len` bytes of the line.
    fn column_after(&self, len: usize) -> usize {
        self.line[..len]
            .iter()
            .fold(self.line_column, |column, byte| {
                let caret = self.shows_caret(*byte);
                column + if caret { 2 } else { width(*byte, column) }
            })
    }

    /// Removes characters from the end of the line.
    fn erase(&mut self, characters: usize, echo: &mut Vec<u8>) {
        let mut keep = self.line.len();
        for _ in 0..characters {
            keep = keep.saturating_sub(1);
            while self.input_flag(IUTF8) && keep > 0 && self.line[keep] & 0xc0 == 0x80 {
                keep -= 1;
            }
        }
        if keep == self.line.len() {
            return;
        }
        if self.local_flag(ECHO) {
            if self.local_flag(ECHOE) {
                let columns = self.column_after(self.line.len()) - self.column_after(keep);
                let tab = self.line[keep] == b'\t';
                for _ in 0..columns {
                    // Nothing was printed in the columns that a tab skipped.
                    echo.extend_from_slice(if tab { b"\x08" } else { b"\x08 \x08" });
                }
            } else {
                self.show(self.termios.cc[VERASE as usize], echo);
            }
        }
        self.line.truncate(keep);
    }

    fn erase_word(&mut self, echo: &mut Vec<u8>) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut seen_word = false;
        while let Some(last) = self.line.last().copied() {
            if seen_word && !is_word(last) {
                break;
            }
            seen_word |= is_word(last);
            self.erase(1, echo);
        }
    }

    fn kill(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if self.local_flag(ECHO) {
            if self.local_flag(ECHOK) && self.local_flag(ECHOKE) && self.local_flag(ECHOE) {
                while !self.line.is_empty() {
                    self.erase(1, echo);
                }
                return;
            }
            self.show(byte, echo);
            if self.local_flag(ECHOK) {
                echo.push(b'\n');
            }
        }
        self.line.clear();
    }

    fn reprint(&mut self, byte: u8, echo: &mut Vec<u8>) {
        if !self.local_flag(ECHO) {
            return;
        }
        self.show(byte, echo);
        echo.push(b'\n');
        self.line_column = 0;
        self.line.iter().for_each(|byte| self.show(*byte, echo));
    }
}
