//! Control and model-specific registers (APM 2, chapters 3 and 4).

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

pub(crate) const EFER: u32 = 0xc000_0080;
pub(crate) const STAR: u32 = 0xc000_0081;
pub(crate) const LSTAR: u32 = 0xc000_0082;
pub(crate) const SFMASK: u32 = 0xc000_0084;
pub(crate) const FS_BASE: u32 = 0xc000_0100;
pub(crate) const GS_BASE: u32 = 0xc000_0101;
pub(crate) const KERNEL_GS_BASE: u32 = 0xc000_0102;
pub(crate) const APIC_BASE: u32 = 0x1b;
pub(crate) const PAT: u32 = 0x277;

const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const CR4_UMIP: u64 = 1 << 11;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_PGE: u64 = 1 << 7;

/// What CPUID said of the first CPU, once.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// RDFSBASE and its kin.
    pub fsgsbase: bool,
    /// Supervisor mode execution prevention.
    pub smep: bool,
    /// Supervisor mode access prevention.
    pub smap: bool,
    /// User mode instruction prevention.
    pub umip: bool,
    /// XSAVE and XCR0.
    pub xsave: bool,
    /// XSAVEOPT.
    pub xsaveopt: bool,
    /// 1 GiB pages.
    pub gib_pages: bool,
    /// RDSEED.
    pub rdseed: bool,
    /// RDRAND.
    pub rdrand: bool,
    /// The local APIC in x2APIC mode.
    pub x2apic: bool,
    /// A TSC that ticks at one rate in every state.
    pub invariant_tsc: bool,
}

static FEATURES: sync::Once<Features> = sync::Once::new();

/// The CPU's features; all CPUs are taken to be alike.
#[inline]
pub fn features() -> &'static Features {
    if let Some(features) = FEATURES.get() {
        return features;
    }
    find_features()
}

#[cold]
fn find_features() -> &'static Features {
    let _ = FEATURES.set(read_features());
    FEATURES.get().expect("invariant: set in the line above")
}

fn read_features() -> Features {
    let leaf1 = __cpuid_count(1, 0);
    let leaf7 = __cpuid_count(7, 0);
    let leafd = __cpuid_count(0xd, 1);
    let extended = __cpuid_count(0x8000_0001, 0);
    let power = __cpuid_count(0x8000_0007, 0);
    let bit = |register: u32, bit: u32| register & (1 << bit) != 0;
    Features {
        fsgsbase: bit(leaf7.ebx, 0),
        smep: bit(leaf7.ebx, 7),
        smap: bit(leaf7.ebx, 20),
        umip: bit(leaf7.ecx, 2),
        xsave: bit(leaf1.ecx, 26),
        xsaveopt: bit(leafd.eax, 0),
        gib_pages: bit(extended.edx, 26),
        rdseed: bit(leaf7.ebx, 18),
        rdrand: bit(leaf1.ecx, 30),
        x2apic: bit(leaf1.ecx, 21),
        invariant_tsc: bit(power.edx, 8),
    }
}

/// Who made the CPU and what it calls itself.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Twelve letters, such as `AuthenticAMD`.
    pub vendor: [u8; 12],
    /// The marketing name, padded with zeros.
    pub brand: [u8; 48],
    /// Family, with its extension.
    pub family: u32,
    /// Model, with its extension.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// Bits of a linear address.
    pub linear_bits: u32,
    leaf1: [u32; 2],
    extended: [u32; 2],
}

/// Features by the names that /proc/cpuinfo uses, with where CPUID has them:
/// 0 and 1 are leaf 1's EDX and ECX, 2 and 3 those of 8000_0001h.
const FLAGS: [(&str, usize, u32); 30] = [
    ("fpu", 0, 0),
    ("tsc", 0, 4),
    ("msr", 0, 5),
    ("pae", 0, 6),
    ("cx8", 0, 8),
    ("apic", 0, 9),
    ("sep", 0, 11),
    ("mtrr", 0, 12),
    ("pge", 0, 13),
    ("cmov", 0, 15),
    ("pat", 0, 16),
    ("mmx", 0, 23),
    ("fxsr", 0, 24),
    ("sse", 0, 25),
    ("sse2", 0, 26),
    ("pni", 1, 0),
    ("pclmulqdq", 1, 1),
    ("ssse3", 1, 9),
    ("fma", 1, 12),
    ("cx16", 1, 13),
    ("sse4_1", 1, 19),
    ("sse4_2", 1, 20),
    ("popcnt", 1, 23),
    ("aes", 1, 25),
    ("xsave", 1, 26),
    ("avx", 1, 28),
    ("rdrand", 1, 30),
    ("lm", 2, 29),
    ("nx", 2, 20),
    ("svm", 3, 2),
];

impl Identity {
    /// The features it has, by the names that /proc/cpuinfo uses.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let words = [
            self.leaf1[0],
            self.leaf1[1],
            self.extended[0],
            self.extended[1],
        ];
        FLAGS
            .iter()
            .filter(move |(_, word, bit)| words[*word] & 1 << bit != 0)
            .map(|(name, ..)| *name)
    }
}

/// Who made the CPU and what it calls itself.
pub fn identity() -> Identity {
    let first = __cpuid_count(0, 0);
    let leaf1 = __cpuid_count(1, 0);
    let extended = __cpuid_count(0x8000_0001, 0);
    let sizes = __cpuid_count(0x8000_0008, 0).eax;
    let mut vendor = [0; 12];
    for (at, word) in [first.ebx, first.edx, first.ecx].iter().enumerate() {
        vendor[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    let mut brand = [0; 48];
    for leaf in 0..3 {
        let words = __cpuid_count(0x8000_0002 + leaf, 0);
        for (at, word) in [words.eax, words.ebx, words.ecx, words.edx]
            .iter()
            .enumerate()
        {
            let from = leaf as usize * 16 + at * 4;
            brand[from..from + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    let version = leaf1.eax;
    let family = version >> 8 & 0xf;
    let model = version >> 4 & 0xf;
    Identity {
        vendor,
        brand,
        family: if family == 15 {
            family + (version >> 20 & 0xff)
        } else {
            family
        },
        model: if family == 15 || family == 6 {
            model | (version >> 16 & 0xf) << 4
        } else {
            model
        },
        stepping: version & 0xf,
        physical_bits: sizes & 0xff,
        linear_bits: sizes >> 8 & 0xff,
        leaf1: [leaf1.edx, leaf1.ecx],
        extended: [extended.edx, extended.ecx],
    }
}

/// What CPUID leaf 1 has in EDX: what programs are told of the CPU.
pub fn feature_word() -> u32 {
    __cpuid_count(1, 0).edx
}

/// Reads a model-specific register.
///
/// # Safety
/// `index` must name a register that exists; others raise #GP.
#[inline]
pub(crate) unsafe fn rdmsr(index: u32) -> u64 {
    let (high, low): (u32, u32);
    // SAFETY: the caller says that the register exists.
    unsafe {
        asm!("rdmsr", in("ecx") index, out("edx") high, out("eax") low, options(nomem, nostack, preserves_flags))
    }
    (u64::from(high) << 32) | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// `value` must be valid for register `index` and keep every invariant of this
/// crate that rests on it.
#[inline]
pub(crate) unsafe fn wrmsr(index: u32, value: u64) {
    // SAFETY: the caller answers for register and value.
    unsafe {
        asm!("wrmsr", in("ecx") index, in("edx") (value >> 32) as u32, in("eax") value as u32, options(nostack, preserves_flags))
    }
}

pub(crate) fn cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

pub(crate) fn cr3() -> u64 {
    let value;
    // SAFETY: reading CR3 has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// Loads another top-level page table.
///
/// # Safety
/// The table at `root` must map the kernel as the current one does, and live
/// while it is loaded.
#[inline]
pub(crate) unsafe fn set_cr3(root: u64) {
    // SAFETY: as the caller says.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

fn cr4() -> u64 {
    let value;
    // SAFETY: reading CR4 has no effect.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) }
    value
}

/// Turns on every protection the CPU has. Once per CPU.
pub(crate) fn harden() {
    let features = features();
    let mut value = cr4() | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    let wanted = [
        (features.fsgsbase, CR4_FSGSBASE),
        (features.smep, CR4_SMEP),
        (features.smap, CR4_SMAP),
        (features.umip, CR4_UMIP),
        (features.xsave, CR4_OSXSAVE),
    ];
    for (offered, bit) in wanted {
        if offered {
            value |= bit;
        }
    }
    // SAFETY: every bit set is one that CPUID offers; the kernel obeys what they
    // forbid (it reaches user memory in `user` only).
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) }
    // PAT: entry 0 write-back, 1 write-through, 2 uncached-, 3 uncached, 4
    // write-combining (APM 2, 7.8.2).
    // SAFETY: each byte is a defined memory type.
    unsafe { wrmsr(PAT, 0x0000_0001_0007_0406) }
}

/// Loads the FS base.
#[inline]
pub(crate) fn set_fs_base(base: u64) {
    if features_fsgsbase() {
        // SAFETY: FS is the program's; the kernel does not use it.
        unsafe { asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) }
    } else {
        // SAFETY: as above; callers pass canonical addresses only.
        unsafe { wrmsr(FS_BASE, base) }
    }
}

/// The current FS base.
#[inline]
pub(crate) fn fs_base() -> u64 {
    if features_fsgsbase() {
        let base;
        // SAFETY: reading has no effect.
        unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) }
        base
    } else {
        // SAFETY: the register exists on every 64-bit CPU.
        unsafe { rdmsr(FS_BASE) }
    }
}

/// The program's GS base, which stands in the swap register meanwhile.
#[inline]
pub(crate) fn user_gs_base() -> u64 {
    if features_fsgsbase() {
        let base;
        // SAFETY: interrupts are off, so nobody sees GS swapped; NMI and #MC
        // handlers find out for themselves whose base is loaded.
        unsafe {
            asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) base, options(nostack, preserves_flags))
        }
        base
    } else {
        // SAFETY: the register exists on every 64-bit CPU.
        unsafe { rdmsr(KERNEL_GS_BASE) }
    }
}

/// Loads the GS base that the program will see.
#[inline]
pub(crate) fn set_user_gs_base(base: u64) {
    if features_fsgsbase() {
        // SAFETY: as in `user_gs_base`.
        unsafe {
            asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) base, options(nostack, preserves_flags))
        }
    } else {
        // SAFETY: callers pass canonical addresses only.
        unsafe { wrmsr(KERNEL_GS_BASE, base) }
    }
}

#[inline]
fn features_fsgsbase() -> bool {
    features().fsgsbase
}
