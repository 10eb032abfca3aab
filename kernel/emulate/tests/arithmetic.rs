//! Arithmetic with an operand on a device: one read, one write, the flags.

mod machine;
use machine::{CARRY, DEVICE, Machine, Memory, RAX, RBX, RCX, RDX, ZERO, run, step};

fn device() -> (Machine, Memory) {
    let mut cpu = Machine::default();
    cpu.gpr[RBX] = DEVICE;
    (cpu, Memory::default())
}

/// Runs `bytes` on a device register with content `old`; returns what was
/// written, if anything.
fn modify(cpu: &mut Machine, bytes: &[u8], old: u64) -> Option<u64> {
    let mut memory = Memory::default();
    run(cpu, &mut memory, bytes, old);
    assert_eq!(memory.reads.len(), 1);
    assert!(memory.writes.len() <= 1);
    memory.writes.first().map(|&(_, _, value)| value)
}

#[test]
fn read_modify_write() {
    let (mut cpu, _) = device();
    cpu.gpr[RCX] = 0x0f;
    for (opcode, result) in [
        (0x09, 0xff),
        (0x21, 0x00),
        (0x31, 0xff),
        (0x01, 0xff),
        (0x29, 0xe1),
    ] {
        assert_eq!(
            modify(&mut cpu, &[opcode, 0x0b], 0xf0),
            Some(result),
            "{opcode:#x}"
        );
    }
}

#[test]
fn carry_goes_in_and_out() {
    let (mut cpu, _) = device();
    cpu.gpr[RCX] = 0xffff_ffff;
    cpu.rflags |= CARRY;
    assert_eq!(modify(&mut cpu, &[0x11, 0x0b], 0), Some(0));
    assert_eq!(cpu.rflags & (CARRY | ZERO), CARRY | ZERO);
    cpu.gpr[RCX] = 0;
    assert_eq!(modify(&mut cpu, &[0x19, 0x0b], 0), Some(0xffff_ffff));
    assert_eq!(cpu.rflags & CARRY, CARRY);
}

#[test]
fn constants_are_sign_extended() {
    let (mut cpu, _) = device();
    assert_eq!(modify(&mut cpu, &[0x83, 0x0b, 0x80], 1), Some(0xffff_ff81));
    assert_eq!(
        modify(&mut cpu, &[0x48, 0x81, 0x23, 0, 0, 0, 0x80], u64::MAX),
        Some(0xffff_ffff_8000_0000)
    );
    assert_eq!(modify(&mut cpu, &[0x80, 0x33, 0xff], 0x0f), Some(0xf0));
}

#[test]
fn comparisons_do_not_write() {
    let (mut cpu, _) = device();
    assert_eq!(modify(&mut cpu, &[0x83, 0x3b, 0x05], 5), None);
    assert_eq!(cpu.rflags & ZERO, ZERO);
    assert_eq!(modify(&mut cpu, &[0xf7, 0x03, 1, 0, 0, 0], 3), None);
    assert_eq!(cpu.rflags & ZERO, 0);
    cpu.gpr[RAX] = 4;
    assert_eq!(modify(&mut cpu, &[0x3b, 0x03], 5), None);
    assert_eq!(cpu.rflags & CARRY, CARRY);
}

#[test]
fn register_destination_reads_only() {
    let (mut cpu, _) = device();
    cpu.gpr[RAX] = 0xffff_ffff_0000_0001;
    assert_eq!(modify(&mut cpu, &[0x03, 0x03], 2), None);
    assert_eq!(cpu.gpr[RAX], 3);
}

#[test]
fn one_operand_forms() {
    let (mut cpu, _) = device();
    cpu.rflags |= CARRY;
    assert_eq!(modify(&mut cpu, &[0xff, 0x03], 0xffff_ffff), Some(0));
    assert_eq!(cpu.rflags & (CARRY | ZERO), CARRY | ZERO);
    assert_eq!(modify(&mut cpu, &[0xfe, 0x0b], 0), Some(0xff));
    assert_eq!(cpu.rflags & CARRY, CARRY);
    assert_eq!(modify(&mut cpu, &[0xf7, 0x1b], 0), Some(0));
    assert_eq!(cpu.rflags & CARRY, 0);
    let before = cpu.rflags;
    assert_eq!(modify(&mut cpu, &[0xf7, 0x13], 0), Some(0xffff_ffff));
    assert_eq!(cpu.rflags, before);
}

#[test]
fn exchanges() {
    let (mut cpu, _) = device();
    cpu.gpr[RCX] = 7;
    assert_eq!(modify(&mut cpu, &[0x87, 0x0b], 9), Some(7));
    assert_eq!(cpu.gpr[RCX], 9);
    assert_eq!(modify(&mut cpu, &[0xf0, 0x0f, 0xc1, 0x0b], 1), Some(10));
    assert_eq!(cpu.gpr[RCX], 1);
}

#[test]
fn compare_exchange_writes_either_way() {
    let (mut cpu, _) = device();
    (cpu.gpr[RAX], cpu.gpr[RDX]) = (5, 6);
    assert_eq!(modify(&mut cpu, &[0xf0, 0x0f, 0xb1, 0x13], 5), Some(6));
    assert_eq!((cpu.rflags & ZERO, cpu.gpr[RAX]), (ZERO, 5));
    assert_eq!(modify(&mut cpu, &[0x0f, 0xb1, 0x13], 9), Some(9));
    assert_eq!((cpu.rflags & ZERO, cpu.gpr[RAX]), (0, 9));
}

#[test]
fn bits_by_constant() {
    let (mut cpu, _) = device();
    assert_eq!(modify(&mut cpu, &[0x0f, 0xba, 0x2b, 0x23], 0), Some(8));
    assert_eq!(cpu.rflags & CARRY, 0);
    assert_eq!(modify(&mut cpu, &[0x0f, 0xba, 0x33, 0x03], 8), Some(0));
    assert_eq!(cpu.rflags & CARRY, CARRY);
    assert_eq!(modify(&mut cpu, &[0x0f, 0xba, 0x3b, 0x00], 1), Some(0));
    assert_eq!(modify(&mut cpu, &[0x0f, 0xba, 0x23, 0x01], 1), None);
    assert_eq!(cpu.rflags & CARRY, 0);
}

#[test]
fn bits_by_register_reach_other_words_in_both_directions() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RBX] = 0x2000;
    cpu.gpr[RCX] = 65;
    run(&mut cpu, &mut memory, &[0x0f, 0xab, 0x0b], 0);
    assert_eq!(memory.get(0x2008, 4), 2);
    cpu.gpr[RCX] = -1i32 as u32 as u64;
    run(&mut cpu, &mut memory, &[0x0f, 0xab, 0x0b], 0);
    assert_eq!(memory.get(0x1ffc, 4), 0x8000_0000);
}

#[test]
fn faulting_write_leaves_flags_and_registers() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RBX] = 0x3000;
    cpu.gpr[RCX] = 1;
    memory.hole = Some(3);
    let before = cpu.clone();
    let _ = step(&mut cpu, &mut memory, &[0x0f, 0xc1, 0x0b]);
    assert_eq!(cpu, before);
}
