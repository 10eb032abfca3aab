//! CPUID leaves and the feature bits that the kernel looks at (APM volume 3,
//! appendix E).

/// Leaf numbers.
pub mod leaf {
    /// Vendor and largest standard leaf.
    pub const VENDOR: u32 = 0;
    /// Family, model, standard features.
    pub const FEATURES: u32 = 1;
    /// MONITOR and MWAIT.
    pub const MONITOR: u32 = 5;
    /// Thermal and power.
    pub const POWER: u32 = 6;
    /// Structured extended features, by ECX.
    pub const EXTENDED_FEATURES: u32 = 7;
    /// Topology, by ECX.
    pub const TOPOLOGY: u32 = 0xB;
    /// XSAVE areas, by ECX.
    pub const XSAVE: u32 = 0xD;
    /// Hypervisor vendor and largest hypervisor leaf.
    pub const HYPERVISOR: u32 = 0x4000_0000;
    /// Paravirtual features.
    pub const PV_FEATURES: u32 = 0x4000_0001;
    /// Largest extended leaf.
    pub const EXTENDED: u32 = 0x8000_0000;
    /// Extended features.
    pub const AMD_FEATURES: u32 = 0x8000_0001;
    /// First of three leaves with the processor's name.
    pub const BRAND0: u32 = 0x8000_0002;
    /// First-level caches.
    pub const L1: u32 = 0x8000_0005;
    /// Second- and third-level caches.
    pub const L2: u32 = 0x8000_0006;
    /// Power management; EDX bit 8 is the invariant TSC.
    pub const ADVANCED_POWER: u32 = 0x8000_0007;
    /// Address sizes.
    pub const ADDRESS_SIZES: u32 = 0x8000_0008;
    /// SVM.
    pub const SVM: u32 = 0x8000_000A;
    /// Cache topology, by ECX.
    pub const CACHE_TOPOLOGY: u32 = 0x8000_001D;
    /// Processor topology.
    pub const NODE_TOPOLOGY: u32 = 0x8000_001E;
}

/// Leaf 1, ECX.
pub mod features_ecx {
    /// MONITOR.
    pub const MONITOR: u32 = 1 << 3;
    /// x2APIC.
    pub const X2APIC: u32 = 1 << 21;
    /// Deadline timer.
    pub const TSC_DEADLINE: u32 = 1 << 24;
    /// XSAVE.
    pub const XSAVE: u32 = 1 << 26;
    /// XSAVE switched on by the system (follows CR4).
    pub const OSXSAVE: u32 = 1 << 27;
    /// AVX.
    pub const AVX: u32 = 1 << 28;
    /// RDRAND.
    pub const RDRAND: u32 = 1 << 30;
    /// Runs under a hypervisor.
    pub const HYPERVISOR: u32 = 1 << 31;
}

/// Leaf 1, EDX.
pub mod features_edx {
    /// Machine-check exception.
    pub const MCE: u32 = 1 << 7;
    /// Local APIC (follows APIC_BASE).
    pub const APIC: u32 = 1 << 9;
    /// Memory-type range registers.
    pub const MTRR: u32 = 1 << 12;
    /// Machine-check architecture.
    pub const MCA: u32 = 1 << 14;
    /// Several logical processors.
    pub const HTT: u32 = 1 << 28;
}

/// Leaf 7, index 0, EBX.
pub mod extended_ebx {
    /// RDFSBASE and its kin.
    pub const FSGSBASE: u32 = 1 << 0;
    /// TSC_ADJUST.
    pub const TSC_ADJUST: u32 = 1 << 1;
    /// SMEP.
    pub const SMEP: u32 = 1 << 7;
    /// INVPCID.
    pub const INVPCID: u32 = 1 << 10;
    /// SMAP.
    pub const SMAP: u32 = 1 << 20;
}

/// Leaf 8000_0001, ECX.
pub mod amd_ecx {
    /// SVM.
    pub const SVM: u32 = 1 << 2;
    /// Extended APIC space.
    pub const EXTAPIC: u32 = 1 << 3;
    /// CR8 by MOV CR0 with LOCK.
    pub const CR8_LEGACY: u32 = 1 << 4;
    /// OSVW.
    pub const OSVW: u32 = 1 << 9;
    /// Instruction-based sampling.
    pub const IBS: u32 = 1 << 10;
    /// SKINIT.
    pub const SKINIT: u32 = 1 << 12;
    /// Watchdog timer.
    pub const WDT: u32 = 1 << 13;
    /// Topology leaf 8000_001E.
    pub const TOPOEXT: u32 = 1 << 22;
    /// More performance counters.
    pub const PERFCTR_CORE: u32 = 1 << 23;
    /// Northbridge performance counters.
    pub const PERFCTR_NB: u32 = 1 << 24;
    /// Data breakpoint extension.
    pub const DBEXT: u32 = 1 << 26;
    /// Timestamp counter of performance.
    pub const PERFTSC: u32 = 1 << 27;
    /// L2I performance counters.
    pub const PERFCTR_LLC: u32 = 1 << 28;
    /// MWAITX.
    pub const MWAITX: u32 = 1 << 29;
}

/// Leaf 8000_0001, EDX.
pub mod amd_edx {
    /// No-execute.
    pub const NX: u32 = 1 << 20;
    /// 1 GiB pages.
    pub const PAGE_1G: u32 = 1 << 26;
    /// RDTSCP.
    pub const RDTSCP: u32 = 1 << 27;
    /// Long mode.
    pub const LM: u32 = 1 << 29;
}

/// Leaf 8000_000A, EDX.
pub mod svm_edx {
    /// Nested paging.
    pub const NPT: u32 = 1 << 0;
    /// LBR virtualization.
    pub const LBR: u32 = 1 << 1;
    /// The next RIP is saved.
    pub const NRIP: u32 = 1 << 3;
    /// TSC ratio.
    pub const TSC_RATE: u32 = 1 << 4;
    /// VMCB clean bits.
    pub const CLEAN_BITS: u32 = 1 << 5;
    /// Flush by ASID.
    pub const FLUSH_BY_ASID: u32 = 1 << 6;
    /// Decode assists.
    pub const DECODE_ASSISTS: u32 = 1 << 7;
    /// Pause filter.
    pub const PAUSE_FILTER: u32 = 1 << 10;
    /// Pause filter threshold.
    pub const PAUSE_THRESHOLD: u32 = 1 << 12;
    /// AVIC.
    pub const AVIC: u32 = 1 << 13;
    /// Virtual GIF.
    pub const VGIF: u32 = 1 << 16;
}

/// What one execution of CPUID answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the processor's registers")]
pub struct Answer {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}
