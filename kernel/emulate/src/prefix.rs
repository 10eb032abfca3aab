//! What precedes an opcode: [`Prefixes`]; and the input of every decoder:
//! [`Fetched`] bytes and the [`CodeSize`].
//!
//! AMD APM vol. 3, 1.2 "Instruction Prefixes". A REX prefix counts only right
//! before the opcode.

/// Default operand and address size of the code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, 16-bit protected mode.
    Bits16,
    /// 32-bit protected mode, and compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// The longest instruction there is.
const LONGEST: usize = 15;

/// Instruction bytes from guest memory.
///
/// The buffer has 16 bytes so that an index can be cut to it by a mask, with
/// no comparison: a decoder that runs off the end reads some byte of the
/// buffer, arrives at a length above 15, and [`Fetched::covers`] refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    bytes: [u8; 16],
    len: u8,
}

impl Fetched {
    /// The first 15 of `bytes`. Fewer are fine where the next page cannot be
    /// read; what would need more is then not decoded.
    pub fn new(bytes: &[u8]) -> Self {
        let mut fetched = Self {
            bytes: [0; 16],
            len: bytes.len().min(LONGEST) as u8,
        };
        let valid = usize::from(fetched.len);
        fetched.bytes[..valid].copy_from_slice(&bytes[..valid]);
        fetched
    }

    /// A whole buffer of which the first `len` bytes (15 at most) are valid:
    /// no copy of variable length.
    #[inline]
    pub fn from_array(bytes: [u8; 16], len: u8) -> Self {
        Self {
            bytes,
            len: len.min(LONGEST as u8),
        }
    }

    /// The valid bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The byte at `index`, valid or not: who uses it must end with
    /// [`Fetched::covers`].
    #[inline]
    pub(crate) fn at(&self, index: usize) -> u8 {
        self.bytes[index & 15]
    }

    /// `N` bytes at `index`, valid or not.
    #[inline]
    pub(crate) fn array<const N: usize>(&self, index: usize) -> [u8; N] {
        core::array::from_fn(|i| self.at(index + i))
    }

    /// The length as a result, if that many bytes were fetched.
    #[inline]
    pub(crate) fn covers(&self, length: usize) -> Option<u8> {
        (length <= usize::from(self.len)).then_some(length as u8)
    }
}

/// What a byte is in front of an opcode.
const OPCODE: u8 = 0;
const SEGMENT: u8 = 1 << 0;
const OPERAND: u8 = 1 << 1;
const ADDRESS: u8 = 1 << 2;
const LOCK: u8 = 1 << 3;
const REPEAT: u8 = 1 << 4;
const REX: u8 = 1 << 5;

const CLASSES: [u8; 256] = {
    let mut classes = [OPCODE; 256];
    classes[0x26] = SEGMENT;
    classes[0x2e] = SEGMENT;
    classes[0x36] = SEGMENT;
    classes[0x3e] = SEGMENT;
    classes[0x64] = SEGMENT;
    classes[0x65] = SEGMENT;
    classes[0x66] = OPERAND;
    classes[0x67] = ADDRESS;
    classes[0xf0] = LOCK;
    classes[0xf2] = REPEAT;
    classes[0xf3] = REPEAT;
    let mut byte = 0x40;
    while byte < 0x50 {
        classes[byte] = REX;
        byte += 1;
    }
    classes
};

/// The prefixes of an instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prefixes {
    /// Index of the opcode.
    pub(crate) opcode: usize,
    /// REX, or 0.
    pub(crate) rex: u8,
    /// Classes that were seen.
    seen: u8,
}

impl Prefixes {
    /// Scans the prefixes. Bytes that are nothing else end at 15.
    #[inline(always)]
    pub(crate) fn scan(fetched: &Fetched, size: CodeSize) -> Self {
        let mut prefixes = Self::default();
        while prefixes.opcode < LONGEST {
            let byte = fetched.at(prefixes.opcode);
            let class = CLASSES[usize::from(byte)];
            if class == OPCODE {
                break;
            }
            prefixes.rex = 0;
            if class == REX {
                if size != CodeSize::Bits64 {
                    break;
                }
                prefixes.rex = byte;
            }
            prefixes.seen |= class;
            prefixes.opcode += 1;
        }
        prefixes
    }

    /// LOCK was seen.
    #[inline]
    pub(crate) fn lock(&self) -> bool {
        self.seen & LOCK != 0
    }

    /// REP or REPNE was seen.
    #[inline]
    pub(crate) fn repeat(&self) -> bool {
        self.seen & REPEAT != 0
    }

    /// LOCK, REP or REPNE was seen.
    #[inline]
    pub(crate) fn lock_or_repeat(&self) -> bool {
        self.seen & (LOCK | REPEAT) != 0
    }

    /// Operand size in bytes, for opcodes that are not about bytes.
    #[inline]
    pub(crate) fn operand_size(&self, size: CodeSize) -> u8 {
        if self.rex & 8 != 0 {
            8
        } else if (self.seen & OPERAND != 0) == (size == CodeSize::Bits16) {
            4
        } else {
            2
        }
    }

    /// Address size in bytes.
    #[inline]
    pub(crate) fn address_size(&self, size: CodeSize) -> u8 {
        match (size, self.seen & ADDRESS != 0) {
            (CodeSize::Bits64, false) => 8,
            (CodeSize::Bits64, true) | (CodeSize::Bits32, false) | (CodeSize::Bits16, true) => 4,
            (CodeSize::Bits32, true) | (CodeSize::Bits16, false) => 2,
        }
    }

    /// Bytes of a ModRM byte at `index` with what follows it: SIB and
    /// displacement.
    #[inline]
    pub(crate) fn modrm_length(&self, fetched: &Fetched, index: usize, size: CodeSize) -> usize {
        let modrm = fetched.at(index);
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return 1;
        }
        if self.address_size(size) == 2 {
            return match mode {
                0 if rm != 6 => 1,
                1 => 2,
                _ => 3,
            };
        }
        let mut base = rm;
        let mut length = 1;
        if rm == 4 {
            base = fetched.at(index + 1) & 7;
            length = 2;
        }
        match mode {
            0 if base != 5 => length,
            1 => length + 1,
            _ => length + 4,
        }
    }
}
