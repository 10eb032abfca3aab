//! Plain moves between a register (or a constant) and memory: [`Simple`].
//!
//! Of a nested page fault the address is known, so only the length, the size
//! and the register are of interest, and those a hand-written decoder finds in
//! a few dozen instructions. Forms: MOV 88, 89, 8A, 8B, A0-A3, C6/0, C7/0;
//! MOVZX 0F B6, B7; MOVSX 0F BE, BF; MOVSXD 63 with REX.W. With LOCK or a
//! repeat prefix it leaves the instruction to the full decoder.

use crate::cpu::Cpu;
use crate::prefix::{CodeSize, Fetched, Prefixes};

/// A general-purpose register, or one of AH, CH, DH, BH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// 0 (RAX) to 15 (R15).
    pub number: u8,
    /// Bits 15:8 of it.
    pub high: bool,
}

impl Register {
    /// The register of a field; for bytes without REX, 4 to 7 are the high
    /// halves of 0 to 3.
    #[inline]
    fn from_field(field: u8, size: u8, rex: u8) -> Self {
        if size == 1 && rex == 0 {
            return Self {
                number: field & 3,
                high: field & 4 != 0,
            };
        }
        Self {
            number: field | (rex & 4) << 1,
            high: false,
        }
    }

    /// The low `size` bytes.
    #[inline]
    pub fn read(self, cpu: &impl Cpu, size: u8) -> u64 {
        let value = cpu.gpr(self.number);
        mask(if self.high { value >> 8 } else { value }, size)
    }

    /// Writes `size` bytes: one and two leave the rest alone, four clear it.
    #[inline]
    pub fn write(self, cpu: &mut impl Cpu, size: u8, value: u64) {
        let value = mask(value, size);
        let new = match size {
            8 | 4 => value,
            2 => cpu.gpr(self.number) & !0xffff | value,
            _ if self.high => cpu.gpr(self.number) & !0xff00 | value << 8,
            _ => cpu.gpr(self.number) & !0xff | value,
        };
        cpu.set_gpr(self.number, new);
    }
}

/// The low `size` bytes of `value`.
#[inline]
pub(crate) fn mask(value: u64, size: u8) -> u64 {
    match size {
        1 => value & 0xff,
        2 => value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    }
}

/// `value` of `size` bytes, sign-extended to 64 bits.
#[inline]
pub(crate) fn sign_extend(value: u64, size: u8) -> u64 {
    match size {
        1 => value as i8 as u64,
        2 => value as i16 as u64,
        4 => value as i32 as u64,
        _ => value,
    }
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From memory to a register of `width` bytes, extended.
    Load {
        /// The register.
        to: Register,
        /// Its width.
        width: u8,
        /// Extended with the sign, not with zeros.
        signed: bool,
    },
    /// From a register to memory.
    Store(Register),
    /// A constant to memory.
    StoreConstant(u64),
}

/// A decoded move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simple {
    /// Bytes of the instruction.
    pub length: u8,
    /// Bytes of memory: 1, 2, 4 or 8.
    pub size: u8,
    /// Which way, and from or to where.
    pub direction: Direction,
}

impl Simple {
    /// What a store writes; `None` for a load.
    #[inline]
    pub fn stored(&self, cpu: &impl Cpu) -> Option<u64> {
        match self.direction {
            Direction::Store(register) => Some(register.read(cpu, self.size)),
            Direction::StoreConstant(value) => Some(value),
            Direction::Load { .. } => None,
        }
    }

    /// Puts what a load has read into its register; nothing for a store.
    #[inline]
    pub fn load(&self, cpu: &mut impl Cpu, value: u64) {
        if let Direction::Load { to, width, signed } = self.direction {
            let value = if signed {
                sign_extend(value, self.size)
            } else {
                mask(value, self.size)
            };
            to.write(cpu, width, value);
        }
    }
}

/// Decodes a plain move from or to memory; `None` for anything else.
#[inline]
pub fn decode_simple(fetched: &Fetched, size: CodeSize) -> Option<Simple> {
    let prefixes = Prefixes::scan(fetched, size);
    if prefixes.lock_or_repeat() {
        return None;
    }
    let opcode = fetched.at(prefixes.opcode);
    let wide = prefixes.operand_size(size);
    let operand = if opcode & 1 == 0 { 1 } else { wide };
    match opcode {
        0x88..=0x8b => {
            let register = |field| Register::from_field(field, operand, prefixes.rex);
            let (field, length) = memory_operand(fetched, &prefixes, size, 1)?;
            let direction = if opcode & 2 == 0 {
                Direction::Store(register(field))
            } else {
                plain_load(register(field), operand)
            };
            finish(fetched, length, operand, direction)
        }
        0xc6 | 0xc7 => store_constant(fetched, &prefixes, size, operand),
        0x0f => extend(fetched, &prefixes, size, wide),
        0x63 if prefixes.rex & 8 != 0 => {
            let (field, length) = memory_operand(fetched, &prefixes, size, 1)?;
            let to = Register::from_field(field, 8, prefixes.rex);
            finish(fetched, length, 4, extending_load(to, 8, true))
        }
        0xa0..=0xa3 => {
            let length = prefixes.opcode + 1 + usize::from(prefixes.address_size(size));
            let accumulator = Register {
                number: 0,
                high: false,
            };
            let direction = if opcode & 2 == 0 {
                plain_load(accumulator, operand)
            } else {
                Direction::Store(accumulator)
            };
            finish(fetched, length, operand, direction)
        }
        _ => None,
    }
}

#[inline]
fn plain_load(to: Register, width: u8) -> Direction {
    extending_load(to, width, false)
}

#[inline]
fn extending_load(to: Register, width: u8, signed: bool) -> Direction {
    Direction::Load { to, width, signed }
}

#[inline]
fn finish(fetched: &Fetched, length: usize, size: u8, direction: Direction) -> Option<Simple> {
    Some(Simple {
        length: fetched.covers(length)?,
        size,
        direction,
    })
}

/// The register field of the ModRM byte behind `opcode_length` bytes of
/// opcode, and where its operand ends; `None` if that is a register.
#[inline]
fn memory_operand(
    fetched: &Fetched,
    prefixes: &Prefixes,
    size: CodeSize,
    opcode_length: usize,
) -> Option<(u8, usize)> {
    let index = prefixes.opcode + opcode_length;
    let modrm = fetched.at(index);
    if modrm >= 0xc0 {
        return None;
    }
    let length = prefixes.modrm_length(fetched, index, size);
    Some((modrm >> 3 & 7, index + length))
}

fn store_constant(
    fetched: &Fetched,
    prefixes: &Prefixes,
    size: CodeSize,
    operand: u8,
) -> Option<Simple> {
    let (0, end) = memory_operand(fetched, prefixes, size, 1)? else {
        return None;
    };
    let (constant, length) = match operand {
        1 => (u64::from(fetched.at(end)), 1),
        2 => (u64::from(u16::from_le_bytes(fetched.array(end))), 2),
        _ => {
            let constant = i32::from_le_bytes(fetched.array(end));
            (mask(constant as u64, operand), 4)
        }
    };
    finish(
        fetched,
        end + length,
        operand,
        Direction::StoreConstant(constant),
    )
}

/// 0F B6, B7, BE, BF: MOVZX and MOVSX from a byte or a word.
fn extend(fetched: &Fetched, prefixes: &Prefixes, size: CodeSize, wide: u8) -> Option<Simple> {
    let opcode = fetched.at(prefixes.opcode + 1);
    if !matches!(opcode, 0xb6 | 0xb7 | 0xbe | 0xbf) {
        return None;
    }
    let (field, length) = memory_operand(fetched, prefixes, size, 2)?;
    let to = Register::from_field(field, wide, prefixes.rex);
    let source = 1 + (opcode & 1);
    finish(
        fetched,
        length,
        source,
        extending_load(to, wide, opcode & 8 != 0),
    )
}
