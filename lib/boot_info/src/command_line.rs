//! [`CommandLine`]: the text an operator gave the kernel at boot.

use core::fmt;

/// Longest command line kept, in bytes; the rest is cut off.
pub const MAX_COMMAND_LINE: usize = 1024;

/// A command line of words, some of them `key=value`.
#[derive(Clone)]
pub struct CommandLine {
    bytes: [u8; MAX_COMMAND_LINE],
    length: usize,
    truncated: bool,
}

impl CommandLine {
    /// A command line without words.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            bytes: [0; MAX_COMMAND_LINE],
            length: 0,
            truncated: false,
        }
    }

    /// Appends one byte; past [`MAX_COMMAND_LINE`] it is dropped and the line
    /// remembers that it was cut.
    pub(crate) fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(slot) => {
                *slot = byte;
                self.length += 1;
            }
            None => self.truncated = true,
        }
    }

    /// The text, up to the first byte that is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..self.length];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }

    /// Whether the loader's line was longer than [`MAX_COMMAND_LINE`].
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The words, split at white space.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.as_str().split_whitespace()
    }

    /// The value of the last word `key=value`; the last one wins so that a
    /// word appended by hand overrides what a boot entry says.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let split = self.words().filter_map(|word| word.split_once('='));
        split
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .last()
    }

    /// Whether `flag` stands on the line as a word of its own.
    #[must_use]
    pub fn has_flag(&self, flag: &str) -> bool {
        self.words().any(|word| word == flag)
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl From<&str> for CommandLine {
    fn from(text: &str) -> Self {
        let mut line = Self::empty();
        text.bytes().for_each(|byte| line.push(byte));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn last_value_wins_and_flags_are_whole_words() {
        let line = CommandLine::from("console=ttyS0 quiet  log=info log=debug noquiet2");
        assert_eq!(line.value("log"), Some("debug"));
        assert_eq!(line.value("lo"), None);
        assert!(line.has_flag("quiet"));
        assert!(!line.has_flag("noquiet"));
    }

    #[test]
    fn long_lines_are_cut_and_say_so() {
        let long: String = core::iter::repeat_n('x', MAX_COMMAND_LINE + 1).collect();
        let line = CommandLine::from(long.as_str());
        assert_eq!(line.as_str().len(), MAX_COMMAND_LINE);
        assert!(line.is_truncated());
        assert!(!CommandLine::from(&long[..MAX_COMMAND_LINE]).is_truncated());
    }

    #[test]
    fn text_ends_at_the_first_bad_byte() {
        let mut line = CommandLine::from("ok ");
        line.push(0xff);
        line.push(b'x');
        assert_eq!(line.as_str(), "ok ");
    }
}
