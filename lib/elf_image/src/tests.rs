//! Images are built field by field here, so that each can be spoiled alone.

extern crate std;

use std::vec::Vec;

use abi::Errno;
use proptest::prelude::*;

use crate::{ElfError, Image, ImageType, Limits, PAGE_SIZE};

const LIMITS: Limits = Limits {
    start: 0x1_0000,
    end: 0x7fff_ffff_f000,
};
const FILE_LEN: u64 = 0x1_0000;

#[derive(Clone, Copy, Debug)]
struct Phdr {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_TLS: u32 = 7;
const PT_GNU_STACK: u32 = 0x6474_e551;

fn load(flags: u32, offset: u64, vaddr: u64, filesz: u64, memsz: u64) -> Phdr {
    Phdr {
        kind: PT_LOAD,
        flags,
        offset,
        vaddr,
        filesz,
        memsz,
        align: PAGE_SIZE,
    }
}

fn program() -> Vec<Phdr> {
    std::vec![
        load(4, 0, 0x40_0000, 0x1234, 0x1234),
        load(5, 0x2000, 0x40_2000, 0x800, 0x800),
        load(6, 0x2800, 0x40_3800, 0x100, 0x9000),
        Phdr {
            kind: PT_TLS,
            align: 8,
            ..load(4, 0x2800, 0x40_3800, 0x10, 0x40)
        },
        Phdr {
            kind: PT_GNU_STACK,
            ..load(6, 0, 0, 0, 0)
        },
    ]
}

fn file(kind: u16, entry: u64, phdrs: &[Phdr]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&62u16.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&entry.to_le_bytes());
    out.extend_from_slice(&64u64.to_le_bytes());
    out.extend_from_slice(&0u64.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, phdrs.len() as u16, 64, 0, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    for p in phdrs {
        out.extend_from_slice(&p.kind.to_le_bytes());
        out.extend_from_slice(&p.flags.to_le_bytes());
        for word in [p.offset, p.vaddr, p.vaddr, p.filesz, p.memsz, p.align] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out.resize(4096, 0);
    out
}

fn outcome(phdrs: &[Phdr]) -> Option<ElfError> {
    Image::parse(&file(2, 0x40_2000, phdrs), FILE_LEN, &LIMITS).err()
}

fn spoiled(at: usize, change: impl Fn(&mut Phdr)) -> Option<ElfError> {
    let mut phdrs = program();
    change(&mut phdrs[at]);
    outcome(&phdrs)
}

#[test]
fn a_static_program_is_understood() {
    let bytes = file(2, 0x40_2010, &program());
    let image = Image::parse(&bytes, FILE_LEN, &LIMITS).unwrap();
    assert_eq!(image.entry(), 0x40_2010);
    assert_eq!(image.image_type(), ImageType::Fixed);
    assert_eq!(image.span(), (0x40_0000, 0x40_d000));
    assert_eq!(image.executable_stack(), Some(false));
    assert_eq!(image.interpreter(), None);
    assert_eq!(image.phdr_vaddr(), Some(0x40_0040));
    let tls = image.tls().unwrap();
    assert_eq!(
        (tls.vaddr, tls.file_size, tls.mem_size, tls.align),
        (0x40_3800, 0x10, 0x40, 8)
    );
    let segments: Vec<_> = image.segments().collect();
    assert_eq!(segments.len(), 3);
    assert_eq!(
        (segments[2].page_start(), segments[2].page_offset()),
        (0x40_3000, 0x2000)
    );
    assert!(segments[1].execute && !segments[1].write && segments[2].write);
}

#[test]
fn each_fault_has_its_reason() {
    use ElfError::*;
    assert_eq!(outcome(&program()), None);
    assert_eq!(
        spoiled(1, |p| p.filesz = 0x801),
        Some(FileLargerThanMemory { index: 1 })
    );
    assert_eq!(
        spoiled(1, |p| p.offset = FILE_LEN),
        Some(OutsideFile { index: 1 })
    );
    assert_eq!(
        spoiled(1, |p| p.offset = u64::MAX - 0xfff),
        Some(OutsideFile { index: 1 })
    );
    assert_eq!(spoiled(1, |p| p.offset += 8), Some(Misaligned { index: 1 }));
    assert_eq!(spoiled(1, |p| p.align = 3), Some(Misaligned { index: 1 }));
    assert_eq!(
        spoiled(1, |p| p.align = 1 << 40),
        Some(Misaligned { index: 1 })
    );
    assert_eq!(spoiled(2, |p| p.memsz = u64::MAX), Some(Wraps { index: 2 }));
    assert_eq!(
        spoiled(2, |p| p.memsz = u64::MAX - p.vaddr),
        Some(Wraps { index: 2 })
    );
    assert_eq!(
        spoiled(2, |p| p.vaddr = 0x40_2800),
        Some(Overlaps { index: 2 })
    );
    assert_eq!(
        spoiled(1, |p| p.vaddr = 0x40_1000),
        Some(Overlaps { index: 1 })
    );
    assert_eq!(
        spoiled(0, |p| p.vaddr = 0),
        Some(OutsideUserRange { index: 0 })
    );
    assert_eq!(
        spoiled(2, |p| p.memsz = LIMITS.end),
        Some(OutsideUserRange { index: 2 })
    );
    assert_eq!(spoiled(1, |p| p.flags = 4), Some(EntryOutside));
    assert_eq!(spoiled(3, |p| p.vaddr = 0), Some(BadTls));
    assert_eq!(outcome(&program()[3..]), Some(NoSegment));
    assert_eq!(outcome(&[]), Some(BadTable));
}

#[test]
fn interpreters_are_counted_and_bounded() {
    let interp = Phdr {
        kind: PT_INTERP,
        ..load(4, 0x200, 0, 0x1c, 0x1c)
    };
    let mut phdrs = program();
    phdrs.push(interp);
    let bytes = file(2, 0x40_2000, &phdrs);
    let found = Image::parse(&bytes, FILE_LEN, &LIMITS)
        .unwrap()
        .interpreter()
        .unwrap();
    assert_eq!((found.offset, found.len), (0x200, 0x1c));
    phdrs.push(interp);
    assert_eq!(outcome(&phdrs).unwrap().errno(), Errno::EINVAL);
    phdrs.pop();
    phdrs[5].filesz = 5000;
    assert_eq!(outcome(&phdrs), Some(ElfError::BadInterpreter));
    phdrs[5].filesz = 1;
    assert_eq!(outcome(&phdrs), Some(ElfError::BadInterpreter));
}

#[test]
fn a_relocatable_image_is_bounded_by_its_size_alone() {
    let mut phdrs = program();
    phdrs.iter_mut().take(4).for_each(|p| p.vaddr -= 0x40_0000);
    let bytes = file(3, 0x2000, &phdrs);
    let image = Image::parse(&bytes, FILE_LEN, &LIMITS).unwrap();
    assert_eq!(image.image_type(), ImageType::Relocatable);
    assert_eq!(image.span().0, 0);
    phdrs[2].memsz = LIMITS.end;
    let refused = Image::parse(&file(3, 0x2000, &phdrs), FILE_LEN, &LIMITS).unwrap_err();
    assert_eq!(
        (refused, refused.errno()),
        (ElfError::TooLarge, Errno::ENOMEM)
    );
    assert_eq!(refused.errno_as_interpreter(), Errno::ENOMEM);
}

#[test]
fn other_files_are_told_apart() {
    let good = file(2, 0x40_2000, &program());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Image::parse(&bytes, FILE_LEN, &LIMITS).unwrap_err()
    };
    assert_eq!(with(0, b'#'), ElfError::NotElf);
    assert_eq!(with(4, 1), ElfError::WrongMachine);
    assert_eq!(with(5, 2), ElfError::WrongMachine);
    assert_eq!(with(18, 40), ElfError::WrongMachine);
    assert_eq!(with(16, 1), ElfError::WrongType);
    assert_eq!(with(54, 32), ElfError::BadTable);
    assert_eq!(with(57, 0xff), ElfError::BadTable);
    assert_eq!(with(33, 0x10), ElfError::TableElsewhere);
    assert_eq!(with(39, 0xff), ElfError::Truncated);
    assert_eq!(with(0, 0).errno(), Errno::ENOEXEC);
    assert_eq!(with(4, 1).errno_as_interpreter(), Errno::ELIBBAD);
    let short = Image::parse(&good[..40], FILE_LEN, &LIMITS).unwrap_err();
    assert_eq!(short, ElfError::Truncated);
    assert_eq!(
        Image::parse(&good, 100, &LIMITS).unwrap_err(),
        ElfError::Truncated
    );
    assert_eq!(Image::parse(&[], 0, &LIMITS).unwrap_err(), ElfError::NotElf);
}

#[test]
fn this_test_program_itself_is_accepted() {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let image = Image::parse(&bytes[..4096], bytes.len() as u64, &LIMITS).unwrap();
    assert_eq!(image.image_type(), ImageType::Relocatable);
    let interp = image.interpreter().unwrap();
    let path = &bytes[interp.offset as usize..][..interp.len as usize];
    assert!(path.starts_with(b"/lib") && path.ends_with(b"\0"));
    assert!(image.phdr_vaddr().is_some() && image.tls().is_some());
}

fn invariants(image: &Image<'_>, file_len: u64) {
    let mut previous = 0;
    let mut entry_seen = false;
    for s in image.segments() {
        assert!(s.file_size <= s.mem_size && s.mem_size > 0);
        assert!(s.file_offset.checked_add(s.file_size).unwrap() <= file_len);
        assert_eq!(s.page_start() % PAGE_SIZE, 0);
        assert_eq!(s.vaddr - s.page_start(), s.file_offset - s.page_offset());
        assert!(s.page_start() >= previous && s.page_end() >= s.end());
        if image.image_type() == ImageType::Fixed {
            assert!(s.page_start() >= LIMITS.start && s.page_end() <= LIMITS.end);
        }
        entry_seen |= s.execute && s.vaddr <= image.entry() && image.entry() < s.end();
        previous = s.page_end();
    }
    assert!(entry_seen);
    assert_eq!(previous, image.span().1);
    assert!(image.size() <= LIMITS.end - LIMITS.start);
    assert!(image.align().is_power_of_two() && image.align() >= PAGE_SIZE);
    if let Some(at) = image.phdr_vaddr() {
        assert!(image.span().0 <= at && at < image.span().1);
    }
}

fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        (0..8u64).prop_map(|n| n * 0x800),
        (0..64u32).prop_map(|n| 1 << n),
        (0..16u64).prop_map(|n| 0x40_0000 + n * 0x800),
        (0..0x2000u64).prop_map(|n| u64::MAX - n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), len: u64) {
        if let Ok(image) = Image::parse(&bytes, len, &LIMITS) {
            invariants(&image, len);
        }
    }

    #[test]
    fn flipped_bytes_never_break_an_invariant(
        flips in proptest::collection::vec((0..344usize, any::<u8>()), 1..6),
        keep in 0..4096usize,
        fixed: bool,
    ) {
        let mut bytes = file(if fixed { 2 } else { 3 }, 0x40_2000, &program());
        for (at, value) in flips {
            bytes[at] = value;
        }
        for bytes in [&bytes[..], &bytes[..keep]] {
            if let Ok(image) = Image::parse(bytes, FILE_LEN, &LIMITS) {
                invariants(&image, FILE_LEN);
            }
        }
    }

    #[test]
    fn edge_values_never_break_an_invariant(
        changes in proptest::collection::vec((0..5usize, 0..7u8, edge()), 1..4),
        fixed: bool,
    ) {
        let mut phdrs = program();
        for (at, field, value) in changes {
            let p = &mut phdrs[at];
            match field {
                0 => p.offset = value,
                1 => p.vaddr = value,
                2 => p.filesz = value,
                3 => p.memsz = value,
                4 => p.align = value,
                5 => p.kind = (value % 8) as u32,
                _ => { p.vaddr = value; p.offset = value % PAGE_SIZE; }
            }
        }
        let bytes = file(if fixed { 2 } else { 3 }, 0x40_2000, &phdrs);
        if let Ok(image) = Image::parse(&bytes, FILE_LEN, &LIMITS) {
            invariants(&image, FILE_LEN);
        }
    }
}
