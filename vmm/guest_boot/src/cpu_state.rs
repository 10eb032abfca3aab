//! The state in which the first CPU starts: [`BootPlan`] and the registers
//! that follow from it.
//!
//! Two entries: 64-bit long mode with paging on (Linux/x86 boot protocol,
//! "64-bit Boot Protocol") and 32-bit protected mode without paging (the PVH
//! boot ABI). Descriptor formats: AMD64 manual volume 2, chapter 4.

use crate::{GDT_START, PAGE_TABLES_START};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const PTE_PRESENT_WRITABLE: u64 = 3;
const PDE_LARGE: u64 = 1 << 7;
const TABLE_ENTRIES: u64 = 512;

/// Flat segments, each described by bits 40-55 of its descriptor.
const CODE64: u64 = 0xA09B;
const CODE32: u64 = 0xC09B;
const DATA: u64 = 0xC093;
const TSS: u64 = 0x008B;

/// Selectors that the Linux boot protocol asks for.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TSS_SELECTOR: u16 = 0x20;

/// In which mode the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryMode {
    /// Long mode, the first GiB mapped to itself.
    Long,
    /// 32-bit protected mode, paging off.
    Protected,
}

/// How the first CPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// Mode of the CPU at the entry.
    pub mode: EntryMode,
    /// Guest physical address of the first instruction.
    pub entry: u64,
    /// RBX at the entry: the PVH start information.
    pub rbx: u64,
    /// RSI at the entry: the Linux zero page.
    pub rsi: u64,
}

impl BootPlan {
    /// The general registers.
    pub fn regs(&self) -> kvm_regs {
        kvm_regs {
            rip: self.entry,
            rbx: self.rbx,
            rsi: self.rsi,
            rflags: 2,
            ..Default::default()
        }
    }

    /// Changes `sregs`, as they are after reset, to what the entry needs.
    pub fn apply_to(&self, sregs: &mut kvm_sregs) {
        let code = if self.mode == EntryMode::Long {
            CODE64
        } else {
            CODE32
        };
        let data = segment(DATA_SELECTOR, DATA, u32::MAX);
        sregs.cs = segment(CODE_SELECTOR, code, u32::MAX);
        sregs.ds = data;
        sregs.es = data;
        sregs.fs = data;
        sregs.gs = data;
        sregs.ss = data;
        sregs.tr = segment(TSS_SELECTOR, TSS, 0x67);
        sregs.gdt.base = GDT_START;
        sregs.gdt.limit = (gdt(self.mode).len() * 8 - 1) as u16;
        sregs.idt.base = 0;
        sregs.idt.limit = 0;
        sregs.cr0 = CR0_PE | CR0_ET;
        if self.mode == EntryMode::Long {
            sregs.cr0 |= CR0_PG;
            sregs.cr3 = PAGE_TABLES_START;
            sregs.cr4 |= CR4_PAE;
            sregs.efer |= EFER_LME | EFER_LMA;
        }
    }
}

/// Writes the descriptor table and, for long mode, the page tables.
pub fn write_tables(memory: &GuestMemoryMmap, mode: EntryMode) -> Result<(), GuestMemoryError> {
    for (index, descriptor) in gdt(mode).into_iter().enumerate() {
        memory.write_obj(descriptor, GuestAddress(GDT_START + 8 * index as u64))?;
    }
    if mode == EntryMode::Long {
        let [pml4, pdpt, pd] = [0, 1, 2].map(|page| PAGE_TABLES_START + page * 0x1000);
        memory.write_obj(pdpt | PTE_PRESENT_WRITABLE, GuestAddress(pml4))?;
        memory.write_obj(pd | PTE_PRESENT_WRITABLE, GuestAddress(pdpt))?;
        for index in 0..TABLE_ENTRIES {
            let entry = (index << 21) | PDE_LARGE | PTE_PRESENT_WRITABLE;
            memory.write_obj(entry, GuestAddress(pd + 8 * index))?;
        }
    }
    Ok(())
}

fn gdt(mode: EntryMode) -> [u64; 6] {
    let code = if mode == EntryMode::Long {
        CODE64
    } else {
        CODE32
    };
    [0, 0, flat(code), flat(DATA), 0x67 | TSS << 40, 0]
}

/// A descriptor with base 0 and the largest limit.
const fn flat(attributes: u64) -> u64 {
    0xFFFF | (attributes | 0x0F00) << 40
}

fn segment(selector: u16, attributes: u64, limit: u32) -> kvm_segment {
    let bit = |n: u64| (attributes >> n & 1) as u8;
    kvm_segment {
        base: 0,
        limit,
        selector,
        type_: (attributes & 0xF) as u8,
        s: bit(4),
        dpl: 0,
        present: bit(7),
        avl: bit(12),
        l: bit(13),
        db: bit(14),
        g: bit(15),
        unusable: 0,
        padding: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_descriptors_have_their_textbook_values() {
        assert_eq!(flat(CODE64), 0x00AF_9B00_0000_FFFF);
        assert_eq!(flat(CODE32), 0x00CF_9B00_0000_FFFF);
        assert_eq!(flat(DATA), 0x00CF_9300_0000_FFFF);
    }

    #[test]
    fn long_mode_segment_is_64_bit_code() {
        let plan = BootPlan {
            mode: EntryMode::Long,
            entry: 0x10_0200,
            rbx: 0,
            rsi: 0x7000,
        };
        let mut sregs = kvm_sregs::default();
        plan.apply_to(&mut sregs);
        assert_eq!(
            (sregs.cs.l, sregs.cs.db, sregs.cs.g, sregs.cs.type_),
            (1, 0, 1, 0xB)
        );
        assert_eq!(sregs.efer & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME);
        assert_eq!(plan.regs().rsi, 0x7000);
    }

    #[test]
    fn page_tables_map_the_first_gib_to_itself() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap();
        write_tables(&memory, EntryMode::Long).unwrap();
        let last: u64 = memory
            .read_obj(GuestAddress(PAGE_TABLES_START + 0x2FF8))
            .unwrap();
        assert_eq!(last, 0x3FE0_0083);
    }
}
