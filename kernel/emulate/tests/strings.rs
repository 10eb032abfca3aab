//! String instructions: they stop at a device and go on where they stopped.

mod machine;
use emulate::{CodeSize, Exception, Fetched, Outcome};
use machine::{DEVICE, DIRECTION, Machine, Memory, RAX, RCX, RDI, RSI, run, step};

const REP_MOVSD: [u8; 2] = [0xf3, 0xa5];

#[test]
fn single_elements_move_the_pointers_by_their_size() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    memory.put(0x2000, &0x1122_3344_5566_7788u64.to_le_bytes());
    (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RCX]) = (0x2000, 0x3000, 0);
    run(&mut cpu, &mut memory, &[0x48, 0xa5], 0);
    assert_eq!(memory.get(0x3000, 8), 0x1122_3344_5566_7788);
    assert_eq!((cpu.gpr[RSI], cpu.gpr[RDI]), (0x2008, 0x3008));
    cpu.rflags |= DIRECTION;
    cpu.gpr[RAX] = 0xabcd;
    run(&mut cpu, &mut memory, &[0x66, 0xab], 0);
    assert_eq!((memory.get(0x3008, 2), cpu.gpr[RDI]), (0xabcd, 0x3006));
}

#[test]
fn repeat_count_of_zero_does_nothing() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RDI] = DEVICE;
    run(&mut cpu, &mut memory, &[0xf3, 0xab], 0);
    assert_eq!((cpu.gpr[RDI], memory.writes.len()), (DEVICE, 0));
}

#[test]
fn store_to_a_device_stops_after_every_element() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    (cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RDI]) = (0x55, 3, DEVICE);
    for left in [2, 1] {
        assert_eq!(step(&mut cpu, &mut memory, &[0xf3, 0xab]), Outcome::Repeat);
        assert_eq!((cpu.gpr[RCX], cpu.rip), (left, 0x1000));
    }
    assert_eq!(step(&mut cpu, &mut memory, &[0xf3, 0xab]), Outcome::Retired);
    assert_eq!((cpu.gpr[RCX], cpu.rip), (0, 0x1002));
    let writes = [0, 4, 8].map(|offset| (DEVICE + offset, 4, 0x55));
    assert_eq!(memory.writes, writes);
}

#[test]
fn copy_from_a_device_waits_for_every_element() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    (cpu.gpr[RCX], cpu.gpr[RSI], cpu.gpr[RDI]) = (3, DEVICE, 0x3000);
    for left in (0..3u64).rev() {
        assert_eq!(step(&mut cpu, &mut memory, &REP_MOVSD), Outcome::Pending);
        assert_eq!(cpu.gpr[RCX], left + 1);
        memory.answer = Some(0x100 + left);
        if left == 0 {
            break;
        }
        // The next element waits in the same call.
        assert_eq!(step(&mut cpu, &mut memory, &REP_MOVSD), Outcome::Pending);
        assert_eq!(cpu.gpr[RCX], left);
        memory.reads.pop();
    }
    assert_eq!(step(&mut cpu, &mut memory, &REP_MOVSD), Outcome::Retired);
    assert_eq!(memory.get(0x3000, 4), 0x102);
    assert_eq!(memory.get(0x3004, 4), 0x101);
    assert_eq!(memory.get(0x3008, 4), 0x100);
}

#[test]
fn long_repetition_comes_up_for_air() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    (cpu.gpr[RCX], cpu.gpr[RDI]) = (1000, 0x10_0000);
    assert_eq!(step(&mut cpu, &mut memory, &[0xf3, 0xaa]), Outcome::Repeat);
    assert_eq!(cpu.gpr[RCX] + cpu.gpr[RDI], 1000 + 0x10_0000);
    assert!(cpu.gpr[RCX] > 0);
    assert_eq!(step(&mut cpu, &mut memory, &[0xf3, 0xaa]), Outcome::Retired);
    assert_eq!(memory.ram.len(), 1000);
}

#[test]
fn fault_in_the_middle_keeps_what_was_done() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    (cpu.gpr[RCX], cpu.gpr[RDI]) = (8, 0x1ff8);
    memory.hole = Some(2);
    let outcome = step(&mut cpu, &mut memory, &[0xf3, 0xab]);
    assert!(matches!(
        outcome,
        Outcome::Fault(Exception {
            address: Some(0x2000),
            ..
        })
    ));
    assert_eq!((cpu.gpr[RCX], cpu.gpr[RDI], cpu.rip), (6, 0x2000, 0x1000));
}

#[test]
fn address_size_bounds_the_registers() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RCX] = 0xffff_0001;
    cpu.gpr[RDI] = 0xffff_ffff;
    let fetched = Fetched::new(&[0xf3, 0xaa]);
    let outcome = emulate::emulate(&mut cpu, &mut memory, &fetched, CodeSize::Bits16);
    assert_eq!(outcome, Outcome::Retired);
    assert_eq!((cpu.gpr[RCX], cpu.gpr[RDI]), (0xffff_0000, 0xffff_0000));
    cpu.gpr[RCX] = 0xffff_ffff_0000_0001;
    cpu.gpr[RDI] = 0xffff_ffff_0000_4000;
    cpu.rip = 0x1000;
    run(&mut cpu, &mut memory, &[0x67, 0xf3, 0xaa], 0);
    assert_eq!((cpu.gpr[RCX], cpu.gpr[RDI]), (0, 0x4001));
}

#[test]
fn source_segment_can_be_overridden() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.fs_base = 0x7000;
    cpu.gpr[RSI] = 0x10;
    memory.put(0x7010, &[0x99]);
    run(&mut cpu, &mut memory, &[0x64, 0xac], 0);
    assert_eq!((cpu.gpr[RAX], cpu.gpr[RSI]), (0x99, 0x11));
}
