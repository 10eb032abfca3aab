//! The operator's terminal: [`RawMode`] hands every key to the guest until it
//! is dropped, [`EscapeFilter`] picks the escape key out of what is typed.
#![forbid(unsafe_code)]

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The escape key: Ctrl-].
pub const ESCAPE: u8 = 0x1D;

/// A terminal in raw mode; dropping it restores what was before.
pub struct RawMode {
    fd: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts the terminal behind `fd` into raw mode; `None` if it is none.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter(fd: impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(&fd) {
            return Ok(None);
        }
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&fd, OptionalActions::Now, &raw)?;
        Ok(Some(Self {
            fd: fd.as_fd().try_clone_to_owned()?,
            before,
        }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.before);
    }
}

/// What typed bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A byte for the guest.
    Byte(u8),
    /// The escape key: a command key is to follow.
    Escape,
    /// The key after the escape key.
    Command(u8),
}

/// Splits typed bytes into those for the guest and commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct EscapeFilter {
    is_escaped: bool,
}

impl EscapeFilter {
    /// Takes the next byte. After the escape key one command key follows;
    /// the escape key itself, typed twice, goes to the guest once.
    pub fn next(&mut self, byte: u8) -> Typed {
        let was_escaped = std::mem::take(&mut self.is_escaped);
        match (was_escaped, byte) {
            (false, ESCAPE) => {
                self.is_escaped = true;
                Typed::Escape
            }
            (true, ESCAPE) | (false, _) => Typed::Byte(byte),
            (true, _) => Typed::Command(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Vec<Typed> {
        let mut filter = EscapeFilter::default();
        bytes.iter().map(|byte| filter.next(*byte)).collect()
    }

    #[test]
    fn a_key_after_the_escape_key_is_a_command() {
        let all = typed(&[b'a', ESCAPE, b'k', b'k']);
        assert_eq!(
            all,
            [
                Typed::Byte(b'a'),
                Typed::Escape,
                Typed::Command(b'k'),
                Typed::Byte(b'k')
            ]
        );
    }

    #[test]
    fn the_escape_key_twice_is_itself() {
        let all = typed(&[ESCAPE, ESCAPE, b'p']);
        assert_eq!(all, [Typed::Escape, Typed::Byte(ESCAPE), Typed::Byte(b'p')]);
    }

    #[test]
    fn a_file_is_no_terminal() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(RawMode::enter(&file).unwrap().is_none());
    }
}
