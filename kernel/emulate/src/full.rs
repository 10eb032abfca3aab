//! Everything but plain moves: [`emulate`] decodes with `iced-x86` and runs
//! the instruction over [`Cpu`] and [`Bus`].
//!
//! MOV, MOVZX, MOVSX, MOVSXD, MOVNTI; ADD, ADC, SUB, SBB, AND, OR, XOR, CMP,
//! TEST, INC, DEC, NEG, NOT; XCHG, XADD, CMPXCHG; BT, BTS, BTR, BTC; MOVS,
//! STOS, LODS: each with an operand in memory, as the pages of AMD APM vol. 3
//! describe them. Memory is written before any register, so an instruction
//! that must wait or faults has changed nothing. LOCK needs no care: on a
//! device there is nothing to lock, and on memory the instruction came here
//! only because another of its accesses is to a device.

use crate::alu::{self, CARRY, STATUS};
use crate::cpu::{Bus, Cpu, Exception, advance};
use crate::operand::{Decoded, Place, Stop};
use crate::prefix::{CodeSize, Fetched, Prefixes};
use crate::simple::{Register, mask, sign_extend};
use crate::string;
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

/// How an emulation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The instruction is complete and RIP is behind it.
    Retired,
    /// A string instruction stopped between two elements, RIP at it: call
    /// again, or let the guest execute it again.
    Repeat,
    /// The bus said pending: call again when the monitor has answered.
    Pending,
    /// Inject this; RIP is at the instruction.
    Fault(Exception),
    /// Not an instruction that is emulated; nothing was changed.
    Unsupported(Fetched),
}

/// Emulates the instruction at RIP, whose bytes are `fetched`.
pub fn emulate(
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
    fetched: &Fetched,
    size: CodeSize,
) -> Outcome {
    let Some(decoded) = decode(fetched, size, cpu.rip()) else {
        return Outcome::Unsupported(*fetched);
    };
    match execute(&decoded, cpu, bus) {
        Ok(true) => {
            advance(cpu, decoded.instruction.len() as u8, size);
            Outcome::Retired
        }
        Ok(false) => Outcome::Repeat,
        Err(Stop::Pending) => Outcome::Pending,
        Err(Stop::Fault(exception)) => Outcome::Fault(exception),
        Err(Stop::Unsupported) => Outcome::Unsupported(*fetched),
    }
}

fn decode(fetched: &Fetched, size: CodeSize, rip: u64) -> Option<Decoded> {
    let bits = match size {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    };
    let options = DecoderOptions::AMD;
    let mut decoder = Decoder::try_with_ip(bits, fetched.bytes(), rip, options).ok()?;
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let address_size = Prefixes::scan(fetched, size).address_size(size);
    Some(Decoded {
        instruction,
        code_size: size,
        address_size,
    })
}

/// `false`: stopped between the elements of a string instruction.
fn execute(decoded: &Decoded, cpu: &mut impl Cpu, bus: &mut impl Bus) -> Result<bool, Stop> {
    let instruction = &decoded.instruction;
    if instruction.is_string_instruction() {
        let kind = match instruction.mnemonic() {
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => {
                string::Kind::Move
            }
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
                string::Kind::Store
            }
            Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => {
                string::Kind::Load
            }
            _ => return Err(Stop::Unsupported),
        };
        return string::run(decoded, kind, cpu, bus);
    }
    if !instruction.op_kinds().any(|kind| kind == OpKind::Memory) {
        return Err(Stop::Unsupported);
    }
    let operation = operation(instruction.mnemonic()).ok_or(Stop::Unsupported)?;
    match operation {
        Operation::Move { signed } => transfer(decoded, cpu, bus, signed),
        Operation::Binary(binary) => combine(decoded, cpu, bus, binary),
        Operation::Unary(unary) => change(decoded, cpu, bus, unary),
        Operation::Exchange => exchange(decoded, cpu, bus),
        Operation::ExchangeAdd => exchange_add(decoded, cpu, bus),
        Operation::CompareExchange => compare_exchange(decoded, cpu, bus),
        Operation::Bit(bit) => test_bit(decoded, cpu, bus, bit),
    }?;
    Ok(true)
}

#[derive(Clone, Copy)]
enum Operation {
    Move { signed: bool },
    Binary(Binary),
    Unary(Unary),
    Exchange,
    ExchangeAdd,
    CompareExchange,
    Bit(Bit),
}

#[derive(Clone, Copy)]
enum Binary {
    Add { carry: bool },
    Subtract { borrow: bool },
    And,
    Or,
    Xor,
    Compare,
    Test,
}

#[derive(Clone, Copy)]
enum Unary {
    Increment,
    Decrement,
    Negate,
    Not,
}

#[derive(Clone, Copy)]
enum Bit {
    Test,
    Set,
    Reset,
    Complement,
}

fn operation(mnemonic: Mnemonic) -> Option<Operation> {
    Some(match mnemonic {
        Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movnti => Operation::Move { signed: false },
        Mnemonic::Movsx | Mnemonic::Movsxd => Operation::Move { signed: true },
        Mnemonic::Add => Operation::Binary(Binary::Add { carry: false }),
        Mnemonic::Adc => Operation::Binary(Binary::Add { carry: true }),
        Mnemonic::Sub => Operation::Binary(Binary::Subtract { borrow: false }),
        Mnemonic::Sbb => Operation::Binary(Binary::Subtract { borrow: true }),
        Mnemonic::And => Operation::Binary(Binary::And),
        Mnemonic::Or => Operation::Binary(Binary::Or),
        Mnemonic::Xor => Operation::Binary(Binary::Xor),
        Mnemonic::Cmp => Operation::Binary(Binary::Compare),
        Mnemonic::Test => Operation::Binary(Binary::Test),
        Mnemonic::Inc => Operation::Unary(Unary::Increment),
        Mnemonic::Dec => Operation::Unary(Unary::Decrement),
        Mnemonic::Neg => Operation::Unary(Unary::Negate),
        Mnemonic::Not => Operation::Unary(Unary::Not),
        Mnemonic::Xchg => Operation::Exchange,
        Mnemonic::Xadd => Operation::ExchangeAdd,
        Mnemonic::Cmpxchg => Operation::CompareExchange,
        Mnemonic::Bt => Operation::Bit(Bit::Test),
        Mnemonic::Bts => Operation::Bit(Bit::Set),
        Mnemonic::Btr => Operation::Bit(Bit::Reset),
        Mnemonic::Btc => Operation::Bit(Bit::Complement),
        _ => return None,
    })
}

fn set_flags(cpu: &mut impl Cpu, which: u64, flags: u64) {
    cpu.set_rflags(cpu.rflags() & !which | flags & which);
}

/// The two operands, and the size of the first.
fn operands(decoded: &Decoded, cpu: &impl Cpu) -> Result<(Place, Place, u8), Stop> {
    let (first, second) = (decoded.place(cpu, 0)?, decoded.place(cpu, 1)?);
    let size = first.size().ok_or(Stop::Unsupported)?;
    Ok((first, second, size))
}

fn transfer(
    decoded: &Decoded,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
    signed: bool,
) -> Result<(), Stop> {
    let (to, from, size) = operands(decoded, cpu)?;
    let mut value = from.read(cpu, bus)?;
    if signed {
        value = sign_extend(value, from.size().unwrap_or(size));
    }
    to.write(cpu, bus, mask(value, size))
}

fn combine(
    decoded: &Decoded,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
    binary: Binary,
) -> Result<(), Stop> {
    let (to, from, size) = operands(decoded, cpu)?;
    let a = to.read(cpu, bus)?;
    let b = mask(from.read(cpu, bus)?, size);
    let carry_in = cpu.rflags() & CARRY != 0;
    let outcome = match binary {
        Binary::Add { carry } => alu::add(a, b, carry && carry_in, size),
        Binary::Subtract { borrow } => alu::subtract(a, b, borrow && carry_in, size),
        Binary::Compare => alu::subtract(a, b, false, size),
        Binary::And | Binary::Test => alu::logic(a & b, size),
        Binary::Or => alu::logic(a | b, size),
        Binary::Xor => alu::logic(a ^ b, size),
    };
    if !matches!(binary, Binary::Compare | Binary::Test) {
        to.write(cpu, bus, outcome.value)?;
    }
    set_flags(cpu, STATUS, outcome.flags);
    Ok(())
}

fn change(
    decoded: &Decoded,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
    unary: Unary,
) -> Result<(), Stop> {
    let place = decoded.place(cpu, 0)?;
    let size = place.size().ok_or(Stop::Unsupported)?;
    let old = place.read(cpu, bus)?;
    let (outcome, flags) = match unary {
        Unary::Increment => (alu::add(old, 1, false, size), STATUS & !CARRY),
        Unary::Decrement => (alu::subtract(old, 1, false, size), STATUS & !CARRY),
        Unary::Negate => (alu::subtract(0, old, false, size), STATUS),
        Unary::Not => (alu::logic(!old, size), 0),
    };
    place.write(cpu, bus, outcome.value)?;
    set_flags(cpu, flags, outcome.flags);
    Ok(())
}

/// Operands of which the first is in memory and the second in a register.
fn memory_and_register(decoded: &Decoded, cpu: &impl Cpu) -> Result<(Place, Place, u8), Stop> {
    let (memory, register, size) = operands(decoded, cpu)?;
    match (memory, register) {
        (Place::Memory(..), Place::Register(..)) => Ok((memory, register, size)),
        _ => Err(Stop::Unsupported),
    }
}

fn exchange(decoded: &Decoded, cpu: &mut impl Cpu, bus: &mut impl Bus) -> Result<(), Stop> {
    let (memory, register, _) = memory_and_register(decoded, cpu)?;
    let old = memory.read(cpu, bus)?;
    let new = register.read(cpu, bus)?;
    memory.write(cpu, bus, new)?;
    register.write(cpu, bus, old)
}

fn exchange_add(decoded: &Decoded, cpu: &mut impl Cpu, bus: &mut impl Bus) -> Result<(), Stop> {
    let (memory, register, size) = memory_and_register(decoded, cpu)?;
    let old = memory.read(cpu, bus)?;
    let outcome = alu::add(old, register.read(cpu, bus)?, false, size);
    memory.write(cpu, bus, outcome.value)?;
    register.write(cpu, bus, old)?;
    set_flags(cpu, STATUS, outcome.flags);
    Ok(())
}

/// Memory is written in either case, as the bus of a real CPU sees it.
fn compare_exchange(decoded: &Decoded, cpu: &mut impl Cpu, bus: &mut impl Bus) -> Result<(), Stop> {
    let (memory, register, size) = memory_and_register(decoded, cpu)?;
    let accumulator = Register {
        number: 0,
        high: false,
    };
    let old = memory.read(cpu, bus)?;
    let expected = accumulator.read(cpu, size);
    let outcome = alu::subtract(expected, old, false, size);
    if expected == old {
        let new = register.read(cpu, bus)?;
        memory.write(cpu, bus, new)?;
    } else {
        memory.write(cpu, bus, old)?;
        accumulator.write(cpu, size, old);
    }
    set_flags(cpu, STATUS, outcome.flags);
    Ok(())
}

/// A bit number in a register reaches beyond the operand: the memory is a
/// string of bits, and the number is signed.
fn test_bit(
    decoded: &Decoded,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
    bit: Bit,
) -> Result<(), Stop> {
    let size = decoded.memory_size()?;
    let bits = u64::from(size) * 8;
    let mut offset = decoded.offset(cpu);
    let number = match decoded.place(cpu, 1)? {
        Place::Register(register, _) => {
            let number = sign_extend(register.read(cpu, size), size);
            let words = (number as i64).div_euclid(bits as i64);
            offset = offset.wrapping_add((words as u64).wrapping_mul(size.into()));
            number & (bits - 1)
        }
        Place::Constant(number) => number & (bits - 1),
        Place::Memory(..) => return Err(Stop::Unsupported),
    };
    let memory = Place::Memory(decoded.linear(cpu, offset, size)?, size);
    let old = memory.read(cpu, bus)?;
    let new = match bit {
        Bit::Test => None,
        Bit::Set => Some(old | 1 << number),
        Bit::Reset => Some(old & !(1 << number)),
        Bit::Complement => Some(old ^ 1 << number),
    };
    if let Some(new) = new {
        memory.write(cpu, bus, new)?;
    }
    let carry = if old >> number & 1 != 0 { CARRY } else { 0 };
    set_flags(cpu, CARRY, carry);
    Ok(())
}
