//! Where a machine hangs.
//!
//! Stops the machine, reads the registers of every CPU through the monitor, and follows the chain of frame
//! pointers (the kernel is built with them). Neighbour: [`crate::Running::hang_report`].

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;

use crate::qmp::Qmp;
use crate::symbols::Symbols;

/// Where the upper, kernel half of the address space begins.
const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;
const FRAMES_MAX: usize = 24;

/// What a report says about one CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cpu {
    index: usize,
    rip: u64,
    rsp: u64,
    rbp: u64,
    cr2: u64,
    cr3: u64,
    is_halted: bool,
    ring: u64,
}

/// One paragraph for each CPU.
pub(crate) fn report(qmp: &mut Qmp, symbols: &Symbols) -> Result<String> {
    qmp.execute("stop", json!({}))?;
    let registers = qmp.human("info registers -a", 0)?;
    let mut text = String::new();
    for cpu in parse_registers(&registers) {
        let state = if cpu.is_halted { ", halted" } else { "" };
        let _ = writeln!(
            text,
            "CPU {}: ring {}{state}, rip {}, rsp {:x}, cr2 {:x}, cr3 {:x}",
            cpu.index,
            cpu.ring,
            symbols.describe(cpu.rip),
            cpu.rsp,
            cpu.cr2,
            cpu.cr3,
        );
        for address in callers(qmp, &cpu) {
            let _ = writeln!(text, "    called from {}", symbols.describe(address));
        }
    }
    Ok(text)
}

/// Return addresses along the frame pointers, as far as they make sense.
fn callers(qmp: &mut Qmp, cpu: &Cpu) -> Vec<u64> {
    let mut found = Vec::new();
    let mut frame = cpu.rbp;
    while cpu.ring == 0
        && frame >= KERNEL_HALF
        && frame.is_multiple_of(8)
        && found.len() < FRAMES_MAX
    {
        let Ok(memory) = qmp.human(&format!("x /2gx {frame:#x}"), cpu.index) else {
            break;
        };
        let [next, address] = parse_words(&memory)[..] else {
            break;
        };
        if address < KERNEL_HALF {
            break;
        }
        found.push(address);
        // A stack grows downwards: a caller's frame lies above, or the chain is broken.
        if next <= frame {
            break;
        }
        frame = next;
    }
    found
}

/// The 64-bit words in what `x /Ngx` prints: `address: 0xword 0xword`.
fn parse_words(text: &str) -> Vec<u64> {
    let words = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("0x"));
    words
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .collect()
}

/// Reads what `info registers -a` prints.
fn parse_registers(text: &str) -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> = Vec::new();
    for line in text.lines() {
        if let Some(index) = line.trim().strip_prefix("CPU#") {
            let index = index.trim().parse().unwrap_or(cpus.len());
            cpus.push(Cpu {
                index,
                ..Cpu::default()
            });
        } else if let Some(cpu) = cpus.last_mut() {
            line.split_whitespace()
                .for_each(|word| set_register(cpu, word));
        }
    }
    cpus
}

fn set_register(cpu: &mut Cpu, word: &str) {
    let Some((name, value)) = word.split_once('=') else {
        return;
    };
    let Ok(value) = u64::from_str_radix(value, 16) else {
        return;
    };
    match name {
        "RIP" | "EIP" => cpu.rip = value,
        "RSP" | "ESP" => cpu.rsp = value,
        "RBP" | "EBP" => cpu.rbp = value,
        "CR2" => cpu.cr2 = value,
        "CR3" => cpu.cr3 = value,
        "HLT" => cpu.is_halted = value != 0,
        "CPL" => cpu.ring = value,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTERS: &str = "\r\nCPU#0\r\nRAX=0000000000000001 RBX=0000000000000000\r\n\
        RSI=0 RDI=0 RBP=ffffffff80100f00 RSP=ffffffff80100ef0\r\n\
        RIP=ffffffff80001234 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
        CS =0008 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\n\
        CR0=80050033 CR2=0000000000000010 CR3=0000000001000000 CR4=00000020\r\n\
        \r\nCPU#1\r\nRIP=0000000000401000 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n";

    #[test]
    fn every_cpu_is_read() {
        let cpus = parse_registers(REGISTERS);
        assert_eq!(cpus.len(), 2);
        assert_eq!(cpus[0].rip, 0xffff_ffff_8000_1234);
        assert_eq!(cpus[0].rbp, 0xffff_ffff_8010_0f00);
        assert!(cpus[0].is_halted);
        assert_eq!((cpus[0].cr2, cpus[0].cr3), (0x10, 0x100_0000));
        assert_eq!(
            cpus[1],
            Cpu {
                index: 1,
                rip: 0x40_1000,
                ring: 3,
                ..Cpu::default()
            }
        );
    }

    #[test]
    fn memory_words_are_read() {
        let text = "ffffffff80100f00: 0xffffffff80100f40 0xffffffff80002222\r\n";
        assert_eq!(
            parse_words(text),
            [0xffff_ffff_8010_0f40, 0xffff_ffff_8000_2222]
        );
        assert!(parse_words("Cannot access memory\r\n").is_empty());
    }
}
