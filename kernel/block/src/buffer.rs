//! [`Buffer`]: the memory of a request.

/// Contiguous memory, by the address that devices use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub address: u64,
    /// Bytes, at least 1.
    pub length: u32,
}

/// Memory that stays where it is for as long as the buffer lives: a device
/// may be reading and writing it at any time until then.
pub trait Buffer: Send + Sync {
    /// Its pieces, in order. Always the same.
    fn pieces(&self) -> &[Piece];
}

/// The pieces of bytes `offset..offset + length` of a buffer, none longer
/// than `most`.
#[derive(Clone)]
pub(crate) struct Range<'a> {
    pieces: &'a [Piece],
    /// Bytes of the first piece that come before the range.
    skip: u64,
    left: u64,
    most: u32,
}

impl<'a> Range<'a> {
    pub fn new(pieces: &'a [Piece], offset: u64, length: u64, most: u32) -> Self {
        let (mut pieces, mut skip) = (pieces, offset);
        while let [first, rest @ ..] = pieces
            && skip >= u64::from(first.length)
        {
            skip -= u64::from(first.length);
            pieces = rest;
        }
        Self {
            pieces,
            skip,
            left: length,
            most,
        }
    }
}

impl Iterator for Range<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let (first, rest) = self.pieces.split_first().filter(|_| self.left > 0)?;
        let available = u64::from(first.length) - self.skip;
        let length = available.min(self.left).min(u64::from(self.most));
        let address = first.address + self.skip;
        self.left -= length;
        if length == available {
            (self.pieces, self.skip) = (rest, 0);
        } else {
            self.skip += length;
        }
        // At most the length of a piece, which has 32 bits.
        Some(Piece {
            address,
            length: length as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn ranges_agree_with_single_bytes(
            lengths in prop::collection::vec(1u32..20, 0..8),
            offset in 0u64..100,
            length in 0u64..100,
            most in 1u32..30,
        ) {
            let pieces: Vec<Piece> = (1..).zip(&lengths)
                .map(|(index, length)| Piece { address: index * 1000, length: *length })
                .collect();
            let bytes = |piece: &Piece| {
                (piece.address..piece.address + u64::from(piece.length)).collect::<Vec<_>>()
            };
            let all: Vec<u64> = pieces.iter().flat_map(bytes).collect();
            let expected: Vec<u64> =
                all.into_iter().skip(offset as usize).take(length as usize).collect();
            let range: Vec<Piece> = Range::new(&pieces, offset, length, most).collect();
            prop_assert!(range.iter().all(|piece| piece.length >= 1 && piece.length <= most));
            prop_assert_eq!(range.iter().flat_map(bytes).collect::<Vec<_>>(), expected);
        }
    }
}
