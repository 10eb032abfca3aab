//! Model-specific registers as a guest has them: those of the processor that
//! are switched with it, those that are computed, and a list of those that only
//! hold what was written, because guests expect them. Any other raises #GP.

use crate::backend::{Control, PassedMsr, SegmentName, VcpuBackend};
use crate::clock::{PvClock, TimeRecord, WallRecord};
use crate::platform::Platform;
use crate::vcpu::Vcpu;
use x86::msr;
use x86::register::{cr0, efer};
use zerocopy::IntoBytes;

/// What GET_MSR_INDEX_LIST names: what makes up a vCPU's state.
pub const INDICES: [u32; 24] = [
    msr::TSC,
    msr::SYSENTER_CS,
    msr::SYSENTER_ESP,
    msr::SYSENTER_EIP,
    msr::PAT,
    msr::EFER,
    msr::STAR,
    msr::LSTAR,
    msr::CSTAR,
    msr::SFMASK,
    msr::KERNEL_GS_BASE,
    msr::TSC_AUX,
    msr::APIC_BASE,
    msr::TSC_DEADLINE,
    msr::MISC_ENABLE,
    msr::MTRR_DEF_TYPE,
    msr::MCG_STATUS,
    msr::MCG_CTL,
    msr::DEBUG_CTL,
    msr::HWCR,
    msr::KVM_WALL_CLOCK,
    msr::KVM_SYSTEM_TIME,
    msr::KVM_WALL_CLOCK_NEW,
    msr::KVM_SYSTEM_TIME_NEW,
];

/// Variable memory-type ranges.
const RANGES: u32 = 8;

/// Registers that hold what was written. Memory types among them: under nested
/// paging the host's types decide.
#[derive(Clone, Debug)]
pub struct StoredMsrs {
    ranges: [u64; 2 * RANGES as usize],
    fixed: [u64; 11],
    default_type: u64,
    misc_enable: u64,
    mcg_status: u64,
    mcg_ctl: u64,
    hwcr: u64,
    de_cfg: u64,
    wall_clock: u64,
    patch_level: u64,
}

impl Default for StoredMsrs {
    fn default() -> Self {
        StoredMsrs {
            ranges: [0; 2 * RANGES as usize],
            fixed: [0; 11],
            default_type: 0,
            misc_enable: 1,
            mcg_status: 0,
            mcg_ctl: 0,
            hwcr: 0,
            // LFENCE is serializing.
            de_cfg: 1 << 1,
            wall_clock: 0,
            patch_level: 0x0100_0065,
        }
    }
}

/// MTRR_CAP: the variable ranges, fixed ranges, write-combining.
const MTRR_CAP: u64 = RANGES as u64 | 1 << 8 | 1 << 10;

fn fixed_index(index: u32) -> Option<usize> {
    match index {
        msr::MTRR_FIX_64K => Some(0),
        msr::MTRR_FIX_16K_0 | msr::MTRR_FIX_16K_1 => {
            Some((index - msr::MTRR_FIX_16K_0) as usize + 1)
        }
        0x268..=0x26F => Some((index - msr::MTRR_FIX_4K_0) as usize + 3),
        _ => None,
    }
}

impl StoredMsrs {
    fn slot(&mut self, index: u32) -> Option<&mut u64> {
        let ranges = msr::MTRR_PHYS_BASE0..msr::MTRR_PHYS_BASE0 + 2 * RANGES;
        if ranges.contains(&index) {
            return self.ranges.get_mut((index - ranges.start) as usize);
        }
        if let Some(fixed) = fixed_index(index) {
            return self.fixed.get_mut(fixed);
        }
        match index {
            msr::MTRR_DEF_TYPE => Some(&mut self.default_type),
            msr::MISC_ENABLE => Some(&mut self.misc_enable),
            msr::MCG_STATUS => Some(&mut self.mcg_status),
            msr::MCG_CTL => Some(&mut self.mcg_ctl),
            msr::HWCR => Some(&mut self.hwcr),
            msr::DE_CFG => Some(&mut self.de_cfg),
            msr::BIOS_SIGN_ID => Some(&mut self.patch_level),
            _ => None,
        }
    }
}

/// Registers that read as zero and ignore writes: parts of real processors
/// that kernels touch without asking CPUID.
const fn is_silent(index: u32) -> bool {
    matches!(
        index,
        msr::SYSCFG
            | msr::NB_CFG
            | msr::LS_CFG
            | msr::DC_CFG
            | msr::BU_CFG2
            | msr::FAM10H_MMIO_CONF_BASE
            | msr::OSVW_ID_LENGTH
            | msr::OSVW_STATUS
            | msr::EVENT_SELECT0..=0xC001_0007 | msr::TOP_MEM2 | msr::IGNNE
    )
}

fn passed(index: u32) -> Option<PassedMsr> {
    Some(match index {
        msr::STAR => PassedMsr::Star,
        msr::LSTAR => PassedMsr::Lstar,
        msr::CSTAR => PassedMsr::Cstar,
        msr::SFMASK => PassedMsr::Sfmask,
        msr::KERNEL_GS_BASE => PassedMsr::KernelGsBase,
        msr::SYSENTER_CS => PassedMsr::SysenterCs,
        msr::SYSENTER_ESP => PassedMsr::SysenterEsp,
        msr::SYSENTER_EIP => PassedMsr::SysenterEip,
        _ => return None,
    })
}

impl<P: Platform> Vcpu<P> {
    /// RDMSR. `None`: #GP.
    pub(crate) fn read_msr(&mut self, index: u32) -> Option<u64> {
        if let msr::X2APIC_FIRST..=msr::X2APIC_LAST = index {
            return self.lapic.as_ref()?.read_msr(index, wait::now_ns).ok();
        }
        if let Some(passed) = passed(index) {
            return Some(self.hw.passed_msr(passed));
        }
        if let Some(slot) = self.msrs.slot(index) {
            return Some(*slot);
        }
        Some(match index {
            msr::EFER => self.hw.control(Control::Efer),
            msr::TSC => self.guest_tsc(),
            msr::TSC_AUX => self.hw.tsc_aux(),
            msr::FS_BASE => self.hw.segment(SegmentName::Fs).base,
            msr::GS_BASE => self.hw.segment(SegmentName::Gs).base,
            msr::PAT => self.hw.control(Control::Pat),
            msr::DEBUG_CTL => self.hw.control(Control::DebugCtl),
            msr::APIC_BASE => match &self.lapic {
                Some(lapic) => lapic.base().value(),
                None => msr::APIC_BASE_DEFAULT | msr::APIC_BASE_ENABLE,
            },
            msr::TSC_DEADLINE => self.lapic.as_ref()?.tsc_deadline(),
            msr::MTRR_CAP => MTRR_CAP,
            msr::MCG_CAP => 0,
            msr::VM_CR => msr::VM_CR_LOCK | msr::VM_CR_SVMDIS,
            msr::KVM_SYSTEM_TIME | msr::KVM_SYSTEM_TIME_NEW => self.clock.msr,
            msr::KVM_WALL_CLOCK | msr::KVM_WALL_CLOCK_NEW => self.msrs.wall_clock,
            _ if is_silent(index) => 0,
            _ => return None,
        })
    }

    /// WRMSR. `false`: #GP.
    pub(crate) fn write_msr(&mut self, index: u32, value: u64) -> bool {
        if let msr::X2APIC_FIRST..=msr::X2APIC_LAST = index {
            let Some(lapic) = &mut self.lapic else {
                return false;
            };
            let Ok(effect) = lapic.write_msr(index, value, wait::now_ns) else {
                return false;
            };
            self.apply(effect);
            return true;
        }
        if let Some(passed) = passed(index) {
            let address = !matches!(
                passed,
                PassedMsr::Star | PassedMsr::Sfmask | PassedMsr::SysenterCs
            );
            if address && !is_canonical(value) {
                return false;
            }
            self.hw.set_passed_msr(passed, value);
            return true;
        }
        if let Some(slot) = self.msrs.slot(index) {
            *slot = value;
            return true;
        }
        self.write_special_msr(index, value)
    }

    fn write_special_msr(&mut self, index: u32, value: u64) -> bool {
        match index {
            msr::EFER => return self.write_efer(value),
            msr::TSC => self.set_guest_tsc(value),
            msr::TSC_AUX => self.hw.set_tsc_aux(value & 0xFFFF_FFFF),
            msr::FS_BASE | msr::GS_BASE => {
                if !is_canonical(value) {
                    return false;
                }
                let name = if index == msr::FS_BASE {
                    SegmentName::Fs
                } else {
                    SegmentName::Gs
                };
                let mut segment = self.hw.segment(name);
                segment.base = value;
                self.hw.set_segment(name, segment);
            }
            msr::PAT => {
                if !is_pat(value) {
                    return false;
                }
                self.hw.set_control(Control::Pat, value);
            }
            // Last-branch recording is not offered.
            msr::DEBUG_CTL => return value == 0,
            msr::APIC_BASE => return self.write_apic_base(value),
            msr::TSC_DEADLINE => {
                let Some(lapic) = &mut self.lapic else {
                    return false;
                };
                let effect = lapic.set_tsc_deadline(value);
                self.apply(effect);
            }
            msr::KVM_SYSTEM_TIME | msr::KVM_SYSTEM_TIME_NEW => {
                self.clock = PvClock {
                    msr: value,
                    ..self.clock
                };
                self.write_clock();
            }
            msr::KVM_WALL_CLOCK | msr::KVM_WALL_CLOCK_NEW => self.write_wall_clock(value),
            msr::VM_CR => {}
            _ => return is_silent(index),
        }
        true
    }

    /// EFER as a guest may set it: LMA is the processor's, SVME does not exist.
    pub(crate) fn write_efer(&mut self, value: u64) -> bool {
        let known = efer::SCE | efer::LME | efer::LMA | efer::NXE | efer::FFXSR;
        let old = self.hw.control(Control::Efer);
        let paging = self.hw.control(Control::Cr0) & cr0::PG != 0;
        if value & !known != 0 || (paging && (value ^ old) & efer::LME != 0) {
            return false;
        }
        let new = value & !efer::LMA | old & efer::LMA;
        self.hw.set_control(Control::Efer, new);
        if (new ^ old) & efer::NXE != 0 {
            self.hw.flush();
        }
        true
    }

    fn write_apic_base(&mut self, value: u64) -> bool {
        let Some(lapic) = &mut self.lapic else {
            return value & !0xFFF == msr::APIC_BASE_DEFAULT;
        };
        match lapic.set_base(value) {
            Ok(effect) => {
                self.apply(effect);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn set_guest_tsc(&mut self, value: u64) {
        self.hw.set_tsc_offset(value.wrapping_sub(hal::time::tsc()));
        self.write_clock();
        self.arm_timer();
    }

    /// Writes this vCPU's record of the paravirtual clock.
    pub(crate) fn write_clock(&mut self) {
        let Some(address) = self.clock.address() else {
            return;
        };
        let (tsc, now) = (self.guest_tsc(), self.vm.clock.now());
        let record = self.clock.next(tsc, now, P::tsc_khz(), P::tsc_is_stable());
        let odd = record.version.wrapping_sub(1);
        // A guest that put the record where it has no memory gets none.
        let memory = &self.vm.memory;
        let body = &record.as_bytes()[4..];
        let _ = memory
            .write(address, odd.as_bytes())
            .and_then(|()| memory.write(address + 4, body))
            .and_then(|()| memory.write(address, record.version.as_bytes()));
        debug_assert_eq!(size_of::<TimeRecord>(), 32);
    }

    fn write_wall_clock(&mut self, address: u64) {
        self.msrs.wall_clock = address;
        let start = wait::realtime_ns().saturating_sub(self.vm.clock.now());
        let mut version = 0u32;
        let memory = &self.vm.memory;
        if memory.read(address, version.as_mut_bytes()).is_err() {
            return;
        }
        let version = (version & !1).wrapping_add(2);
        let record = WallRecord::of(start, version);
        let _ = memory
            .write(address, version.wrapping_sub(1).as_bytes())
            .and_then(|()| memory.write(address + 4, &record.as_bytes()[4..]))
            .and_then(|()| memory.write(address, version.as_bytes()));
    }
}

/// Bits 63:47 are equal.
const fn is_canonical(address: u64) -> bool {
    let top = address as i64 >> 47;
    top == 0 || top == -1
}

/// Each byte is a memory type (APM volume 2, 7.8.1).
fn is_pat(value: u64) -> bool {
    value
        .to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4 | 5 | 6 | 7))
}
