//! [`SleepType`]: the values that switch the machine off.
//!
//! They are an AML package named `_S5_` (ACPI 6.4, section 7.4.2). Its shape is
//! so narrow (a name, a package of integer constants) that it is read without
//! an interpreter; anything else than constants is not recognised.

/// What to write into the SLP_TYP fields of PM1a and PM1b control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepType {
    /// For PM1a control, 0 to 7.
    pub a: u8,
    /// For PM1b control, 0 to 7.
    pub b: u8,
}

const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;

impl SleepType {
    /// Finds `Name (\_S5, Package () {a, b, ...})` in AML bytes.
    #[must_use]
    pub fn find_s5(aml: &[u8]) -> Option<Self> {
        let mut rest = aml;
        while let Some(at) = rest.windows(4).position(|window| window == b"_S5_") {
            let (before, after) = (&rest[..at], &rest[at + 4..]);
            let named = matches!(before, [.., NAME_OP] | [.., NAME_OP, b'\\']);
            if let Some(found) = named.then(|| Self::parse_package(after)).flatten() {
                return Some(found);
            }
            rest = after;
        }
        None
    }

    fn parse_package(aml: &[u8]) -> Option<Self> {
        let (&PACKAGE_OP, rest) = aml.split_first()? else {
            return None;
        };
        // PkgLength: the top two bits of its first byte count the bytes that follow it.
        let extra = usize::from(rest.first()? >> 6);
        let (count, elements) = rest.get(1 + extra..)?.split_first()?;
        let (a, elements) = integer(elements)?;
        // A package of one value means the same for both registers.
        let b = if *count >= 2 { integer(elements)?.0 } else { a };
        let fits = *count >= 1 && a <= 7 && b <= 7;
        fits.then_some(Self {
            a: a as u8,
            b: b as u8,
        })
    }
}

/// An integer constant and what follows it (ACPI 6.4, section 20.2.3).
fn integer(aml: &[u8]) -> Option<(u64, &[u8])> {
    let (prefix, rest) = aml.split_first()?;
    let width = match prefix {
        0x00 => return Some((0, rest)),
        0x01 => return Some((1, rest)),
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_all_constant_forms() {
        let cases: [(&[u8], u8, u8); 5] = [
            (b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00", 0, 0),
            (b"xx\x08\\_S5_\x12\x07\x04\x01\x0a\x05\x00\x00", 1, 5),
            (b"\x08_S5_\x12\x09\x02\x0b\x07\x00\x0b\x03\x00", 7, 3),
            (b"\x08_S5_\x12\x40\x01\x02\x0a\x02\x0a\x03", 2, 3),
            (b"\x08_S5_\x12\x04\x01\x0a\x06", 6, 6),
        ];
        for (aml, a, b) in cases {
            assert_eq!(
                SleepType::find_s5(aml),
                Some(SleepType { a, b }),
                "{aml:x?}"
            );
        }
    }

    #[test]
    fn skips_mentions_that_are_not_the_package() {
        let aml =
            b"_S5_\x12\x06\x04\x01\x01\x08_S5_\x12\x06\x04\x0a\x08\x00\x08_S5_\x12\x04\x02\x01\x01";
        assert_eq!(SleepType::find_s5(aml), Some(SleepType { a: 1, b: 1 }));
        assert_eq!(SleepType::find_s5(b"\x08_S5_\x12\x06\x04\x70\x00"), None);
        assert_eq!(SleepType::find_s5(b"\x08_S5_"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_after_the_name(tail in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut aml = b"\x08_S5_\x12".to_vec();
            aml.extend(tail);
            if let Some(found) = SleepType::find_s5(&aml) {
                prop_assert!(found.a <= 7 && found.b <= 7);
            }
        }
    }
}
