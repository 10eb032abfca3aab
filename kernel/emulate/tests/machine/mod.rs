//! A CPU and a bus to run single instructions on: registers in an array,
//! memory in a map, a device whose reads need a monitor.
#![allow(dead_code)]

use emulate::{Access, Bus, CodeSize, Cpu, Exception, Fetched, Outcome, Segment, SegmentState};
use std::collections::BTreeMap;

pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RBX: usize = 3;
pub const RSI: usize = 6;
pub const RDI: usize = 7;

pub const CARRY: u64 = 1;
pub const ZERO: u64 = 1 << 6;
pub const DIRECTION: u64 = 1 << 10;

/// Linear addresses from here on are a device.
pub const DEVICE: u64 = 0xfee0_0000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub base: u64,
    pub limit: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            gpr: [0; 16],
            rip: 0x1000,
            rflags: 2,
            fs_base: 0,
            base: 0,
            limit: u32::MAX,
        }
    }
}

impl Cpu for Machine {
    fn gpr(&self, number: u8) -> u64 {
        self.gpr[usize::from(number)]
    }
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gpr[usize::from(number)] = value;
    }
    fn rip(&self) -> u64 {
        self.rip
    }
    fn set_rip(&mut self, rip: u64) {
        self.rip = rip;
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn set_rflags(&mut self, rflags: u64) {
        self.rflags = rflags;
    }
    fn segment(&self, segment: Segment) -> SegmentState {
        let base = match segment {
            Segment::Fs => self.fs_base,
            _ => self.base,
        };
        SegmentState {
            base,
            limit: self.limit,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub ram: BTreeMap<u64, u8>,
    /// The monitor's answer to the next device read.
    pub answer: Option<u64>,
    /// Device reads and writes: address, bytes, data.
    pub reads: Vec<(u64, usize)>,
    pub writes: Vec<(u64, usize, u64)>,
    /// Accesses to this page fault.
    pub hole: Option<u64>,
}

impl Memory {
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            self.ram.insert(address.wrapping_add(i as u64), byte);
        }
    }

    pub fn get(&self, address: u64, size: u8) -> u64 {
        (0..u64::from(size)).rev().fold(0, |value, i| {
            value << 8 | u64::from(*self.ram.get(&(address + i)).unwrap_or(&0))
        })
    }

    fn fault(&self, address: u64) -> Result<(), Exception> {
        if self.hole == Some(address >> 12) {
            return Err(Exception {
                vector: 14,
                error_code: Some(0),
                address: Some(address),
            });
        }
        Ok(())
    }
}

impl Bus for Memory {
    fn read(&mut self, linear: u64, data: &mut [u8]) -> Result<Access, Exception> {
        self.fault(linear)?;
        if linear >= DEVICE {
            let Some(answer) = self.answer.take() else {
                self.reads.push((linear, data.len()));
                return Ok(Access::Pending);
            };
            data.copy_from_slice(&answer.to_le_bytes()[..data.len()]);
            return Ok(Access::Done);
        }
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = *self.ram.get(&linear.wrapping_add(i as u64)).unwrap_or(&0);
        }
        Ok(Access::Done)
    }

    fn write(&mut self, linear: u64, data: &[u8]) -> Result<Access, Exception> {
        self.fault(linear)?;
        if linear >= DEVICE {
            let mut value = [0; 8];
            value[..data.len()].copy_from_slice(data);
            self.writes
                .push((linear, data.len(), u64::from_le_bytes(value)));
            return Ok(Access::Yield);
        }
        self.put(linear, data);
        Ok(Access::Done)
    }
}

/// Emulates `bytes` once in 64-bit mode.
pub fn step(cpu: &mut Machine, memory: &mut Memory, bytes: &[u8]) -> Outcome {
    emulate::emulate(cpu, memory, &Fetched::new(bytes), CodeSize::Bits64)
}

/// Emulates `bytes` in 64-bit mode; a device read is answered with `answer`.
pub fn run(cpu: &mut Machine, memory: &mut Memory, bytes: &[u8], answer: u64) {
    let rip = cpu.rip;
    let before = cpu.clone();
    let mut outcome = step(cpu, memory, bytes);
    if outcome == Outcome::Pending {
        assert_eq!(*cpu, before, "a pending instruction changes nothing");
        memory.answer = Some(answer);
        outcome = step(cpu, memory, bytes);
    }
    assert_eq!(outcome, Outcome::Retired);
    assert_eq!(cpu.rip, rip + bytes.len() as u64);
}
