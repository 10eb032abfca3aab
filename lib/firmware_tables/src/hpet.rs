//! [`Hpet`]: the event timer's description (HPET 1.0a, section 3.2.4).

use crate::table::{HEADER, checked};
use crate::{AddressSpace, GenericAddress, Signature, TableError};

/// Where the high precision event timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Physical address of its register block.
    pub address: u64,
    /// Number of this block.
    pub number: u8,
    /// Smallest tick count for periodic mode that loses no interrupt.
    pub minimum_tick: u16,
    /// Number of comparators.
    pub comparators: u8,
    /// Whether the main counter has 64 bits.
    pub is_64_bit: bool,
}

impl Hpet {
    pub(crate) fn parse(table: &[u8]) -> Result<Self, TableError> {
        let signature = Signature::HPET;
        let malformed = TableError::Malformed {
            signature,
            offset: HEADER,
        };
        let bytes = checked(table, signature, 56)?;
        let id = bytes.u32(36).ok_or(malformed)?;
        let address = GenericAddress::parse(bytes, 40)
            .filter(|register| register.space == AddressSpace::Memory)
            .ok_or(TableError::Malformed {
                signature,
                offset: 40,
            })?;
        Ok(Self {
            address: address.address,
            number: bytes.u8(52).ok_or(malformed)?,
            minimum_tick: bytes.u16(53).ok_or(malformed)?,
            comparators: (id >> 8 & 0x1f) as u8 + 1,
            is_64_bit: id >> 13 & 1 == 1,
        })
    }
}

#[cfg(test)]
pub(crate) fn example_body() -> std::vec::Vec<u8> {
    let mut body = std::vec![0; 20];
    body[..4].copy_from_slice(&0x8086_a201u32.to_le_bytes());
    body[8..16].copy_from_slice(&0xfed0_0000u64.to_le_bytes());
    body[17..19].copy_from_slice(&100u16.to_le_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::table;

    #[test]
    fn reads_the_block() {
        let hpet = Hpet::parse(&table(b"HPET", &example_body())).unwrap();
        let expected = Hpet {
            address: 0xfed0_0000,
            number: 0,
            minimum_tick: 100,
            comparators: 3,
            is_64_bit: true,
        };
        assert_eq!(hpet, expected);
    }

    #[test]
    fn refuses_ports_and_short_tables() {
        let mut body = example_body();
        body[4] = 1;
        let signature = Signature::HPET;
        let error = Hpet::parse(&table(b"HPET", &body)).unwrap_err();
        assert_eq!(
            error,
            TableError::Malformed {
                signature,
                offset: 40
            }
        );
        let error = Hpet::parse(&table(b"HPET", &body[..19])).unwrap_err();
        assert_eq!(
            error,
            TableError::Length {
                signature,
                length: 55
            }
        );
    }
}
