//! [`Ring`]: the newest messages, in a fixed number of bytes.
//!
//! Positions count bytes ever written and never wrap, so a reader that was
//! overtaken sees it by comparing its position with the oldest one's.

use log::Level;

use crate::{Entry, Line, MAX_LINE};

/// Sequence, time, world, then level and length.
const HEADER: usize = 28;

/// Where a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    position: u64,
    sequence: u64,
}

impl Cursor {
    /// The number of the message that is read next.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// Messages in the order of writing; new ones push out the oldest.
pub struct Ring<const N: usize> {
    bytes: [u8; N],
    /// The oldest message.
    oldest: Cursor,
    /// Behind the newest message.
    end: Cursor,
}

impl<const N: usize> Ring<N> {
    /// A ring without messages.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N >= HEADER + MAX_LINE, "a ring holds at least one message") };
        let start = Cursor {
            position: 0,
            sequence: 0,
        };
        Self {
            bytes: [0; N],
            oldest: start,
            end: start,
        }
    }

    /// Appends a message; returns its number.
    pub fn append(&mut self, level: Level, time_ns: u64, world: u64, text: &Line) -> u64 {
        let length = (HEADER + text.as_bytes().len()) as u64;
        while self.end.position + length - self.oldest.position > N as u64 {
            let (_, passed) = self.header(self.oldest);
            self.oldest = passed;
        }
        let sequence = self.end.sequence;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&sequence.to_le_bytes());
        header[8..16].copy_from_slice(&time_ns.to_le_bytes());
        header[16..24].copy_from_slice(&world.to_le_bytes());
        header[24..26].copy_from_slice(&(text.as_bytes().len() as u16).to_le_bytes());
        header[26] = level as u8;
        self.put(self.end.position, &header);
        self.put(self.end.position + HEADER as u64, text.as_bytes());
        self.end = Cursor {
            position: self.end.position + length,
            sequence: sequence + 1,
        };
        sequence
    }

    /// Copies the message at `cursor`, or the oldest one if that is gone
    /// already, and moves the cursor behind it. `None` if all were read. A
    /// jump of [`Entry::sequence`] tells how many were lost.
    pub fn read(&self, cursor: &mut Cursor) -> Option<Entry> {
        let from = if cursor.position < self.oldest.position {
            self.oldest
        } else {
            *cursor
        };
        if from.position >= self.end.position {
            return None;
        }
        let (mut entry, next) = self.header(from);
        let length = (next.position - from.position) as usize - HEADER;
        let text = from.position + HEADER as u64;
        entry.text = Line::from_fill(length, |bytes| self.get(text, bytes));
        *cursor = next;
        Some(entry)
    }

    /// The oldest message's place.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        self.oldest
    }

    /// The place behind the newest message.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// The message at `at`, which there is, without its text; and where the
    /// next one begins.
    fn header(&self, at: Cursor) -> (Entry, Cursor) {
        let mut header = [0; HEADER];
        self.get(at.position, &mut header);
        let quad = |offset: usize| {
            header[offset..offset + 8]
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let length = u64::from(u16::from_le_bytes([header[24], header[25]]));
        let level = Level::iter()
            .find(|level| *level as u8 == header[26])
            .unwrap_or(Level::Info);
        let text = Line::new();
        let entry = Entry {
            sequence: quad(0),
            time_ns: quad(8),
            world: quad(16),
            level,
            text,
        };
        let position = at.position + HEADER as u64 + length;
        (
            entry,
            Cursor {
                position,
                sequence: quad(0) + 1,
            },
        )
    }

    fn put(&mut self, position: u64, from: &[u8]) {
        let start = (position % N as u64) as usize;
        let (first, second) = from.split_at(from.len().min(N - start));
        self.bytes[start..start + first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
    }

    fn get(&self, position: u64, into: &mut [u8]) {
        let start = (position % N as u64) as usize;
        let (first, second) = into.split_at_mut(into.len().min(N - start));
        first.copy_from_slice(&self.bytes[start..start + first.len()]);
        second.copy_from_slice(&self.bytes[..second.len()]);
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn line(text: &str) -> Line {
        Line::format(format_args!("{text}"))
    }

    #[test]
    fn a_reader_that_is_overtaken_sees_the_gap() {
        let mut ring = Ring::<600>::new();
        let mut cursor = Cursor::default();
        ring.append(Level::Info, 1, 0, &line("first"));
        assert_eq!(ring.read(&mut cursor).unwrap().sequence, 0);
        for _ in 0..3 {
            ring.append(Level::Warn, 2, 5, &line(&"x".repeat(400)));
        }
        let entry = ring.read(&mut cursor).unwrap();
        assert_eq!((entry.sequence, entry.time_ns, entry.world), (3, 2, 5));
        assert_eq!(entry.level, Level::Warn);
        assert!(ring.read(&mut cursor).is_none());
        assert_eq!(cursor, ring.end());
    }

    proptest! {
        /// The ring holds exactly the newest messages that fit.
        #[test]
        fn keeps_the_newest(
            steps in prop::collection::vec((0usize..200, 0usize..5, any::<bool>()), 1..200)
        ) {
            const SIZE: usize = 777;
            let mut ring = Ring::<SIZE>::new();
            let mut model: Vec<(String, Level)> = Vec::new();
            let mut cursor = Cursor::default();
            let mut read = 0;
            for (length, level, reads) in steps {
                let level = Level::iter().nth(level).unwrap();
                let text: String = ('a'..='z').cycle().skip(model.len()).take(length).collect();
                let sequence = ring.append(level, model.len() as u64 * 3, 9, &line(&text));
                prop_assert_eq!(sequence, model.len() as u64);
                model.push((text, level));
                let mut room = SIZE;
                let kept = model.iter().rev().take_while(|(text, _)| {
                    let fits = room >= text.len() + HEADER;
                    room = room.saturating_sub(text.len() + HEADER);
                    fits
                });
                let oldest = model.len() - kept.count();
                prop_assert_eq!(ring.oldest().sequence(), oldest as u64);
                if reads {
                    let entry = ring.read(&mut cursor).unwrap();
                    read = oldest.max(read);
                    prop_assert_eq!(entry.sequence, read as u64);
                    prop_assert_eq!(entry.time_ns, read as u64 * 3);
                    prop_assert_eq!(entry.text.as_str(), &model[read].0);
                    prop_assert_eq!(entry.level, model[read].1);
                    read += 1;
                }
            }
        }
    }
}
