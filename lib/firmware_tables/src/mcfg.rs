//! [`Mcfg`]: PCI Express configuration windows (PCI Firmware 3.3, section 4.1.2).

use alloc::vec::Vec;

use crate::bytes::Bytes;
use crate::table::{HEADER, checked};
use crate::{Signature, TableError};

/// The window of one range of buses: bus `b` of the range has its 1 MiB at
/// `base + (b << 20)`, whatever the range's first bus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamSegment {
    /// Physical address that bus 0 has or would have.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus of the range.
    pub first_bus: u8,
    /// Last bus of the range.
    pub last_bus: u8,
}

impl EcamSegment {
    fn parse(entry: Bytes<'_>) -> Option<Self> {
        Some(Self {
            base: entry.u64(0)?,
            segment: entry.u16(8)?,
            first_bus: entry.u8(10)?,
            last_bus: entry.u8(11)?,
        })
    }

    /// The window's physical bytes as `(start, length)`.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let buses = u64::from(self.last_bus) - u64::from(self.first_bus) + 1;
        (self.base + (u64::from(self.first_bus) << 20), buses << 20)
    }
}

/// All configuration windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcfg {
    /// The windows, in firmware's order.
    pub segments: Vec<EcamSegment>,
}

impl Mcfg {
    pub(crate) fn parse(table: &[u8]) -> Result<Self, TableError> {
        let signature = Signature::MCFG;
        checked(table, signature, HEADER + 8)?;
        let mut segments = Vec::new();
        for (index, entry) in table[HEADER + 8..].chunks_exact(16).enumerate() {
            let fits = |segment: &EcamSegment| {
                segment.first_bus <= segment.last_bus
                    && segment.base & 0xf_ffff == 0
                    && segment.base.checked_add(256 << 20).is_some()
            };
            let offset = HEADER + 8 + index * 16;
            let segment = EcamSegment::parse(Bytes(entry)).filter(fits);
            segments.push(segment.ok_or(TableError::Malformed { signature, offset })?);
        }
        Ok(Self { segments })
    }
}

#[cfg(test)]
pub(crate) fn example_body() -> std::vec::Vec<u8> {
    let mut body = std::vec![0; 24];
    body[8..16].copy_from_slice(&0xb000_0000u64.to_le_bytes());
    body[19] = 255;
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::table;

    #[test]
    fn reads_the_window() {
        let mcfg = Mcfg::parse(&table(b"MCFG", &example_body())).unwrap();
        assert_eq!(mcfg.segments[0].window(), (0xb000_0000, 256 << 20));
        let part = EcamSegment {
            base: 0xe000_0000,
            segment: 0,
            first_bus: 2,
            last_bus: 3,
        };
        assert_eq!(part.window(), (0xe020_0000, 2 << 20));
    }

    #[test]
    fn refuses_impossible_windows() {
        for (offset, value) in [(18, 0xff), (8, 0x01)] {
            let mut body = example_body();
            body[19] = 3;
            body[offset] = value;
            let error = Mcfg::parse(&table(b"MCFG", &body)).unwrap_err();
            assert_eq!(
                error,
                TableError::Malformed {
                    signature: Signature::MCFG,
                    offset: 44
                }
            );
        }
        let mut body = example_body();
        body[8..16].copy_from_slice(&0xffff_ffff_fff0_0000u64.to_le_bytes());
        assert!(Mcfg::parse(&table(b"MCFG", &body)).is_err());
    }
}
