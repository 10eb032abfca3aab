//! MOV and its relatives, on the quick path and on the full one.

mod machine;
use emulate::{CodeSize, Direction, Exception, Fetched, Outcome, Register, Simple, decode_simple};
use machine::{DEVICE, Machine, Memory, RAX, RBX, RCX, RDX, run, step};

fn simple(bytes: &[u8], size: CodeSize) -> Option<Simple> {
    decode_simple(&Fetched::new(bytes), size)
}

fn simple64(bytes: &[u8]) -> Option<Simple> {
    simple(bytes, CodeSize::Bits64)
}

fn low(number: u8) -> Register {
    Register {
        number,
        high: false,
    }
}

fn load(length: u8, size: u8, to: u8, width: u8, signed: bool) -> Option<Simple> {
    Some(Simple {
        length,
        size,
        direction: Direction::Load {
            to: low(to),
            width,
            signed,
        },
    })
}

fn store(length: u8, size: u8, from: u8) -> Option<Simple> {
    Some(Simple {
        length,
        size,
        direction: Direction::Store(low(from)),
    })
}

#[test]
fn loads_and_stores_of_every_size() {
    assert_eq!(simple64(&[0x8b, 0x03]), load(2, 4, 0, 4, false));
    assert_eq!(simple64(&[0x48, 0x8b, 0x0b]), load(3, 8, 1, 8, false));
    assert_eq!(simple64(&[0x66, 0x8b, 0x13]), load(3, 2, 2, 2, false));
    assert_eq!(simple64(&[0x8a, 0x1b]), load(2, 1, 3, 1, false));
    assert_eq!(simple64(&[0x44, 0x89, 0x3b]), store(3, 4, 15));
    assert_eq!(simple64(&[0x40, 0x88, 0x23]), store(3, 1, 4));
}

#[test]
fn bytes_without_rex_have_high_halves() {
    let ah = Register {
        number: 0,
        high: true,
    };
    let decoded = simple64(&[0x88, 0x23]).expect("store of AH");
    assert_eq!(decoded.direction, Direction::Store(ah));
    let mut cpu = Machine::default();
    cpu.gpr[RAX] = 0x1122_3344;
    assert_eq!(decoded.stored(&cpu), Some(0x33));
    simple64(&[0x8a, 0x23])
        .expect("load of AH")
        .load(&mut cpu, 0xff99);
    assert_eq!(cpu.gpr[RAX], 0x1122_9944);
}

#[test]
fn addressing_forms_have_the_right_length() {
    for (bytes, length) in [
        (&[0x8b, 0x43, 0x10][..], 3),
        (&[0x8b, 0x83, 0, 0, 0, 0], 6),
        (&[0x8b, 0x05, 0, 0, 0, 0], 6),
        (&[0x8b, 0x04, 0x24], 3),
        (&[0x8b, 0x04, 0x25, 0, 0, 0, 0], 7),
        (&[0x8b, 0x44, 0x24, 0x08], 4),
        (&[0x8b, 0x84, 0x24, 0, 0, 0, 0], 7),
        (&[0x67, 0x8b, 0x05, 0, 0, 0, 0], 7),
        (&[0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0], 9),
        (&[0xa1, 0, 0, 0, 0, 0, 0, 0, 0], 9),
        (&[0x67, 0xa1, 0, 0, 0, 0], 6),
    ] {
        assert_eq!(
            simple64(bytes).map(|s| s.length),
            Some(length),
            "{bytes:x?}"
        );
        let short = &bytes[..bytes.len() - 1];
        assert_eq!(simple64(short), None, "{short:x?}");
    }
}

#[test]
fn sixteen_bit_code_has_its_own_forms() {
    let real = |bytes: &[u8]| simple(bytes, CodeSize::Bits16);
    assert_eq!(real(&[0x89, 0x07]), store(2, 2, 0));
    assert_eq!(real(&[0x66, 0x89, 0x07]), store(3, 4, 0));
    assert_eq!(real(&[0x8b, 0x1e, 0, 0]), load(4, 2, 3, 2, false));
    assert_eq!(real(&[0x8b, 0x5e, 0]), load(3, 2, 3, 2, false));
    assert_eq!(real(&[0xa3, 0, 0]), store(3, 2, 0));
    assert_eq!(real(&[0x67, 0x66, 0xa3, 0, 0, 0, 0]), store(7, 4, 0));
    // 0x48 is DEC there, not a prefix.
    assert_eq!(real(&[0x48, 0x89, 0x07]), None);
}

#[test]
fn constants_are_extended_to_the_operand() {
    let stored = |bytes: &[u8]| simple64(bytes).map(|s| (s.length, s.size, s.direction));
    let constant = Direction::StoreConstant;
    assert_eq!(stored(&[0xc6, 0x03, 0x80]), Some((3, 1, constant(0x80))));
    assert_eq!(
        stored(&[0x66, 0xc7, 0x03, 0x34, 0x12]),
        Some((5, 2, constant(0x1234)))
    );
    assert_eq!(
        stored(&[0xc7, 0x03, 0, 0, 0, 0x80]),
        Some((6, 4, constant(0x8000_0000)))
    );
    assert_eq!(
        stored(&[0x48, 0xc7, 0x03, 0, 0, 0, 0x80]),
        Some((7, 8, constant(0xffff_ffff_8000_0000)))
    );
    assert_eq!(stored(&[0xc7, 0x0b, 0, 0, 0, 0]), None);
}

#[test]
fn extending_loads() {
    assert_eq!(simple64(&[0x0f, 0xb6, 0x03]), load(3, 1, 0, 4, false));
    assert_eq!(simple64(&[0x48, 0x0f, 0xb7, 0x03]), load(4, 2, 0, 8, false));
    assert_eq!(simple64(&[0x66, 0x0f, 0xbe, 0x03]), load(4, 1, 0, 2, true));
    assert_eq!(simple64(&[0x4c, 0x63, 0x03]), load(3, 4, 8, 8, true));
    let mut cpu = Machine::default();
    cpu.gpr[RAX] = u64::MAX;
    simple64(&[0x0f, 0xbe, 0x03])
        .expect("MOVSX")
        .load(&mut cpu, 0x80);
    assert_eq!(cpu.gpr[RAX], 0xffff_ff80);
    simple64(&[0x48, 0x0f, 0xbf, 0x03])
        .expect("MOVSX")
        .load(&mut cpu, 0x8000);
    assert_eq!(cpu.gpr[RAX], 0xffff_ffff_ffff_8000);
}

#[test]
fn other_instructions_are_left_alone() {
    for bytes in [
        &[0x8b, 0xc3][..],
        &[0xf0, 0x89, 0x03],
        &[0xf3, 0x89, 0x03],
        &[0x01, 0x03],
        &[0x63, 0x03],
        &[0x8c, 0x03],
        &[0x0f, 0xa2],
        &[],
        &[0x66; 15],
    ] {
        assert_eq!(simple64(bytes), None, "{bytes:x?}");
    }
}

#[test]
fn legacy_prefix_cancels_rex() {
    assert_eq!(simple64(&[0x48, 0x66, 0x8b, 0x03]), load(4, 2, 0, 2, false));
    assert_eq!(simple64(&[0x41, 0x48, 0x8b, 0x03]), load(4, 8, 0, 8, false));
}

#[test]
fn full_path_loads_from_a_device() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RBX] = DEVICE;
    cpu.gpr[RAX] = u64::MAX;
    run(&mut cpu, &mut memory, &[0x8b, 0x43, 0x20], 0x1_2345_6789);
    assert_eq!(cpu.gpr[RAX], 0x2345_6789);
    run(&mut cpu, &mut memory, &[0x48, 0x0f, 0xbe, 0x4b, 0x30], 0x80);
    assert_eq!(cpu.gpr[RCX], 0xffff_ffff_ffff_ff80);
    run(&mut cpu, &mut memory, &[0x8a, 0x63, 0x40], 0x12);
    assert_eq!(cpu.gpr[RAX], 0x2345_1289);
    assert_eq!(
        memory.reads,
        [(DEVICE + 0x20, 4), (DEVICE + 0x30, 1), (DEVICE + 0x40, 1)]
    );
}

#[test]
fn full_path_stores_to_a_device() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.gpr[RBX] = DEVICE;
    cpu.gpr[RCX] = 4;
    cpu.gpr[RDX] = 0x1122_3344_5566_7788;
    run(&mut cpu, &mut memory, &[0x89, 0x14, 0x8b], 0);
    run(&mut cpu, &mut memory, &[0x88, 0x33], 0);
    run(
        &mut cpu,
        &mut memory,
        &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff],
        0,
    );
    run(&mut cpu, &mut memory, &[0x0f, 0xc3, 0x13], 0);
    assert_eq!(
        memory.writes,
        [
            (DEVICE + 16, 4, 0x5566_7788),
            (DEVICE, 1, 0x77),
            (DEVICE, 8, 0xffff_ffff_ffff_fffe),
            (DEVICE, 4, 0x5566_7788),
        ]
    );
}

#[test]
fn addresses_are_formed_like_the_processor_does() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.fs_base = 0x5000;
    cpu.gpr[RBX] = 0xffff_ffff_0000_0100;
    memory.put(0x5100, &[0xaa]);
    memory.put(0x1106, &[0xbb]);
    memory.put(0x2100, &[0xcc]);
    memory.put(0xff, &[0xdd]);
    // fs: with a 32-bit address; relative to the next instruction; absolute.
    run(&mut cpu, &mut memory, &[0x64, 0x67, 0x8a, 0x03], 0);
    assert_eq!(cpu.gpr[RAX] as u8, 0xaa);
    cpu.rip = 0x1000;
    run(&mut cpu, &mut memory, &[0x8a, 0x05, 0x00, 0x01, 0, 0], 0);
    assert_eq!(cpu.gpr[RAX] as u8, 0xbb);
    run(
        &mut cpu,
        &mut memory,
        &[0x8a, 0x04, 0x25, 0x00, 0x21, 0, 0],
        0,
    );
    assert_eq!(cpu.gpr[RAX] as u8, 0xcc);
    cpu.gpr[RBX] = 0x100;
    run(&mut cpu, &mut memory, &[0x8a, 0x43, 0xff], 0);
    assert_eq!(cpu.gpr[RAX] as u8, 0xdd);
}

#[test]
fn segments_have_bases_and_limits_outside_of_64_bit_mode() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    cpu.base = 0xb_8000;
    cpu.limit = 0xffff;
    cpu.rip = 0xffff;
    cpu.gpr[RBX] = 0xdead_0010;
    memory.put(0xb_8010, &[0x41]);
    let fetched = Fetched::new(&[0x8a, 0x07]);
    let outcome = emulate::emulate(&mut cpu, &mut memory, &fetched, CodeSize::Bits16);
    assert_eq!(
        (outcome, cpu.gpr[RAX], cpu.rip),
        (Outcome::Retired, 0x41, 1)
    );
    cpu.gpr[RBX] = 0xffff;
    let fetched = Fetched::new(&[0x8b, 0x07]);
    let outcome = emulate::emulate(&mut cpu, &mut memory, &fetched, CodeSize::Bits16);
    assert_eq!(outcome, Outcome::Fault(Exception::GENERAL_PROTECTION));
    let fetched = Fetched::new(&[0x8b, 0x85, 0xff, 0xff, 0xff, 0x7f]);
    cpu.limit = 0x1000;
    let outcome = emulate::emulate(&mut cpu, &mut memory, &fetched, CodeSize::Bits32);
    assert_eq!(outcome, Outcome::Fault(Exception::STACK));
}

#[test]
fn fault_of_the_bus_is_passed_on_with_nothing_changed() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    memory.hole = Some(0);
    let before = cpu.clone();
    let outcome = step(&mut cpu, &mut memory, &[0x8b, 0x03]);
    assert!(matches!(
        outcome,
        Outcome::Fault(Exception { vector: 14, .. })
    ));
    assert_eq!(cpu, before);
}

#[test]
fn unsupported_instructions_come_back_with_their_bytes() {
    let (mut cpu, mut memory) = (Machine::default(), Memory::default());
    for bytes in [
        &[0x0f, 0x10, 0x03][..],
        &[0xff, 0x33],
        &[0x8e, 0x03],
        &[0xa6],
        &[0x0f, 0xff],
        &[0x48],
        &[0x8b, 0xc3],
        &[0xd9, 0x03],
    ] {
        let outcome = step(&mut cpu, &mut memory, bytes);
        assert_eq!(outcome, Outcome::Unsupported(Fetched::new(bytes)));
    }
    assert_eq!(cpu, Machine::default());
}
