//! Who receives a message: [`DestinationMap`], from addresses to vCPUs.
//!
//! The map is built from the [`Identity`] of every LAPIC of the VM and is
//! read-only after that, so senders share one copy; an effect
//! [`crate::Effect::Identity`] of any LAPIC means: build a new one.
//!
//! AMD APM vol. 2, 16.6.1 "Receiving System and IPI Interrupts" (flat and
//! cluster model) and 16.13 (x2APIC: the logical ID is made from the APIC ID).

use crate::lapic::{Identity, Model};
use crate::message::{Destination, Shorthand};

/// A set of vCPU numbers 0 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuSet([u64; 4]);

impl VcpuSet {
    /// No vCPU.
    pub const EMPTY: Self = Self([0; 4]);

    /// Adds a vCPU.
    #[inline]
    pub fn insert(&mut self, vcpu: u8) {
        self.0[usize::from(vcpu >> 6)] |= 1 << (vcpu & 63);
    }

    /// Takes a vCPU out.
    #[inline]
    pub fn remove(&mut self, vcpu: u8) {
        self.0[usize::from(vcpu >> 6)] &= !(1 << (vcpu & 63));
    }

    /// Whether `vcpu` is in the set.
    #[inline]
    pub fn contains(&self, vcpu: u8) -> bool {
        self.0[usize::from(vcpu >> 6)] & 1 << (vcpu & 63) != 0
    }

    /// Whether no vCPU is in the set.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The first member at or after `rotor`, cyclically. With a rotor that
    /// moves on by one after each use this is the arbitration of
    /// lowest-priority messages: fair, and blind to the task priority, which
    /// only the vCPU's own thread knows.
    pub fn pick(&self, rotor: u8) -> Option<u8> {
        let mut upper = *self;
        let word = usize::from(rotor >> 6);
        upper.0[..word].fill(0);
        upper.0[word] &= u64::MAX << (rotor & 63);
        let mut members = if upper.is_empty() { *self } else { upper };
        members.next()
    }

    fn union(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a |= b;
        }
    }
}

/// Takes the members out, lowest first.
impl Iterator for VcpuSet {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (index, word) = self.0.iter_mut().enumerate().find(|(_, w)| **w != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        Some((index as u32 * 64 + bit) as u8)
    }
}

const NOBODY: u16 = u16::MAX;

/// Addresses to vCPUs. APIC IDs above 255 are not supported.
#[derive(Clone, Debug)]
pub struct DestinationMap {
    physical: [u16; 256],
    all: VcpuSet,
    x2apic: VcpuSet,
    flat: [VcpuSet; 8],
    cluster: [[VcpuSet; 4]; 15],
}

impl Default for DestinationMap {
    fn default() -> Self {
        Self {
            physical: [NOBODY; 256],
            all: VcpuSet::EMPTY,
            x2apic: VcpuSet::EMPTY,
            flat: [VcpuSet::EMPTY; 8],
            cluster: [[VcpuSet::EMPTY; 4]; 15],
        }
    }
}

impl DestinationMap {
    /// Builds the map from vCPU numbers and their LAPICs' identities.
    pub fn build(lapics: impl IntoIterator<Item = (u8, Identity)>) -> Self {
        let mut map = Self::default();
        for (vcpu, identity) in lapics {
            map.add(vcpu, identity);
        }
        map
    }

    fn add(&mut self, vcpu: u8, identity: Identity) {
        let Some(slot) = self.physical.get_mut(identity.id as usize) else {
            return;
        };
        if identity.model == Model::Disabled {
            return;
        }
        *slot = u16::from(vcpu);
        self.all.insert(vcpu);
        let logical = (identity.ldr >> 24) as u8;
        match identity.model {
            Model::Flat => {
                for (bit, set) in self.flat.iter_mut().enumerate() {
                    if logical >> bit & 1 != 0 {
                        set.insert(vcpu);
                    }
                }
            }
            Model::Cluster => {
                // Cluster 15 is the broadcast address, not a cluster.
                if let Some(sets) = self.cluster.get_mut(usize::from(logical >> 4)) {
                    for (bit, set) in sets.iter_mut().enumerate() {
                        if logical >> bit & 1 != 0 {
                            set.insert(vcpu);
                        }
                    }
                }
            }
            Model::X2apic => self.x2apic.insert(vcpu),
            Model::Disabled => {}
        }
    }

    /// The one receiver of a physical, non-broadcast address without
    /// shorthand: the quick way for devices that address a CPU.
    #[inline]
    pub fn single(&self, destination: Destination) -> Option<u8> {
        if destination.logical || destination.shorthand != Shorthand::None {
            return None;
        }
        let vcpu = *self.physical.get(destination.id as usize)?;
        (vcpu != NOBODY).then_some(vcpu as u8)
    }

    /// Everyone whom `destination` names. `sender` gives shorthands their
    /// meaning; for a device it can be anything.
    pub fn targets(&self, destination: Destination, sender: u8) -> VcpuSet {
        let mut set = VcpuSet::EMPTY;
        match destination.shorthand {
            Shorthand::OnlySelf => set.insert(sender),
            Shorthand::All => set = self.all,
            Shorthand::AllButSelf => {
                set = self.all;
                set.remove(sender);
            }
            Shorthand::None if destination.id == Destination::BROADCAST => set = self.all,
            Shorthand::None if destination.logical => set = self.logical(destination.id),
            Shorthand::None => {
                if let Some(vcpu) = self.single(destination) {
                    set.insert(vcpu);
                }
            }
        }
        set
    }

    fn logical(&self, id: u32) -> VcpuSet {
        let mut set = VcpuSet::EMPTY;
        if id <= 0xff {
            for (bit, members) in self.flat.iter().enumerate() {
                if id >> bit & 1 != 0 {
                    set.union(members);
                }
            }
            if let Some(sets) = self.cluster.get(id as usize >> 4) {
                for (bit, members) in sets.iter().enumerate() {
                    if id >> bit & 1 != 0 {
                        set.union(members);
                    }
                }
            }
        }
        if !self.x2apic.is_empty() {
            self.add_x2apic(id, &mut set);
        }
        set
    }

    /// x2APIC: cluster number in the upper half, which is bits 19:4 of the
    /// APIC ID; a bit for bits 3:0 of the ID in the lower half.
    fn add_x2apic(&self, id: u32, set: &mut VcpuSet) {
        let first = id >> 16 << 4;
        for bit in 0..16 {
            if id >> bit & 1 == 0 {
                continue;
            }
            let found = self.physical.get((first + bit) as usize);
            if let Some(&vcpu) = found
                && vcpu != NOBODY
                && self.x2apic.contains(vcpu as u8)
            {
                set.insert(vcpu as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn map(model: Model, ldrs: &[u8]) -> DestinationMap {
        DestinationMap::build(ldrs.iter().enumerate().map(|(i, &ldr)| {
            let identity = Identity {
                id: i as u32,
                ldr: u32::from(ldr) << 24,
                model,
            };
            (i as u8, identity)
        }))
    }

    fn members(map: &DestinationMap, id: u8, logical: bool) -> Vec<u8> {
        map.targets(Destination::narrow(id, logical), 0).collect()
    }

    #[test]
    fn physical_address_names_one_and_broadcast_all() {
        let map = map(Model::Flat, &[1, 2, 4]);
        assert_eq!(members(&map, 2, false), [2]);
        assert_eq!(members(&map, 3, false), []);
        assert_eq!(members(&map, 0xff, false), [0, 1, 2]);
        assert_eq!(map.single(Destination::narrow(1, false)), Some(1));
        assert_eq!(map.single(Destination::narrow(0xff, false)), None);
    }

    #[test]
    fn flat_model_is_a_bit_set() {
        let map = map(Model::Flat, &[1, 2, 4, 4]);
        assert_eq!(members(&map, 0b101, true), [0, 2, 3]);
        assert_eq!(members(&map, 0xff, true), [0, 1, 2, 3]);
        assert_eq!(members(&map, 0x80, true), []);
    }

    #[test]
    fn cluster_model_needs_the_same_cluster() {
        let map = map(Model::Cluster, &[0x11, 0x12, 0x21, 0x24]);
        assert_eq!(members(&map, 0x13, true), [0, 1]);
        assert_eq!(members(&map, 0x25, true), [2, 3]);
        assert_eq!(members(&map, 0x3f, true), []);
        assert_eq!(members(&map, 0xff, true), [0, 1, 2, 3]);
    }

    #[test]
    fn x2apic_logical_id_follows_the_apic_id() {
        let identity = |id| Identity {
            id,
            ldr: 0,
            model: Model::X2apic,
        };
        let map =
            DestinationMap::build([(0, identity(0)), (1, identity(0x11)), (2, identity(0x12))]);
        let targets = |id| {
            map.targets(Destination::wide(id, true), 0)
                .collect::<Vec<_>>()
        };
        assert_eq!(targets(0x0001_0006), [1, 2]);
        assert_eq!(targets(0x0001), [0]);
        assert_eq!(targets(0xffff_0001), []);
        assert_eq!(targets(u32::MAX), [0, 1, 2]);
    }

    #[test]
    fn shorthands_need_no_address() {
        let map = map(Model::Flat, &[1, 2, 4]);
        let targets = |shorthand| {
            let destination = Destination {
                shorthand,
                ..Destination::narrow(9, false)
            };
            map.targets(destination, 1).collect::<Vec<_>>()
        };
        assert_eq!(targets(Shorthand::OnlySelf), [1]);
        assert_eq!(targets(Shorthand::All), [0, 1, 2]);
        assert_eq!(targets(Shorthand::AllButSelf), [0, 2]);
    }

    #[test]
    fn disabled_lapic_receives_nothing() {
        let map = map(Model::Disabled, &[1]);
        assert_eq!(members(&map, 0xff, false), []);
    }

    #[test]
    fn arbitration_goes_round() {
        let mut set = VcpuSet::EMPTY;
        for vcpu in [3, 64, 255] {
            set.insert(vcpu);
        }
        assert_eq!(set.pick(0), Some(3));
        assert_eq!(set.pick(4), Some(64));
        assert_eq!(set.pick(65), Some(255));
        set.remove(255);
        assert_eq!(set.pick(65), Some(3));
        assert_eq!(VcpuSet::EMPTY.pick(7), None);
    }
}
