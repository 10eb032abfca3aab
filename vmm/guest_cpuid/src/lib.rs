//! The CPUID that a vCPU shows: [`shape`] takes what the host supports and
//! sets what depends on the VM, its identity and place in the topology.
//!
//! The topology is one package of single-threaded cores that share the last
//! cache; the APIC id is the vCPU's number. Leaf layouts: AMD64 manual volume
//! 3, appendix E, and Intel SDM volume 2, CPUID.
#![forbid(unsafe_code)]

use kvm_bindings::kvm_cpuid_entry2;

const VENDOR: u32 = 0;
const FEATURES: u32 = 1;
const CACHES: u32 = 4;
const TOPOLOGY: u32 = 0xB;
const TOPOLOGY_V2: u32 = 0x1F;
const HYPERVISOR_MAX: u32 = 0x4000_0000;
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const SIZES: u32 = 0x8000_0008;
const AMD_CACHES: u32 = 0x8000_001D;
const AMD_TOPOLOGY: u32 = 0x8000_001E;

const HAS_HYPERVISOR: u32 = 1 << 31;
const HAS_TSC_DEADLINE: u32 = 1 << 24;
const HAS_HTT: u32 = 1 << 28;
const CMP_LEGACY: u32 = 1 << 1;
const LEVEL_THREAD: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// Which vCPU of what VM the table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number of the vCPU, from 0; also its APIC id.
    pub index: u8,
    /// vCPUs of the VM.
    pub count: u8,
    /// The host's local APIC model has the TSC deadline timer.
    pub has_tsc_deadline: bool,
}

impl Identity {
    /// Bits of the APIC id that number the cores.
    fn core_bits(&self) -> u32 {
        u32::from(self.count).next_power_of_two().trailing_zeros()
    }
}

/// Adapts the host's table to one vCPU.
pub fn shape(entries: &mut [kvm_cpuid_entry2], identity: Identity) {
    let is_amd = entries
        .iter()
        .any(|e| e.function == VENDOR && e.ebx == u32::from_le_bytes(*b"Auth"));
    for entry in entries {
        match entry.function {
            FEATURES => features(entry, identity),
            CACHES => caches(entry, identity),
            TOPOLOGY | TOPOLOGY_V2 => topology(entry, identity),
            EXTENDED_FEATURES if is_amd => extended_features(entry, identity),
            SIZES if is_amd => sizes(entry, identity),
            AMD_CACHES if is_amd => caches_of_amd(entry, identity),
            AMD_TOPOLOGY if is_amd => {
                entry.eax = identity.index.into();
                entry.ebx = identity.index.into();
                entry.ecx = 0;
            }
            _ => {}
        }
    }
}

/// Whether the table announces a hypervisor interface (kvmclock and so on).
pub fn has_hypervisor_leaves(entries: &[kvm_cpuid_entry2]) -> bool {
    entries.iter().any(|e| e.function == HYPERVISOR_MAX)
}

fn features(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    let logical = u32::from(identity.count);
    entry.ebx =
        entry.ebx & 0xFF00 | 8 << 8 & 0xFF00 | logical << 16 | u32::from(identity.index) << 24;
    entry.ecx |= HAS_HYPERVISOR;
    set(&mut entry.ecx, HAS_TSC_DEADLINE, identity.has_tsc_deadline);
    set(&mut entry.edx, HAS_HTT, identity.count > 1);
}

fn caches(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    let kind = entry.eax & 0x1F;
    if kind == 0 {
        return;
    }
    let level = entry.eax >> 5 & 7;
    let shared_by = if level >= 3 {
        (1 << identity.core_bits()) - 1
    } else {
        0
    };
    let cores = (1 << identity.core_bits()) - 1;
    entry.eax = entry.eax & 0x3FFF | shared_by << 14 | cores << 26;
}

fn caches_of_amd(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    let level = entry.eax >> 5 & 7;
    let shared_by = if level >= 3 {
        u32::from(identity.count) - 1
    } else {
        0
    };
    entry.eax = entry.eax & !(0xFFF << 14) | shared_by << 14;
}

fn topology(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    let (kind, shift, count) = match entry.index {
        0 => (LEVEL_THREAD, 0, 1),
        1 => (LEVEL_CORE, identity.core_bits(), u32::from(identity.count)),
        _ => (0, 0, 0),
    };
    entry.eax = shift;
    entry.ebx = count;
    entry.ecx = entry.index & 0xFF | kind << 8;
    entry.edx = identity.index.into();
}

fn extended_features(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    set(&mut entry.ecx, CMP_LEGACY, identity.count > 1);
}

fn sizes(entry: &mut kvm_cpuid_entry2, identity: Identity) {
    let cores = u32::from(identity.count) - 1;
    entry.ecx = entry.ecx & !0xF0FF | identity.core_bits() << 12 | cores & 0xFF;
}

fn set(word: &mut u32, bits: u32, on: bool) {
    *word = if on { *word | bits } else { *word & !bits };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            ..Default::default()
        }
    }

    fn amd() -> Vec<kvm_cpuid_entry2> {
        let mut vendor = entry(VENDOR, 0);
        vendor.ebx = u32::from_le_bytes(*b"Auth");
        let mut features = entry(FEATURES, 0);
        features.ecx = HAS_TSC_DEADLINE;
        vec![
            vendor,
            features,
            entry(TOPOLOGY, 0),
            entry(TOPOLOGY, 1),
            entry(SIZES, 0),
        ]
    }

    #[test]
    fn apic_id_and_count_are_the_vcpus() {
        let mut table = amd();
        shape(
            &mut table,
            Identity {
                index: 2,
                count: 3,
                has_tsc_deadline: false,
            },
        );
        assert_eq!(table[1].ebx >> 24, 2);
        assert_eq!(table[1].ebx >> 16 & 0xFF, 3);
        assert_eq!(
            table[1].ecx & (HAS_HYPERVISOR | HAS_TSC_DEADLINE),
            HAS_HYPERVISOR
        );
        assert_eq!(table[1].edx & HAS_HTT, HAS_HTT);
        assert_eq!((table[3].eax, table[3].ebx, table[3].edx), (2, 3, 2));
        assert_eq!(table[4].ecx, 2 << 12 | 2);
    }

    #[test]
    fn a_single_vcpu_has_no_threads_or_siblings() {
        let mut table = amd();
        shape(
            &mut table,
            Identity {
                index: 0,
                count: 1,
                has_tsc_deadline: true,
            },
        );
        assert_eq!(table[1].edx & HAS_HTT, 0);
        assert_eq!(table[1].ecx & HAS_TSC_DEADLINE, HAS_TSC_DEADLINE);
        assert_eq!((table[3].eax, table[3].ebx), (0, 1));
        assert_eq!(table[4].ecx, 0);
    }
}
