//! Operands: where the value of a decoded instruction is, and its transfer.
//!
//! AMD APM vol. 2, 4.5 "Segment registers in 64-bit mode" and 4.7.2 (limits).

use crate::cpu::{Access, Bus, Cpu, Exception, Segment};
use crate::prefix::CodeSize;
use crate::simple::{Register, mask};
use iced_x86::{Instruction, OpKind, Register as Name};

/// Why an instruction does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Pending,
    Fault(Exception),
    Unsupported,
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Self {
        Self::Fault(exception)
    }
}

/// A decoded instruction and the sizes that go with it.
pub(crate) struct Decoded {
    pub(crate) instruction: Instruction,
    pub(crate) code_size: CodeSize,
    pub(crate) address_size: u8,
}

/// Where an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Register(Register, u8),
    Memory(u64, u8),
    Constant(u64),
}

/// A general-purpose register by the decoder's name.
pub(crate) fn register(name: Name) -> Result<Register, Stop> {
    if !name.is_gpr() {
        return Err(Stop::Unsupported);
    }
    Ok(Register {
        number: if is_high(name) {
            name.number() as u8 - 4
        } else {
            name.full_register().number() as u8
        },
        high: is_high(name),
    })
}

fn is_high(name: Name) -> bool {
    matches!(name, Name::AH | Name::CH | Name::DH | Name::BH)
}

pub(crate) fn segment(name: Name) -> Segment {
    match name {
        Name::ES => Segment::Es,
        Name::CS => Segment::Cs,
        Name::SS => Segment::Ss,
        Name::FS => Segment::Fs,
        Name::GS => Segment::Gs,
        _ => Segment::Ds,
    }
}

impl Decoded {
    /// The place of operand `index`.
    pub(crate) fn place(&self, cpu: &impl Cpu, index: u32) -> Result<Place, Stop> {
        let instruction = &self.instruction;
        match instruction.op_kind(index) {
            OpKind::Register => {
                let name = instruction.op_register(index);
                Ok(Place::Register(register(name)?, name.size() as u8))
            }
            OpKind::Memory => {
                let linear = self.linear(cpu, self.offset(cpu), self.memory_size()?)?;
                Ok(Place::Memory(linear, self.memory_size()?))
            }
            _ => instruction
                .try_immediate(index)
                .map(Place::Constant)
                .map_err(|_| Stop::Unsupported),
        }
    }

    /// Bytes of the memory operand, if it is one that a register can hold.
    pub(crate) fn memory_size(&self) -> Result<u8, Stop> {
        match self.instruction.memory_size().size() {
            size @ (1 | 2 | 4 | 8) => Ok(size as u8),
            _ => Err(Stop::Unsupported),
        }
    }

    /// The effective address: offset in the segment.
    pub(crate) fn offset(&self, cpu: &impl Cpu) -> u64 {
        let instruction = &self.instruction;
        let mut offset = instruction.memory_displacement64();
        // The decoder has added RIP already.
        if !instruction.is_ip_rel_memory_operand()
            && let Ok(base) = register(instruction.memory_base())
        {
            offset = offset.wrapping_add(cpu.gpr(base.number));
        }
        if let Ok(index) = register(instruction.memory_index()) {
            let scale = u64::from(instruction.memory_index_scale());
            offset = offset.wrapping_add(cpu.gpr(index.number).wrapping_mul(scale));
        }
        offset
    }

    /// The linear address of `offset` in the memory operand's segment.
    pub(crate) fn linear(&self, cpu: &impl Cpu, offset: u64, size: u8) -> Result<u64, Stop> {
        let name = segment(self.instruction.memory_segment());
        self.linear_in(cpu, name, offset, size)
    }

    /// The linear address of `size` bytes at `offset` in a segment.
    pub(crate) fn linear_in(
        &self,
        cpu: &impl Cpu,
        name: Segment,
        offset: u64,
        size: u8,
    ) -> Result<u64, Stop> {
        let offset = mask(offset, self.address_size);
        let based = matches!(name, Segment::Fs | Segment::Gs);
        if self.code_size == CodeSize::Bits64 {
            let base = if based { cpu.segment(name).base } else { 0 };
            return Ok(offset.wrapping_add(base));
        }
        let state = cpu.segment(name);
        if offset + u64::from(size) - 1 > u64::from(state.limit) {
            return Err(Stop::Fault(match name {
                Segment::Ss => Exception::STACK,
                _ => Exception::GENERAL_PROTECTION,
            }));
        }
        Ok(offset.wrapping_add(state.base) & 0xffff_ffff)
    }
}

impl Place {
    pub(crate) fn size(self) -> Option<u8> {
        match self {
            Self::Register(_, size) | Self::Memory(_, size) => Some(size),
            Self::Constant(_) => None,
        }
    }

    pub(crate) fn read(self, cpu: &impl Cpu, bus: &mut impl Bus) -> Result<u64, Stop> {
        match self {
            Self::Register(register, size) => Ok(register.read(cpu, size)),
            Self::Memory(linear, size) => read_memory(bus, linear, size).map(|(value, _)| value),
            Self::Constant(value) => Ok(value),
        }
    }

    pub(crate) fn write(
        self,
        cpu: &mut impl Cpu,
        bus: &mut impl Bus,
        value: u64,
    ) -> Result<(), Stop> {
        match self {
            Self::Register(register, size) => {
                register.write(cpu, size, value);
                Ok(())
            }
            Self::Memory(linear, size) => write_memory(bus, linear, size, value).map(|_| ()),
            Self::Constant(_) => Err(Stop::Unsupported),
        }
    }
}

/// Reads memory; also whether the monitor must run next.
pub(crate) fn read_memory(bus: &mut impl Bus, linear: u64, size: u8) -> Result<(u64, bool), Stop> {
    let mut data = [0; 8];
    let access = bus.read(linear, &mut data[..usize::from(size)])?;
    done(access).map(|yields| (u64::from_le_bytes(data), yields))
}

/// Writes memory; returns whether the monitor must run next.
pub(crate) fn write_memory(
    bus: &mut impl Bus,
    linear: u64,
    size: u8,
    value: u64,
) -> Result<bool, Stop> {
    let data = value.to_le_bytes();
    done(bus.write(linear, &data[..usize::from(size)])?)
}

fn done(access: Access) -> Result<bool, Stop> {
    match access {
        Access::Done => Ok(false),
        Access::Yield => Ok(true),
        Access::Pending => Err(Stop::Pending),
    }
}
