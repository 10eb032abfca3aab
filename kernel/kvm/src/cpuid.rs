//! CPUID: what a guest may be given ([`supported`]) and what it was given
//! ([`CpuidTable`]). Only features that work in a guest are offered; the lists
//! name the bits, everything else is off. APM volume 3, appendix E.

use abi::kvm::pv_feature;
use abi::kvm_vcpu::CpuidEntry2;
use alloc::vec::Vec;
use x86::cpuid::{Answer, amd_edx, extended_ebx, features_ecx, features_edx, leaf};
use x86::register::xcr0;

/// Most entries of a table.
pub const MAX_ENTRIES: usize = 256;

/// Components of extended state that guests may switch on.
pub const GUEST_XCR0: u64 = xcr0::X87 | xcr0::SSE | xcr0::AVX;

/// SSE3, PCLMULQDQ, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES,
/// XSAVE, AVX, F16C, RDRAND.
const LEAF1_ECX: u32 = 1
    | 1 << 1
    | 1 << 9
    | 1 << 12
    | 1 << 13
    | 1 << 19
    | 1 << 20
    | 1 << 22
    | 1 << 23
    | 1 << 25
    | features_ecx::XSAVE
    | features_ecx::AVX
    | 1 << 29
    | features_ecx::RDRAND;

/// Everything up to SSE2 but the serial number, debug store and thermal bits.
const LEAF1_EDX: u32 = 0x078B_FBFF;

/// FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
const LEAF7_EBX: u32 = extended_ebx::FSGSBASE
    | 1 << 3
    | 1 << 5
    | extended_ebx::SMEP
    | 1 << 8
    | 1 << 9
    | 1 << 18
    | 1 << 19
    | extended_ebx::SMAP
    | 1 << 23
    | 1 << 24
    | 1 << 29;

/// UMIP.
const LEAF7_ECX: u32 = 1 << 2;

/// FSRM.
const LEAF7_EDX: u32 = 1 << 4;

/// XSAVEOPT, XSAVEC, XGETBV with ECX = 1.
const LEAF_D1_EAX: u32 = 0b111;

/// LAHF, CR8 by LOCK MOV CR0, LZCNT, SSE4A, misaligned SSE, PREFETCH, XOP, FMA4, TBM.
const AMD_ECX: u32 = 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 16 | 1 << 21;

/// The bits shared with leaf 1, SYSCALL, NX, MMX extensions, FXSAVE
/// optimizations, 1 GiB pages, RDTSCP, long mode, 3DNow!.
const AMD_EDX: u32 = 0x0183_F3FF & !(1 << 18)
    | 1 << 11
    | amd_edx::NX
    | 1 << 22
    | 1 << 24
    | 1 << 25
    | amd_edx::PAGE_1G
    | amd_edx::RDTSCP
    | amd_edx::LM
    | 3 << 30;

/// Invariant TSC.
const POWER_EDX: u32 = 1 << 8;

/// CLZERO, XSAVE error pointers, WBNOINVD.
const SIZES_EBX: u32 = 1 | 1 << 2 | 1 << 9;

/// Paravirtual features: both sets of clock MSRs, no port delays.
const PV_EAX: u32 = pv_feature::CLOCKSOURCE | pv_feature::NOP_IO_DELAY | pv_feature::CLOCKSOURCE2;

/// The signature of leaf 4000_0000, EBX ECX EDX.
const SIGNATURE: [u32; 3] = [
    u32::from_le_bytes(*b"KVMK"),
    u32::from_le_bytes(*b"VMKV"),
    u32::from_le_bytes(*b"M\0\0\0"),
];

/// How the processor's own CPUID is asked: leaf, index.
pub type HostCpuid<'a> = &'a dyn Fn(u32, u32) -> Answer;

/// The leaves that a guest may be given on this processor. `clock_stable`: all
/// CPUs' time-stamp counters agree.
#[must_use]
pub fn supported(host: HostCpuid<'_>, clock_stable: bool) -> Vec<CpuidEntry2> {
    let mut list = Vec::new();
    let largest = host(leaf::VENDOR, 0).eax.min(leaf::XSAVE);
    for function in 0..=largest {
        standard(host, function, &mut list);
    }
    hypervisor(clock_stable, &mut list);
    let largest = host(leaf::EXTENDED, 0).eax.min(leaf::NODE_TOPOLOGY);
    if largest >= leaf::EXTENDED {
        for function in leaf::EXTENDED..=largest {
            extended(host, function, largest, &mut list);
        }
    }
    list
}

fn push(list: &mut Vec<CpuidEntry2>, function: u32, index: Option<u32>, answer: Answer) {
    list.push(CpuidEntry2 {
        function,
        index: index.unwrap_or(0),
        flags: if index.is_some() {
            CpuidEntry2::SIGNIFICANT_INDEX
        } else {
            0
        },
        eax: answer.eax,
        ebx: answer.ebx,
        ecx: answer.ecx,
        edx: answer.edx,
        padding: [0; 3],
    });
}

fn standard(host: HostCpuid<'_>, function: u32, list: &mut Vec<CpuidEntry2>) {
    let mut answer = host(function, 0);
    match function {
        leaf::VENDOR => answer.eax = answer.eax.min(leaf::XSAVE),
        leaf::FEATURES => {
            // The initial APIC id and the number of processors are the monitor's.
            answer.ebx &= 0x0000_FFFF;
            answer.ecx &= LEAF1_ECX;
            answer.ecx |= features_ecx::X2APIC | features_ecx::HYPERVISOR;
            answer.edx &= LEAF1_EDX;
            answer.edx |= features_edx::APIC | features_edx::MTRR;
        }
        leaf::EXTENDED_FEATURES => {
            answer.eax = 0;
            answer.ebx &= LEAF7_EBX;
            answer.ecx &= LEAF7_ECX;
            answer.edx &= LEAF7_EDX;
            return push(list, function, Some(0), answer);
        }
        leaf::TOPOLOGY => return topology(list),
        leaf::XSAVE => return xsave(host, list),
        // Caches and the like of Intel processors; reserved on AMD.
        2 | 4 => {}
        _ => answer = Answer::default(),
    }
    push(list, function, None, answer);
}

/// One thread a core, one core a package, until the monitor knows better.
fn topology(list: &mut Vec<CpuidEntry2>) {
    for index in 0..2 {
        let answer = Answer {
            ecx: index,
            ..Answer::default()
        };
        push(list, leaf::TOPOLOGY, Some(index), answer);
    }
}

fn xsave(host: HostCpuid<'_>, list: &mut Vec<CpuidEntry2>) {
    let mut answer = host(leaf::XSAVE, 0);
    let components = u64::from(answer.eax) & GUEST_XCR0;
    answer.eax = components as u32;
    answer.edx = 0;
    answer.ecx = xsave_size(components);
    answer.ebx = xsave_size(xcr0::X87);
    push(list, leaf::XSAVE, Some(0), answer);
    let features = host(leaf::XSAVE, 1).eax & LEAF_D1_EAX;
    push(
        list,
        leaf::XSAVE,
        Some(1),
        Answer {
            eax: features,
            ..Answer::default()
        },
    );
    if components & xcr0::AVX != 0 {
        push(list, leaf::XSAVE, Some(2), host(leaf::XSAVE, 2));
    }
}

/// Bytes of an XSAVE area in the standard format with these components.
#[must_use]
pub const fn xsave_size(components: u64) -> u32 {
    if components & xcr0::AVX != 0 {
        x86::xsave::AVX_END as u32
    } else {
        (x86::xsave::LEGACY_SIZE + x86::xsave::HEADER_SIZE) as u32
    }
}

fn hypervisor(clock_stable: bool, list: &mut Vec<CpuidEntry2>) {
    let [ebx, ecx, edx] = SIGNATURE;
    push(
        list,
        leaf::HYPERVISOR,
        None,
        Answer {
            eax: leaf::PV_FEATURES,
            ebx,
            ecx,
            edx,
        },
    );
    let stable = if clock_stable {
        pv_feature::CLOCKSOURCE_STABLE
    } else {
        0
    };
    push(
        list,
        leaf::PV_FEATURES,
        None,
        Answer {
            eax: PV_EAX | stable,
            ..Answer::default()
        },
    );
}

fn extended(host: HostCpuid<'_>, function: u32, largest: u32, list: &mut Vec<CpuidEntry2>) {
    let mut answer = host(function, 0);
    match function {
        leaf::EXTENDED => answer.eax = largest,
        leaf::AMD_FEATURES => {
            answer.ecx &= AMD_ECX;
            answer.edx &= AMD_EDX;
        }
        leaf::BRAND0..=leaf::L2 => {}
        leaf::ADVANCED_POWER => {
            answer = Answer {
                edx: answer.edx & POWER_EDX,
                ..Answer::default()
            };
        }
        leaf::ADDRESS_SIZES => {
            answer.ebx &= SIZES_EBX;
            answer.ecx = 0;
            answer.edx = 0;
        }
        _ => return,
    }
    push(list, function, None, answer);
}

/// Slots of the direct index: standard, hypervisor and extended leaves.
const GROUP: usize = 32;
const NO_ENTRY: u16 = u16::MAX;

/// What a vCPU's CPUID answers.
#[derive(Clone)]
pub struct CpuidTable {
    entries: Vec<CpuidEntry2>,
    /// First entry of each leaf below 32 of each group.
    first: [[u16; GROUP]; 3],
}

impl Default for CpuidTable {
    fn default() -> Self {
        CpuidTable {
            entries: Vec::new(),
            first: [[NO_ENTRY; GROUP]; 3],
        }
    }
}

const fn group(function: u32) -> Option<usize> {
    match function & !(GROUP as u32 - 1) {
        0 => Some(0),
        leaf::HYPERVISOR => Some(1),
        leaf::EXTENDED => Some(2),
        _ => None,
    }
}

impl CpuidTable {
    /// Takes over what the monitor sets.
    #[must_use]
    pub fn new(mut entries: Vec<CpuidEntry2>) -> Self {
        entries.sort_by_key(|entry| entry.function);
        let mut first = [[NO_ENTRY; GROUP]; 3];
        for (position, entry) in entries.iter().enumerate().rev() {
            if let Some(group) = group(entry.function) {
                first[group][entry.function as usize % GROUP] = position as u16;
            }
        }
        CpuidTable { entries, first }
    }

    /// What the monitor set, by leaf.
    #[must_use]
    pub fn entries(&self) -> &[CpuidEntry2] {
        &self.entries
    }

    /// The entry for a leaf and index.
    #[inline]
    #[must_use]
    pub fn find(&self, function: u32, index: u32) -> Option<&CpuidEntry2> {
        let group = group(function)?;
        let mut position = usize::from(self.first[group][function as usize % GROUP]);
        loop {
            let entry = self.entries.get(position)?;
            if entry.function != function {
                return None;
            }
            if entry.flags & CpuidEntry2::SIGNIFICANT_INDEX == 0 || entry.index == index {
                return Some(entry);
            }
            position += 1;
        }
    }

    /// Whether a bit of ECX of leaf 1 is set.
    #[must_use]
    pub fn has_feature_ecx(&self, bit: u32) -> bool {
        self.find(leaf::FEATURES, 0)
            .is_some_and(|entry| entry.ecx & bit != 0)
    }
}

/// Parts of the answer that follow the vCPU's state.
#[derive(Clone, Copy, Debug)]
pub struct Dynamic {
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    /// The local APIC is switched on.
    pub apic: bool,
    /// XCR0.
    pub xcr0: u64,
}

/// Executes CPUID. Leaves that the monitor did not set answer zero.
#[inline]
#[must_use]
pub fn execute(table: &CpuidTable, function: u32, index: u32, state: Dynamic) -> Answer {
    let Some(entry) = table.find(function, index) else {
        return Answer::default();
    };
    let mut answer = Answer {
        eax: entry.eax,
        ebx: entry.ebx,
        ecx: entry.ecx,
        edx: entry.edx,
    };
    if function == leaf::FEATURES {
        answer.ecx &= !features_ecx::OSXSAVE;
        if state.osxsave && entry.ecx & features_ecx::XSAVE != 0 {
            answer.ecx |= features_ecx::OSXSAVE;
        }
        if !state.apic {
            answer.edx &= !features_edx::APIC;
        }
    } else if function == leaf::XSAVE && index <= 1 && (index == 0 || answer.eax & 2 != 0) {
        answer.ebx = xsave_size(state.xcr0);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::cpuid::amd_ecx;

    fn host(function: u32, index: u32) -> Answer {
        match function {
            0 => Answer {
                eax: 0xD,
                ..Answer::default()
            },
            1 | 7 => Answer {
                eax: 0x800F12,
                ebx: !0,
                ecx: !0,
                edx: !0,
            },
            0xD if index == 0 => Answer {
                eax: 0x207,
                ebx: 832,
                ecx: 2696,
                edx: 0,
            },
            0xD if index == 1 => Answer {
                eax: 0xF,
                ..Answer::default()
            },
            0xD => Answer {
                eax: 256,
                ebx: 576,
                ..Answer::default()
            },
            0x8000_0000 => Answer {
                eax: 0x8000_001F,
                ..Answer::default()
            },
            _ => Answer {
                eax: !0,
                ebx: !0,
                ecx: !0,
                edx: !0,
            },
        }
    }

    const ON: Dynamic = Dynamic {
        osxsave: true,
        apic: true,
        xcr0: 7,
    };

    fn table() -> CpuidTable {
        CpuidTable::new(supported(&host, true))
    }

    #[test]
    fn what_does_not_work_is_not_offered() {
        let table = table();
        let one = execute(&table, 1, 0, ON);
        assert_eq!(one.ecx & features_ecx::MONITOR, 0);
        // PAT and 36-bit PSE are there, the serial number and debug store not.
        assert_eq!(one.edx >> 16 & 0b11_1111, 0b1011);
        assert_eq!(one.ecx & features_ecx::TSC_DEADLINE, 0);
        assert_ne!(one.ecx & features_ecx::HYPERVISOR, 0);
        assert_eq!(execute(&table, 0x8000_0001, 0, ON).ecx & amd_ecx::SVM, 0);
        assert_eq!(execute(&table, 0x8000_000A, 0, ON), Answer::default());
        assert_eq!(execute(&table, 7, 0, ON).ebx & extended_ebx::INVPCID, 0);
        assert_eq!(execute(&table, 0xD, 0, ON).eax, 7);
        assert_eq!(execute(&table, 0xD, 0, ON).ecx, 832);
        assert_eq!(execute(&table, 0xD, 1, ON).eax & 8, 0);
    }

    #[test]
    fn answers_follow_the_state() {
        let table = table();
        assert_ne!(execute(&table, 1, 0, ON).ecx & features_ecx::OSXSAVE, 0);
        let off = Dynamic {
            osxsave: false,
            apic: false,
            xcr0: 1,
        };
        let one = execute(&table, 1, 0, off);
        assert_eq!(one.ecx & features_ecx::OSXSAVE, 0);
        assert_eq!(one.edx & features_edx::APIC, 0);
        assert_eq!(execute(&table, 0xD, 0, off).ebx, 576);
        assert_eq!(execute(&table, 0xD, 0, ON).ebx, 832);
    }

    #[test]
    fn the_signature_is_the_one_guests_look_for() {
        let answer = execute(&table(), leaf::HYPERVISOR, 0, ON);
        let mut text = [0; 12];
        text[..4].copy_from_slice(&answer.ebx.to_le_bytes());
        text[4..8].copy_from_slice(&answer.ecx.to_le_bytes());
        text[8..].copy_from_slice(&answer.edx.to_le_bytes());
        assert_eq!(&text, b"KVMKVMKVM\0\0\0");
        assert_eq!(execute(&table(), 0x4000_0001, 0, ON).eax, PV_EAX | 1 << 24);
    }

    #[test]
    fn any_leaf_has_an_answer() {
        let table = table();
        for function in [
            2,
            0x1F,
            0x20,
            0x3FFF_FFFF,
            0x4000_0002,
            0x8000_0019,
            u32::MAX,
        ] {
            let _ = execute(&table, function, u32::MAX, ON);
        }
        assert_eq!(execute(&CpuidTable::default(), 1, 0, ON), Answer::default());
    }

    #[test]
    fn entries_without_index_answer_every_index() {
        let table = table();
        assert_eq!(execute(&table, 1, 5, ON), execute(&table, 1, 0, ON));
        assert_eq!(execute(&table, 7, 5, ON), Answer::default());
    }
}
