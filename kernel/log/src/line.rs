//! [`Line`]: the text of one message, of bounded length.

use core::fmt;

/// Longest text of a message in bytes; what is longer is cut.
pub const MAX_LINE: usize = 480;

const CUT: &str = "...";

/// A short text that is written without allocating.
#[derive(Clone)]
pub struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
    is_cut: bool,
}

impl Line {
    /// A line without text.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_LINE],
            length: 0,
            is_cut: false,
        }
    }

    /// A line of formatted text, without newlines at its end.
    #[must_use]
    pub fn format(arguments: fmt::Arguments<'_>) -> Self {
        let mut line = Self::new();
        // Writing into a Line never fails; a Display that reports an error
        // leaves what it wrote so far.
        let _ = fmt::write(&mut line, arguments);
        while line.as_str().ends_with('\n') {
            line.length -= 1;
        }
        line
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("invariant: a line holds whole characters")
    }

    /// The text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// A line of `length` bytes that `fill` writes.
    pub(crate) fn from_fill(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut line = Self {
            length: length.min(MAX_LINE),
            ..Self::new()
        };
        fill(&mut line.bytes[..line.length]);
        line
    }

    /// Takes as much of `text` as fits below `limit`, in whole characters.
    fn push(&mut self, text: &str, limit: usize) {
        let end = text.floor_char_boundary(limit - self.length);
        self.bytes[self.length..self.length + end].copy_from_slice(&text.as_bytes()[..end]);
        self.length += end;
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        if self.length + text.len() <= MAX_LINE - CUT.len() {
            self.push(text, MAX_LINE);
        } else {
            self.push(text, MAX_LINE - CUT.len());
            self.push(CUT, MAX_LINE);
            self.is_cut = true;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn newlines_at_the_end_go() {
        assert_eq!(Line::format(format_args!("a\nb\n\n")).as_str(), "a\nb");
    }

    proptest! {
        #[test]
        fn text_is_kept_or_cut_at_a_character(pieces in prop::collection::vec("\\PC{0,200}", 0..6)) {
            let whole: std::string::String = pieces.concat();
            let mut line = Line::new();
            for piece in &pieces {
                fmt::Write::write_str(&mut line, piece).unwrap();
            }
            if whole.len() <= MAX_LINE - CUT.len() {
                prop_assert_eq!(line.as_str(), whole);
            } else {
                let kept = line.as_str().strip_suffix(CUT).unwrap();
                prop_assert!(whole.starts_with(kept));
                prop_assert!(kept.len() + 4 + CUT.len() > MAX_LINE);
            }
        }
    }
}
