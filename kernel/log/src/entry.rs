//! [`Entry`]: one message of the log.

use core::fmt;

use log::Level;

use crate::Line;

/// One message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number: messages count from 0 without gaps.
    pub sequence: u64,
    /// Monotonic time when it was written, in ns.
    pub time_ns: u64,
    /// The world on whose behalf it was written; 0 for the kernel itself.
    pub world: u64,
    /// How important it is.
    pub level: Level,
    /// What it says.
    pub text: Line,
}

impl Entry {
    /// The entry as `/dev/kmsg` shows it.
    #[must_use]
    pub fn kmsg(&self) -> KmsgFormat<'_> {
        KmsgFormat(self)
    }

    /// The syslog severity of the level (RFC 5424, table 2).
    #[must_use]
    pub fn severity(&self) -> u8 {
        match self.level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        }
    }
}

/// For consoles: seconds since boot, then the text.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.time_ns / 1000;
        write!(f, "[{:5}.{:06}] ", us / 1_000_000, us % 1_000_000)?;
        match self.level {
            Level::Error => f.write_str("error: ")?,
            Level::Warn => f.write_str("warning: ")?,
            _ => {}
        }
        if self.world != 0 {
            write!(f, "world {}: ", self.world)?;
        }
        self.text.fmt(f)
    }
}

/// `severity,sequence,time in us,-;text`, control characters escaped, with a
/// newline at the end.
pub struct KmsgFormat<'a>(&'a Entry);

impl fmt::Display for KmsgFormat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(
            f,
            "{},{},{},-;",
            entry.severity(),
            entry.sequence,
            entry.time_ns / 1000
        )?;
        for character in entry.text.as_str().chars() {
            match character {
                '\\' | '\0'..' ' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
                _ => fmt::Write::write_char(f, character)?,
            }
        }
        f.write_str("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn entry(level: Level, world: u64) -> Entry {
        let text = Line::format(format_args!("two\nlines \\ é"));
        Entry {
            sequence: 7,
            time_ns: 12_345_678_901,
            world,
            level,
            text,
        }
    }

    #[test]
    fn consoles_show_time_level_and_world() {
        let shown = entry(Level::Warn, 12).to_string();
        assert_eq!(shown, "[   12.345678] warning: world 12: two\nlines \\ é");
        assert_eq!(
            entry(Level::Info, 0).to_string(),
            "[   12.345678] two\nlines \\ é"
        );
    }

    #[test]
    fn kmsg_is_one_escaped_line() {
        let shown = entry(Level::Error, 0).kmsg().to_string();
        assert_eq!(shown, "3,7,12345678,-;two\\x0alines \\x5c é\n");
    }
}
