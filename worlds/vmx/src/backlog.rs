//! The last output of the guest, for those who attach late: [`Backlog`].
//!
//! Bytes are numbered from the start of the VM; a reader keeps the number of
//! the next byte it wants. One that falls behind continues with the oldest
//! byte still there.

use std::collections::VecDeque;

/// Bytes that are kept.
pub const KEPT: usize = 64 << 10;

/// A bounded history of output.
#[derive(Default)]
pub struct Backlog {
    bytes: VecDeque<u8>,
    /// Number of the byte after the last.
    end: u64,
}

impl Backlog {
    /// Number of the oldest byte that is kept.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// Appends output, forgetting the oldest beyond [`KEPT`].
    pub fn extend(&mut self, bytes: &[u8]) {
        let fresh = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.bytes.len() + fresh.len()).saturating_sub(KEPT);
        self.bytes.drain(..excess);
        self.bytes.extend(fresh);
        self.end += bytes.len() as u64;
    }

    /// A run of bytes from number `position` on, and the number of its first
    /// byte, which is later than `position` if that was forgotten.
    pub fn read(&self, position: u64) -> (u64, &[u8]) {
        let position = position.max(self.start());
        let skip = (position - self.start()) as usize;
        let (front, back) = self.bytes.as_slices();
        let run = match skip.checked_sub(front.len()) {
            None => &front[skip..],
            Some(skip) => back.get(skip..).unwrap_or_default(),
        };
        (position, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(backlog: &Backlog, mut position: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let (start, run) = backlog.read(position);
            if run.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(run);
            position = start + run.len() as u64;
        }
    }

    #[test]
    fn a_late_reader_gets_what_is_kept() {
        let mut backlog = Backlog::default();
        let output: Vec<u8> = (0..KEPT + 1000).map(|i| i as u8).collect();
        for piece in output.chunks(777) {
            backlog.extend(piece);
        }
        assert_eq!(backlog.start(), 1000);
        assert_eq!(all(&backlog, 0), output[1000..]);
        assert_eq!(all(&backlog, 5000), output[5000..]);
        assert!(all(&backlog, output.len() as u64).is_empty());
    }

    #[test]
    fn a_piece_larger_than_the_history_keeps_its_end() {
        let mut backlog = Backlog::default();
        backlog.extend(&vec![1; KEPT]);
        backlog.extend(&vec![2; KEPT + 5]);
        assert_eq!(backlog.start(), KEPT as u64 + 5);
        assert_eq!(all(&backlog, 0), vec![2; KEPT]);
    }
}
