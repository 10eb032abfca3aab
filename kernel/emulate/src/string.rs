//! MOVS, STOS and LODS, with and without repetition.
//!
//! After every element the registers are what a real CPU would show at an
//! interrupt there, so the instruction can stop between any two elements and
//! be resumed by executing it again. AMD APM vol. 3, 1.2.6 "Repeat Prefixes".

use crate::alu::DIRECTION;
use crate::cpu::{Bus, Cpu, Segment};
use crate::operand::{Decoded, Stop, read_memory, write_memory};
use crate::simple::Register;

/// Elements in one call; after that the caller gets to look at what else
/// there is.
const BATCH: usize = 512;

const RAX: Register = whole(0);
const RCX: Register = whole(1);
const RSI: Register = whole(6);
const RDI: Register = whole(7);

const fn whole(number: u8) -> Register {
    Register {
        number,
        high: false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Move,
    Store,
    Load,
}

/// Runs elements. `true`: the instruction is complete; `false`: it stopped
/// between elements.
pub(crate) fn run(
    decoded: &Decoded,
    kind: Kind,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
) -> Result<bool, Stop> {
    let instruction = &decoded.instruction;
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    for _ in 0..BATCH {
        if !repeats {
            element(decoded, kind, cpu, bus)?;
            return Ok(true);
        }
        let count = RCX.read(cpu, decoded.address_size);
        if count == 0 {
            return Ok(true);
        }
        let yields = element(decoded, kind, cpu, bus)?;
        RCX.write(cpu, decoded.address_size, count - 1);
        if count == 1 {
            return Ok(true);
        }
        if yields {
            return Ok(false);
        }
    }
    Ok(false)
}

/// One element; returns whether the monitor must run next.
fn element(
    decoded: &Decoded,
    kind: Kind,
    cpu: &mut impl Cpu,
    bus: &mut impl Bus,
) -> Result<bool, Stop> {
    let size = decoded.memory_size()?;
    let mut yields = false;
    let value = if kind == Kind::Store {
        RAX.read(cpu, size)
    } else {
        let offset = RSI.read(cpu, decoded.address_size);
        let linear = decoded.linear(cpu, offset, size)?;
        let (value, yielded) = read_memory(bus, linear, size)?;
        yields |= yielded;
        value
    };
    if kind == Kind::Load {
        RAX.write(cpu, size, value);
    } else {
        let offset = RDI.read(cpu, decoded.address_size);
        let linear = decoded.linear_in(cpu, Segment::Es, offset, size)?;
        yields |= write_memory(bus, linear, size, value)?;
        step(decoded, cpu, RDI, size);
    }
    if kind != Kind::Store {
        step(decoded, cpu, RSI, size);
    }
    Ok(yields)
}

fn step(decoded: &Decoded, cpu: &mut impl Cpu, register: Register, size: u8) {
    let old = register.read(cpu, decoded.address_size);
    let new = if cpu.rflags() & DIRECTION == 0 {
        old.wrapping_add(size.into())
    } else {
        old.wrapping_sub(size.into())
    };
    register.write(cpu, decoded.address_size, new);
}
