//! Random bytes: the hand-written decoders and the full one agree, and
//! nothing panics.

mod machine;
use emulate::{
    CodeSize, Direction, Fetched, Known, Outcome, Register, Simple, control_move, decode_simple,
    known_length,
};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register as Name};
use machine::{Machine, Memory};
use proptest::prelude::*;

const PREFIXES: [u8; 12] = [
    0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48,
];

fn bytes(opcodes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![9 => prop::sample::select(opcodes), 1 => any::<u8>()];
    (
        prop::collection::vec(prop::sample::select(PREFIXES.to_vec()), 0..4),
        prop::option::of(0x40u8..0x50),
        any::<bool>(),
        opcode,
        prop::collection::vec(any::<u8>(), 14),
        0usize..=15,
        any::<bool>(),
    )
        .prop_map(|(mut bytes, rex, escape, opcode, tail, length, whole)| {
            bytes.extend(rex);
            if escape {
                bytes.push(0x0f);
            }
            bytes.push(opcode);
            bytes.extend(tail);
            bytes.truncate(if whole { 15 } else { length });
            bytes
        })
}

fn code_size() -> impl Strategy<Value = CodeSize> {
    prop_oneof![
        Just(CodeSize::Bits16),
        Just(CodeSize::Bits32),
        Just(CodeSize::Bits64)
    ]
}

fn reference(bytes: &[u8], size: CodeSize) -> Option<Instruction> {
    let bits = match size {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    };
    // LOCK in front of these instructions is an error that the CPU reports
    // before it leaves the guest.
    let options = DecoderOptions::AMD | DecoderOptions::NO_INVALID_CHECK;
    let instruction = Decoder::new(bits, bytes, options).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

fn register(name: Name) -> Register {
    let high = matches!(name, Name::AH | Name::CH | Name::DH | Name::BH);
    Register {
        number: if high {
            name.number() as u8 - 4
        } else {
            name.full_register().number() as u8
        },
        high,
    }
}

/// What the full decoder says of a plain move.
fn expected(instruction: &Instruction) -> Option<Simple> {
    let signed = match instruction.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movzx => false,
        Mnemonic::Movsx | Mnemonic::Movsxd => true,
        _ => return None,
    };
    let size = instruction.memory_size().size() as u8;
    let direction = match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Register, OpKind::Memory) if instruction.op0_register().is_gpr() => {
            let name = instruction.op0_register();
            Direction::Load {
                to: register(name),
                width: name.size() as u8,
                signed,
            }
        }
        (OpKind::Memory, OpKind::Register) if instruction.op1_register().is_gpr() => {
            Direction::Store(register(instruction.op1_register()))
        }
        (OpKind::Memory, _) if instruction.op1_kind() != OpKind::Register => {
            let mask = u64::MAX >> (64 - u32::from(size) * 8);
            Direction::StoreConstant(instruction.immediate(1) & mask)
        }
        _ => return None,
    };
    Some(Simple {
        length: instruction.len() as u8,
        size,
        direction,
    })
}

fn mnemonic(known: Known) -> &'static [Mnemonic] {
    match known {
        Known::Cpuid => &[Mnemonic::Cpuid],
        Known::Rdmsr => &[Mnemonic::Rdmsr],
        Known::Wrmsr => &[Mnemonic::Wrmsr],
        Known::Hlt => &[Mnemonic::Hlt],
        Known::Rdtsc => &[Mnemonic::Rdtsc],
        Known::Rdpmc => &[Mnemonic::Rdpmc],
        Known::Invd => &[Mnemonic::Invd],
        Known::Wbinvd => &[Mnemonic::Wbinvd, Mnemonic::Wbnoinvd],
        Known::Clts => &[Mnemonic::Clts],
        Known::Invlpg => &[Mnemonic::Invlpg],
        Known::Lgdt => &[Mnemonic::Lgdt],
        Known::Lidt => &[Mnemonic::Lidt],
        Known::Sgdt => &[Mnemonic::Sgdt],
        Known::Sidt => &[Mnemonic::Sidt],
        Known::Lmsw => &[Mnemonic::Lmsw],
        Known::Smsw => &[Mnemonic::Smsw],
        Known::Str => &[Mnemonic::Str],
        Known::Ltr => &[Mnemonic::Ltr],
        Known::Lldt => &[Mnemonic::Lldt],
        Known::Sldt => &[Mnemonic::Sldt],
        Known::Icebp => &[Mnemonic::Int1],
        Known::Int => &[Mnemonic::Int],
        Known::Rsm => &[Mnemonic::Rsm],
        Known::Pushf => &[Mnemonic::Pushf, Mnemonic::Pushfd, Mnemonic::Pushfq],
        Known::Popf => &[Mnemonic::Popf, Mnemonic::Popfd, Mnemonic::Popfq],
        Known::Iret => &[Mnemonic::Iret, Mnemonic::Iretd, Mnemonic::Iretq],
        _ => unreachable!("not in the list of this test"),
    }
}

const KNOWN: [Known; 26] = [
    Known::Cpuid,
    Known::Rdmsr,
    Known::Wrmsr,
    Known::Hlt,
    Known::Rdtsc,
    Known::Rdpmc,
    Known::Invd,
    Known::Wbinvd,
    Known::Clts,
    Known::Invlpg,
    Known::Lgdt,
    Known::Lidt,
    Known::Sgdt,
    Known::Sidt,
    Known::Lmsw,
    Known::Smsw,
    Known::Str,
    Known::Ltr,
    Known::Lldt,
    Known::Sldt,
    Known::Icebp,
    Known::Int,
    Known::Rsm,
    Known::Pushf,
    Known::Popf,
    Known::Iret,
];

const MOVES: [u8; 15] = [
    0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3, 0xc6, 0xc7, 0x63, 0xb6, 0xb7, 0xbe, 0xbf,
];

const NAMED: [u8; 17] = [
    0xa2, 0x32, 0x30, 0xf4, 0x31, 0x33, 0x08, 0x09, 0x06, 0x01, 0x00, 0xf1, 0xcd, 0xaa, 0x9c, 0x9d,
    0xcf,
];

const DEVICE_OPCODES: [u8; 24] = [
    0x00, 0x09, 0x13, 0x1a, 0x21, 0x28, 0x33, 0x39, 0x80, 0x81, 0x83, 0x85, 0x86, 0x87, 0xa4, 0xa5,
    0xaa, 0xab, 0xad, 0xc0, 0xc1, 0xf6, 0xf7, 0xff,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn quick_decoder_agrees_with_the_full_one(
        bytes in bytes(MOVES.to_vec()),
        size in code_size(),
    ) {
        let quick = decode_simple(&Fetched::new(&bytes), size);
        let full = reference(&bytes, size);
        if let Some(quick) = quick {
            let full = full.as_ref().and_then(expected);
            prop_assert_eq!(Some(quick), full, "{:x?}", bytes);
        } else if let Some(full) = full {
            // What it leaves alone: repetition, LOCK, MOVSXD without REX.W.
            let odd = full.has_lock_prefix() || full.has_rep_prefix() || full.has_repne_prefix()
                || bytes.iter().any(|byte| matches!(byte, 0xf0 | 0xf2 | 0xf3))
                || full.mnemonic() == Mnemonic::Movsxd;
            prop_assert!(odd || expected(&full).is_none(), "{:x?}: {}", bytes, full.len());
        }
    }

    #[test]
    fn known_lengths_agree_with_the_full_decoder(
        bytes in bytes(NAMED.to_vec()),
        size in code_size(),
        known in prop::sample::select(KNOWN.to_vec()),
    ) {
        let full = reference(&bytes, size)
            .filter(|instruction| mnemonic(known).contains(&instruction.mnemonic()))
            .map(|instruction| instruction.len() as u8);
        prop_assert_eq!(known_length(known, &Fetched::new(&bytes), size), full, "{:x?}", bytes);
    }

    #[test]
    fn nothing_panics_and_what_stops_changes_nothing(
        bytes in bytes(DEVICE_OPCODES.to_vec()),
        size in code_size(),
        gpr in any::<[u64; 16]>(),
        near in any::<bool>(),
        rflags in any::<u64>(),
        answer in any::<Option<u64>>(),
    ) {
        let mut cpu = Machine { gpr, rflags, ..Machine::default() };
        if near {
            cpu.gpr = cpu.gpr.map(|value| value & 0xffff);
        }
        let mut memory = Memory { answer, hole: Some(5), ..Memory::default() };
        let fetched = Fetched::new(&bytes);
        let before = cpu.clone();
        let _ = control_move(Known::MovCr, &fetched, size);
        let outcome = emulate::emulate(&mut cpu, &mut memory, &fetched, size);
        match outcome {
            Outcome::Retired => prop_assert_ne!(cpu.rip, before.rip),
            Outcome::Unsupported(same) => {
                prop_assert_eq!(same, fetched);
                prop_assert_eq!(&cpu, &before);
            }
            Outcome::Repeat | Outcome::Pending | Outcome::Fault(_) => {
                prop_assert_eq!(cpu.rip, before.rip);
                prop_assert_eq!(cpu.rflags, before.rflags);
            }
        }
        prop_assert!(memory.writes.len() <= 2);
    }
}
