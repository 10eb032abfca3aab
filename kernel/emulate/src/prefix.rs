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
pub(crate) const LONGEST: usize = 15;

/// Instruction bytes from guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    bytes: [u8; LONGEST],
    len: u8,
}

impl Fetched {
    /// The first 15 of `bytes`. Fewer are fine where the next page cannot be
    /// read; what would need more is then not decoded.
    pub fn new(bytes: &[u8]) -> Self {
        let mut fetched = Self {
            bytes: [0; LONGEST],
            len: bytes.len().min(LONGEST) as u8,
        };
        let valid = usize::from(fetched.len);
        fetched.bytes[..valid].copy_from_slice(&bytes[..valid]);
        fetched
    }

    /// A full buffer of which the first `len` bytes are valid: no copy of
    /// variable length.
    #[inline]
    pub fn from_array(bytes: [u8; LONGEST], len: u8) -> Self {
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
    pub(crate) fn at(&self, index: usize) -> Option<u8> {
        self.bytes.get(index).copied()
    }

    /// `N` bytes at `index`.
    #[inline]
    pub(crate) fn array<const N: usize>(&self, index: usize) -> Option<[u8; N]> {
        self.bytes.get(index..)?.first_chunk().copied()
    }

    /// The length as a result, if that many bytes were fetched.
    #[inline]
    pub(crate) fn covers(&self, length: usize) -> Option<u8> {
        (length <= usize::from(self.len)).then_some(length as u8)
    }
}

/// The prefixes of an instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prefixes {
    /// Index of the opcode.
    pub(crate) opcode: usize,
    /// REX, or 0.
    pub(crate) rex: u8,
    /// 0x66.
    pub(crate) operand: bool,
    /// 0x67.
    pub(crate) address: bool,
    /// 0xf0.
    pub(crate) lock: bool,
    /// 0xf3 or 0xf2.
    pub(crate) repeat: bool,
}

impl Prefixes {
    /// Scans the prefixes. `None` if nothing else comes.
    #[inline]
    pub(crate) fn scan(fetched: &Fetched, size: CodeSize) -> Option<Self> {
        let mut prefixes = Self::default();
        loop {
            let byte = fetched.at(prefixes.opcode)?;
            match byte {
                0x66 => prefixes.operand = true,
                0x67 => prefixes.address = true,
                0xf0 => prefixes.lock = true,
                0xf2 | 0xf3 => prefixes.repeat = true,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
                0x40..=0x4f if size == CodeSize::Bits64 => {
                    prefixes.rex = byte;
                    prefixes.opcode += 1;
                    continue;
                }
                _ => return Some(prefixes),
            }
            prefixes.rex = 0;
            prefixes.opcode += 1;
        }
    }

    /// Operand size in bytes, for opcodes that are not about bytes.
    #[inline]
    pub(crate) fn operand_size(&self, size: CodeSize) -> u8 {
        if self.rex & 8 != 0 {
            8
        } else if self.operand == (size == CodeSize::Bits16) {
            4
        } else {
            2
        }
    }

    /// Address size in bytes.
    #[inline]
    pub(crate) fn address_size(&self, size: CodeSize) -> u8 {
        match (size, self.address) {
            (CodeSize::Bits64, false) => 8,
            (CodeSize::Bits64, true) | (CodeSize::Bits32, false) | (CodeSize::Bits16, true) => 4,
            (CodeSize::Bits32, true) | (CodeSize::Bits16, false) => 2,
        }
    }

    /// Bytes of a ModRM byte at `index` with what follows it: SIB and
    /// displacement.
    #[inline]
    pub(crate) fn modrm_length(
        &self,
        fetched: &Fetched,
        index: usize,
        size: CodeSize,
    ) -> Option<usize> {
        let modrm = fetched.at(index)?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return Some(1);
        }
        if self.address_size(size) == 2 {
            return Some(match mode {
                0 if rm != 6 => 1,
                1 => 2,
                _ => 3,
            });
        }
        let mut base = rm;
        let mut length = 1;
        if rm == 4 {
            base = fetched.at(index + 1)? & 7;
            length = 2;
        }
        Some(match mode {
            0 if base != 5 => length,
            1 => length + 1,
            _ => length + 4,
        })
    }
}
