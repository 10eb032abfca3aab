//! The MSR permission map: which MSRs a guest reaches without an exit. Two bits
//! an MSR, read then write, set means exit. APM volume 2, 15.11.

use x86::msr;

/// Bytes of the MSR permission map.
pub const MSR_MAP_SIZE: usize = 8192;
/// Bytes of the port permission map.
pub const PORT_MAP_SIZE: usize = 12288;

/// What the guest reads and writes directly: the processor switches these with
/// VMLOAD, VMSAVE or VMRUN, so they are the guest's own.
const PASSED: [u32; 11] = [
    msr::SYSENTER_CS,
    msr::SYSENTER_ESP,
    msr::SYSENTER_EIP,
    msr::PAT,
    msr::STAR,
    msr::LSTAR,
    msr::CSTAR,
    msr::SFMASK,
    msr::FS_BASE,
    msr::GS_BASE,
    msr::KERNEL_GS_BASE,
];

/// Fills `map` (all ones on entry).
pub fn pass_msrs(map: &mut [u8; MSR_MAP_SIZE]) {
    for msr in PASSED {
        clear(map, msr, 0b11);
    }
    // The offset is added by the processor; a write changes the offset.
    clear(map, msr::TSC, 0b01);
}

fn clear(map: &mut [u8; MSR_MAP_SIZE], msr: u32, bits: u8) {
    if let Some((byte, shift)) = position(msr) {
        map[byte] &= !(bits << shift);
    }
}

/// Where an MSR's bits are: byte and shift.
const fn position(msr: u32) -> Option<(usize, u8)> {
    let (base, offset) = match msr {
        0..=0x1FFF => (0, msr),
        0xC000_0000..=0xC000_1FFF => (0x800, msr - 0xC000_0000),
        0xC001_0000..=0xC001_1FFF => (0x1000, msr - 0xC001_0000),
        _ => return None,
    };
    Some((base + offset as usize / 4, (offset % 4 * 2) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exits(map: &[u8; MSR_MAP_SIZE], msr: u32) -> u8 {
        position(msr).map_or(0b11, |(byte, shift)| map[byte] >> shift & 0b11)
    }

    #[test]
    fn only_the_listed_registers_are_passed() {
        let mut map = [0xFF; MSR_MAP_SIZE];
        pass_msrs(&mut map);
        assert_eq!(exits(&map, msr::LSTAR), 0);
        assert_eq!(exits(&map, msr::GS_BASE), 0);
        assert_eq!(exits(&map, msr::SYSENTER_EIP), 0);
        assert_eq!(exits(&map, msr::TSC), 0b10);
        for closed in [
            msr::EFER,
            msr::APIC_BASE,
            msr::VM_CR,
            msr::VM_HSAVE_PA,
            msr::TSC_AUX,
        ] {
            assert_eq!(exits(&map, closed), 0b11, "{closed:#x}");
        }
        let open: u32 = map.iter().map(|byte| byte.count_zeros()).sum();
        assert_eq!(open, 2 * PASSED.len() as u32 + 1);
    }

    #[test]
    fn positions_follow_the_manual() {
        assert_eq!(position(0xC000_0080), Some((0x820, 0)));
        assert_eq!(position(0xC001_0114), Some((0x1045, 0)));
        assert_eq!(position(0x4B56_4D00), None);
    }
}
