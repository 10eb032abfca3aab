//! The kinds of instructions that cost more than icount says: [`Kind`].
//!
//! Encodings: AMD64 Architecture Programmer's Manual, volume 3, appendix A. The mode is not known here; bytes 40h
//! to 4Fh before an opcode are REX prefixes, as outside 64-bit mode they are whole instructions.

/// What is counted, by name.
pub const KINDS: [&str; 8] = [
    "vmrun",
    "vmload_vmsave",
    "msr",
    "cr_write",
    "xsave_xrstor",
    "invlpg",
    "iret",
    "rep",
];

/// What an instruction is to the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A round begins.
    Begin,
    /// It has ended.
    End,
    /// The last one counts.
    Publish,
    /// Counted under this index of [`KINDS`].
    Counted(usize),
}

/// Entering a guest.
pub const VMRUN: Kind = Kind::Counted(0);
const VMLOAD_VMSAVE: Kind = Kind::Counted(1);
const MSR: Kind = Kind::Counted(2);
const CR_WRITE: Kind = Kind::Counted(3);
const XSAVE_XRSTOR: Kind = Kind::Counted(4);
const INVLPG: Kind = Kind::Counted(5);
const IRET: Kind = Kind::Counted(6);
const REP: Kind = Kind::Counted(7);

impl Kind {
    /// The kind of the instruction with these bytes, if it is of any.
    pub fn of(bytes: &[u8]) -> Option<Kind> {
        match bytes {
            [0x0F, 0x1F, 0x80, 0x01, 0x4C, 0x53, 0x41] => return Some(Kind::Begin),
            [0x0F, 0x1F, 0x80, 0x02, 0x4C, 0x53, 0x41] => return Some(Kind::End),
            [0x0F, 0x1F, 0x80, 0x03, 0x4C, 0x53, 0x41] => return Some(Kind::Publish),
            _ => {}
        }
        let is_prefix = |byte: &u8| {
            matches!(
                byte,
                0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3
            )
        };
        let prefixes = bytes.iter().take_while(|byte| is_prefix(byte)).count();
        let repeats = bytes[..prefixes]
            .iter()
            .any(|byte| matches!(byte, 0xF2 | 0xF3));
        let mut rest = &bytes[prefixes..];
        if rest.len() > 1 && matches!(rest[0], 0x40..=0x4F) {
            rest = &rest[1..];
        }
        match *rest {
            [0x0F, second, ref operands @ ..] => Kind::of_two_bytes(second, operands),
            [0xCF] => Some(IRET),
            [0x6C..=0x6F | 0xA4..=0xA7 | 0xAA..=0xAF] if repeats => Some(REP),
            _ => None,
        }
    }

    fn of_two_bytes(second: u8, operands: &[u8]) -> Option<Kind> {
        let modrm = operands.first().copied().unwrap_or_default();
        let (is_memory, group) = (modrm < 0xC0, modrm >> 3 & 7);
        match (second, modrm) {
            (0x01, 0xD8) => Some(VMRUN),
            (0x01, 0xDA | 0xDB) => Some(VMLOAD_VMSAVE),
            (0x01, 0xDF) => Some(INVLPG),
            (0x01, _) if is_memory && group == 7 => Some(INVLPG),
            (0x22, _) => Some(CR_WRITE),
            (0x30 | 0x32, _) => Some(MSR),
            (0xAE, _) if is_memory && (4..=6).contains(&group) => Some(XSAVE_XRSTOR),
            (0xC7, _) if is_memory && (3..=5).contains(&group) => Some(XSAVE_XRSTOR),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_apart() {
        for (bytes, expected) in [
            (&[0x0F, 0x01, 0xD8][..], Some(VMRUN)),
            (&[0x0F, 0x01, 0xDA], Some(VMLOAD_VMSAVE)),
            (&[0x0F, 0x30], Some(MSR)),
            (&[0x0F, 0x22, 0xD8], Some(CR_WRITE)),
            (&[0x48, 0x0F, 0xAE, 0x27], Some(XSAVE_XRSTOR)),
            (&[0x0F, 0xAE, 0x2F], Some(XSAVE_XRSTOR)),
            (&[0x0F, 0x01, 0x38], Some(INVLPG)),
            (&[0x48, 0xCF], Some(IRET)),
            (&[0xF3, 0x48, 0xAB], Some(REP)),
            (&[0xF3, 0xA4], Some(REP)),
            // Their neighbours: LFENCE, STOSQ alone, LGDT, MOV from CR3, PAUSE, INC EAX.
            (&[0x0F, 0xAE, 0xE8], None),
            (&[0x48, 0xAB], None),
            (&[0x0F, 0x01, 0x10], None),
            (&[0x0F, 0x20, 0xD8], None),
            (&[0xF3, 0x90], None),
            (&[0x40], None),
        ] {
            assert_eq!(Kind::of(bytes), expected, "{bytes:02x?}");
        }
    }
}
