use crate::*;
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use vm_memory::GuestMemoryBackend;

const MIB: u64 = 1 << 20;
const RSDP: u64 = 0xE_0000;

/// A file that is gone when the test ends.
struct TestFile {
    path: PathBuf,
    file: File,
}

impl TestFile {
    fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("guest_boot-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(bytes).unwrap();
        Self { path, file }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A bzImage whose setup part is one sector and whose kernel is `payload`.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1F1, &[1]);
    put(0x1F4, &(payload.len() as u32 / 16).to_le_bytes());
    put(0x1FE, &[0x55, 0xAA, 0xEB, 0x66]);
    put(0x202, b"HdrS");
    put(0x206, &0x020Fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22C, &0x7FFF_FFFFu32.to_le_bytes());
    put(0x236, &1u16.to_le_bytes());
    put(0x238, &2047u32.to_le_bytes());
    put(0x258, &(16 * MIB).to_le_bytes());
    put(0x260, &(4 * MIB as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image
}

/// An ELF kernel: one segment at 16 MiB, and the PVH note in another.
fn elf(note_type: u32) -> Vec<u8> {
    let mut image = vec![0; 0x200];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7FELF\x02\x01\x01");
    put(16, &[2, 0, 62, 0, 1, 0, 0, 0]);
    put(24, &(16 * MIB).to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 2, 0]);
    for (at, kind, offset, address, len) in [
        (64, 1u32, 0x180u64, 16 * MIB, 16u64),
        (120, 4, 0x1A0, 0, 24),
    ] {
        put(at, &kind.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 24, &address.to_le_bytes());
        put(at + 32, &len.to_le_bytes());
        put(at + 40, &len.to_le_bytes());
        put(at + 48, &4u64.to_le_bytes());
    }
    put(0x180, b"kernel text here");
    for (index, word) in [4, 8, note_type].into_iter().enumerate() {
        put(0x1A0 + 4 * index, &word.to_le_bytes());
    }
    put(0x1AC, b"Xen\0");
    put(0x1B0, &(16 * MIB + 8).to_le_bytes());
    image
}

struct Loaded {
    memory: GuestMemoryMmap,
    plan: Result<BootPlan, BootError>,
}

fn load_with(kernel: &[u8], initrd: Option<&[u8]>, cmdline: &str, mib: u64) -> Loaded {
    let layout = RamLayout::new(mib * MIB);
    let ranges = [(GuestAddress(0), layout.low.len as usize)];
    let memory = GuestMemoryMmap::from_ranges(&ranges).unwrap();
    let mut kernel = TestFile::new(kernel);
    let mut initrd = initrd.map(TestFile::new);
    let source = BootSource {
        kernel: &mut kernel.file,
        initrd: initrd.as_mut().map(|file| &mut file.file),
        cmdline,
        rsdp: RSDP,
    };
    let plan = load(&memory, &layout, source);
    Loaded { memory, plan }
}

fn bytes(memory: &GuestMemoryMmap, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    bytes
}

fn u32_at(memory: &GuestMemoryMmap, at: u64) -> u32 {
    memory.read_obj(GuestAddress(at)).unwrap()
}

#[test]
fn a_bzimage_is_entered_in_long_mode_with_its_zero_page() {
    let payload = vec![0x90; 4096];
    let Loaded { memory, plan } = load_with(&bzimage(&payload), Some(b"initrd!"), "quiet", 64);
    let plan = plan.unwrap();
    assert_eq!(
        (plan.mode, plan.entry, plan.rsi),
        (EntryMode::Long, 0x10_0200, ZERO_PAGE_START)
    );
    assert_eq!(bytes(&memory, MIB, 4096), payload);
    let page = |at: u64| u32_at(&memory, ZERO_PAGE_START + at);
    assert_eq!(bytes(&memory, ZERO_PAGE_START + 0x202, 4), b"HdrS");
    assert_eq!(page(0x70), RSDP as u32);
    assert_eq!(bytes(&memory, u64::from(page(0x228)), 6), b"quiet\0");
    assert_eq!(
        bytes(&memory, u64::from(page(0x218)), page(0x21C) as usize),
        b"initrd!"
    );
    let entries = bytes(&memory, ZERO_PAGE_START + 0x1E8, 1)[0];
    assert_eq!(
        usize::from(entries),
        memory_map::entries(&RamLayout::new(64 * MIB)).len()
    );
    assert_eq!(
        bytes(&memory, ZERO_PAGE_START + 0x2D0 + 16, 4),
        [1, 0, 0, 0]
    );
}

#[test]
fn an_elf_kernel_is_entered_at_its_pvh_note() {
    let Loaded { memory, plan } = load_with(&elf(18), Some(b"initrd!"), "quiet", 64);
    let plan = plan.unwrap();
    assert_eq!(
        (plan.mode, plan.entry),
        (EntryMode::Protected, 16 * MIB + 8)
    );
    assert_eq!(bytes(&memory, 16 * MIB, 16), b"kernel text here");
    let info = |at: u64| u32_at(&memory, plan.rbx + at);
    assert_eq!((info(0), info(4), info(12)), (0x336E_C578, 1, 1));
    assert_eq!(bytes(&memory, u64::from(info(24)), 6), b"quiet\0");
    assert_eq!(info(32), RSDP as u32);
    let module = u64::from(info(16));
    let start = u64::from(u32_at(&memory, module));
    assert_eq!(
        bytes(&memory, start, u32_at(&memory, module + 8) as usize),
        b"initrd!"
    );
}

fn refusal(kernel: &[u8], initrd: Option<&[u8]>, cmdline: &str, mib: u64) -> String {
    load_with(kernel, initrd, cmdline, mib)
        .plan
        .unwrap_err()
        .to_string()
}

#[test]
fn what_cannot_boot_is_refused_in_a_sentence() {
    let image = bzimage(&[0; 4096]);
    let truncated = refusal(&image[..2000], None, "", 64);
    assert_eq!(
        truncated,
        "the kernel is truncated: its header promises 5120 bytes, the file has 2000"
    );
    assert!(refusal(b"", None, "", 64).contains("neither a bzImage nor"));
    assert!(refusal(b"#!/bin/sh\n", None, "", 64).contains("neither a bzImage nor"));
    assert!(refusal(&elf(1), None, "", 64).contains("no PVH entry note"));
    assert!(refusal(&elf(18)[..0x188], None, "", 64).contains("truncated"));
    assert!(refusal(&elf(18)[..70], None, "", 64).contains("truncated"));
    assert!(refusal(&image, None, "", 16).contains("needs memory up to 20 MiB, the VM has 16 MiB"));
    let large = vec![0; 45 * MIB as usize];
    assert!(refusal(&image, Some(&large), "", 64).contains("the initrd has 47185920 bytes"));
    assert!(refusal(&image, None, &"x".repeat(2048), 64).contains("at most 2047"));
    assert!(refusal(&elf(18), None, &"x".repeat(4096), 64).contains("at most 4095"));
    assert!(refusal(&image, None, "a\0b", 64).contains("zero byte"));
}

#[test]
fn a_kernel_of_32_bits_or_an_old_one_is_refused() {
    let mut image = bzimage(&[0; 4096]);
    image[0x236] = 0;
    assert!(refusal(&image, None, "", 64).contains("no 64-bit entry"));
    let mut image = elf(18);
    image[4] = 1;
    assert!(refusal(&image, None, "", 64).contains("not for x86-64"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damaged_kernel_panics(
        is_elf in any::<bool>(),
        damage in prop::collection::vec((0usize..0x290, any::<u8>()), 0..24),
        cut in prop::option::of(0usize..6000),
    ) {
        let mut image = if is_elf { elf(18) } else { bzimage(&[0; 4096]) };
        for (at, byte) in damage {
            if let Some(slot) = image.get_mut(at) {
                *slot = byte;
            }
        }
        image.truncate(cut.unwrap_or(image.len()));
        let loaded = load_with(&image, Some(b"initrd!"), "quiet", 32);
        prop_assert!(loaded.memory.num_regions() == 1);
    }
}
