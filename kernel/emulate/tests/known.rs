//! Lengths of instructions that an exit code names.

use emulate::{CodeSize, ControlMove, Fetched, Known, control_move, known_length};

fn length(known: Known, bytes: &[u8]) -> Option<u8> {
    known_length(known, &Fetched::new(bytes), CodeSize::Bits64)
}

#[test]
fn plain_encodings() {
    for (known, bytes) in [
        (Known::Cpuid, &[0x0f, 0xa2][..]),
        (Known::Rdmsr, &[0x0f, 0x32]),
        (Known::Wrmsr, &[0x0f, 0x30]),
        (Known::Hlt, &[0xf4]),
        (Known::Pause, &[0xf3, 0x90]),
        (Known::Vmmcall, &[0x0f, 0x01, 0xd9]),
        (Known::Rdtscp, &[0x0f, 0x01, 0xf9]),
        (Known::Xsetbv, &[0x0f, 0x01, 0xd1]),
        (Known::Wbinvd, &[0xf3, 0x0f, 0x09]),
        (Known::MovCr, &[0x0f, 0x22, 0xc0]),
        (Known::Invlpg, &[0x0f, 0x01, 0x3c, 0x25, 0, 0, 0, 0]),
        (Known::Lgdt, &[0x0f, 0x01, 0x55, 0x08]),
        (Known::Lmsw, &[0x0f, 0x01, 0xf0]),
        (Known::Int, &[0xcd, 0x80]),
    ] {
        assert_eq!(length(known, bytes), Some(bytes.len() as u8), "{known:?}");
        let short = &bytes[..bytes.len() - 1];
        assert_eq!(length(known, short), None, "{known:?}");
    }
}

#[test]
fn prefixes_count() {
    assert_eq!(
        length(Known::Cpuid, &[0x66, 0x2e, 0x48, 0x0f, 0xa2]),
        Some(5)
    );
    let mut longest = [0x66; 15];
    longest[13..].copy_from_slice(&[0x0f, 0xa2]);
    assert_eq!(length(Known::Cpuid, &longest), Some(15));
    let mut longer = [0x66; 16];
    longer[14..].copy_from_slice(&[0x0f, 0xa2]);
    assert_eq!(length(Known::Cpuid, &longer), None);
    assert_eq!(length(Known::Hlt, &[0x66; 15]), None);
}

#[test]
fn changed_bytes_are_noticed() {
    assert_eq!(length(Known::Cpuid, &[0x0f, 0x32]), None);
    assert_eq!(length(Known::Cpuid, &[0x90, 0x90]), None);
    assert_eq!(length(Known::Pause, &[0x90]), None);
    assert_eq!(length(Known::Invlpg, &[0x0f, 0x01, 0xf9]), None);
    assert_eq!(length(Known::Rdtsc, &[0x0f, 0x01, 0xf9]), None);
}

#[test]
fn control_moves_name_their_registers() {
    let decode = |known, bytes: &[u8], size| control_move(known, &Fetched::new(bytes), size);
    let expect = |length, number, gpr, write| {
        Some(ControlMove {
            length,
            number,
            gpr,
            write,
        })
    };
    let long = CodeSize::Bits64;
    assert_eq!(
        decode(Known::MovCr, &[0x0f, 0x20, 0xdf], long),
        expect(3, 3, 7, false)
    );
    assert_eq!(
        decode(Known::MovCr, &[0x45, 0x0f, 0x22, 0xc1], long),
        expect(4, 8, 9, true)
    );
    assert_eq!(
        decode(Known::MovCr, &[0xf0, 0x0f, 0x20, 0xc0], CodeSize::Bits32),
        expect(4, 8, 0, false)
    );
    assert_eq!(
        decode(Known::MovDr, &[0x0f, 0x23, 0xf8], long),
        expect(3, 7, 0, true)
    );
    assert_eq!(decode(Known::MovDr, &[0x0f, 0x22, 0xf8], long), None);
    assert_eq!(decode(Known::Cpuid, &[0x0f, 0xa2], long), None);
}
