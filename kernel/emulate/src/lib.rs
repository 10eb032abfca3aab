//! The instructions that leave a guest: how long they are, and what they do
//! to memory-mapped devices.
//!
//! Three ways, the cheapest first:
//!
//! 1. The exit names the opcode (CPUID, RDMSR, ...): [`known_length`] checks
//!    the bytes and gives the length; [`control_move`] also the registers.
//! 2. A nested page fault has given the address already, and the instruction
//!    is a plain MOV: [`decode_simple`] gives direction, size, register.
//! 3. Anything else that reads or writes a device: [`emulate`] runs it over
//!    the traits [`Cpu`] and [`Bus`].
//!
//! The bytes come from guest memory and are fetched once by the caller, at
//! most 15 of them. Nothing here panics or reads beyond them. Opcodes and
//! encodings: AMD64 Architecture Programmer's Manual vol. 3, ch. 1
//! "Instruction Encoding" and appendix A; segmentation: vol. 2, ch. 4.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod alu;
mod cpu;
mod full;
mod known;
mod operand;
mod prefix;
mod simple;
mod string;

pub use cpu::{Access, Bus, Cpu, Exception, Segment, SegmentState, advance};
pub use full::{Outcome, emulate};
pub use known::{ControlMove, Known, control_move, known_length};
pub use prefix::{CodeSize, Fetched};
pub use simple::{Direction, Register, Simple, decode_simple};
