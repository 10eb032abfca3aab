//! Segment registers with their hidden parts, as the VMCB holds them (APM
//! volume 2, 4.7 and 15.5.1). Main type: [`Segment`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A segment register; also used for GDTR and IDTR, where only `limit` and
/// `base` count.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attribute bits: see [`attribute`].
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

/// Bits of `Segment::attributes`: bits 8..15 and 20..23 of a descriptor's upper
/// half, moved together.
pub mod attribute {
    /// Type, 4 bits.
    pub const TYPE: u16 = 0xF;
    /// Code or data.
    pub const CODE_OR_DATA: u16 = 1 << 4;
    /// Shift of the privilege level.
    pub const DPL_SHIFT: u16 = 5;
    /// Present.
    pub const PRESENT: u16 = 1 << 7;
    /// Available to software.
    pub const AVAILABLE: u16 = 1 << 8;
    /// 64-bit code.
    pub const LONG: u16 = 1 << 9;
    /// Default size 32 bits.
    pub const BIG: u16 = 1 << 10;
    /// Limit counts pages.
    pub const GRANULARITY: u16 = 1 << 11;
}

/// The parts of the attributes, each in a field of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Type, 4 bits.
    pub kind: u8,
    /// Code or data.
    pub code_or_data: bool,
    /// Privilege level.
    pub dpl: u8,
    /// Present.
    pub present: bool,
    /// Available to software.
    pub available: bool,
    /// 64-bit code.
    pub long: bool,
    /// Default size 32 bits.
    pub big: bool,
    /// Limit counts pages.
    pub granularity: bool,
}

impl Attributes {
    /// The parts of packed attributes.
    #[must_use]
    pub const fn unpack(bits: u16) -> Self {
        Attributes {
            kind: (bits & attribute::TYPE) as u8,
            code_or_data: bits & attribute::CODE_OR_DATA != 0,
            dpl: (bits >> attribute::DPL_SHIFT & 3) as u8,
            present: bits & attribute::PRESENT != 0,
            available: bits & attribute::AVAILABLE != 0,
            long: bits & attribute::LONG != 0,
            big: bits & attribute::BIG != 0,
            granularity: bits & attribute::GRANULARITY != 0,
        }
    }

    /// The packed form.
    #[must_use]
    pub const fn pack(self) -> u16 {
        (self.kind as u16 & attribute::TYPE)
            | (self.code_or_data as u16) << 4
            | (self.dpl as u16 & 3) << attribute::DPL_SHIFT
            | (self.present as u16) << 7
            | (self.available as u16) << 8
            | (self.long as u16) << 9
            | (self.big as u16) << 10
            | (self.granularity as u16) << 11
    }
}

impl Segment {
    /// A data segment after reset or INIT.
    #[must_use]
    pub const fn reset_data() -> Self {
        Segment {
            selector: 0,
            attributes: 0x93,
            limit: 0xFFFF,
            base: 0,
        }
    }

    /// The code segment after reset.
    #[must_use]
    pub const fn reset_code() -> Self {
        Segment {
            selector: 0xF000,
            attributes: 0x9B,
            limit: 0xFFFF,
            base: 0xFFFF_0000,
        }
    }

    /// The code segment that a start-up IPI gives: page `page` in real mode.
    #[must_use]
    pub const fn startup_code(page: u8) -> Self {
        let selector = (page as u16) << 8;
        Segment {
            selector,
            attributes: 0x9B,
            limit: 0xFFFF,
            base: (page as u64) << 12,
        }
    }

    /// The local descriptor table after reset.
    #[must_use]
    pub const fn reset_ldt() -> Self {
        Segment {
            selector: 0,
            attributes: 0x82,
            limit: 0xFFFF,
            base: 0,
        }
    }

    /// The task register after reset.
    #[must_use]
    pub const fn reset_task() -> Self {
        Segment {
            selector: 0,
            attributes: 0x8B,
            limit: 0xFFFF,
            base: 0,
        }
    }

    /// GDTR and IDTR after reset.
    #[must_use]
    pub const fn reset_table() -> Self {
        Segment {
            selector: 0,
            attributes: 0,
            limit: 0xFFFF,
            base: 0,
        }
    }

    /// The privilege level in the attributes.
    #[must_use]
    pub const fn dpl(&self) -> u8 {
        (self.attributes >> attribute::DPL_SHIFT & 3) as u8
    }

    /// Whether the segment is 64-bit code.
    #[must_use]
    pub const fn is_long(&self) -> bool {
        self.attributes & attribute::LONG != 0
    }

    /// Whether the default operand size is 32 bits.
    #[must_use]
    pub const fn is_big(&self) -> bool {
        self.attributes & attribute::BIG != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_both_ways() {
        for bits in 0..1 << 12 {
            assert_eq!(Attributes::unpack(bits).pack(), bits);
        }
    }

    #[test]
    fn a_flat_64_bit_code_segment() {
        // Descriptor 00AF_9B00_0000_FFFF: access 9B, flags A.
        let parts = Attributes::unpack(0xA9B);
        assert!(parts.long && parts.granularity && parts.present && parts.code_or_data);
        assert!(!parts.big);
        assert_eq!((parts.kind, parts.dpl), (0xB, 0));
    }
}
