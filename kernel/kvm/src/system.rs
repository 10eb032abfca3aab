//! Requests of /dev/kvm itself: what there is. VMs are made by whoever owns the
//! files ([`crate::vm::Vm::new`]).

use crate::cpuid::{MAX_ENTRIES, supported};
use crate::msr;
use crate::platform::{Monitor, Platform};
use crate::slots::MAX_SLOTS;
use crate::vm::{MAX_VCPU_ID, MAX_VCPUS};
use abi::Errno;
use abi::kvm::{self, cap};
use abi::kvm_run::MMAP_SIZE;
use abi::kvm_vcpu::{Cpuid2, CpuidEntry2, MsrList, Xsave};
use abi::kvm_vm::ClockData;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// CHECK_EXTENSION: 0 where a capability is not there.
#[must_use]
pub fn check_extension<P: Platform>(capability: u64) -> u64 {
    match capability {
        cap::IRQCHIP
        | cap::HLT
        | cap::USER_MEMORY
        | cap::SET_TSS_ADDR
        | cap::EXT_CPUID
        | cap::CLOCKSOURCE
        | cap::PIT
        | cap::NOP_IO_DELAY
        | cap::MP_STATE
        | cap::SYNC_MMU
        | cap::DESTROY_MEMORY_REGION_WORKS
        | cap::JOIN_MEMORY_REGIONS_WORKS
        | cap::USER_NMI
        | cap::SET_GUEST_DEBUG
        | cap::REINJECT_CONTROL
        | cap::IRQ_INJECT_STATUS
        | cap::IRQFD
        | cap::IRQFD_RESAMPLE
        | cap::PIT2
        | cap::PIT_STATE2
        | cap::SET_BOOT_CPU_ID
        | cap::IOEVENTFD
        | cap::IOEVENTFD_ANY_LENGTH
        | cap::SET_IDENTITY_MAP_ADDR
        | cap::INTERNAL_ERROR_DATA
        | cap::VCPU_EVENTS
        | cap::INTR_SHADOW
        | cap::DEBUGREGS
        | cap::XSAVE
        | cap::XCRS
        | cap::GET_TSC_KHZ
        | cap::TSC_DEADLINE_TIMER
        | cap::KVMCLOCK_CTRL
        | cap::SIGNAL_MSI
        | cap::READONLY_MEM
        | cap::CHECK_EXTENSION_VM
        | cap::IMMEDIATE_EXIT
        | cap::GET_MSR_FEATURES => 1,
        cap::IRQ_ROUTING => u64::from(irqchip::Routes::GSIS),
        cap::NR_VCPUS => hal::cpu::count() as u64,
        cap::MAX_VCPUS => MAX_VCPUS as u64,
        cap::MAX_VCPU_ID => u64::from(MAX_VCPU_ID),
        cap::NR_MEMSLOTS => u64::from(MAX_SLOTS),
        cap::ADJUST_CLOCK => {
            let stable = if P::tsc_is_stable() {
                ClockData::TSC_STABLE
            } else {
                0
            };
            u64::from(stable | ClockData::REALTIME | ClockData::HOST_TSC)
        }
        cap::XSAVE2 => size_of::<Xsave>() as u64,
        _ => 0,
    }
}

/// A request of /dev/kvm other than CREATE_VM.
///
/// # Errors
/// EINVAL for an argument that must be 0, ENOTTY for a request that is not
/// known, EFAULT, and E2BIG where the caller's room is too small.
pub fn request<P: Platform>(
    monitor: &dyn Monitor,
    request: u32,
    argument: u64,
) -> Result<u64, Errno> {
    match request {
        kvm::GET_API_VERSION if argument == 0 => Ok(kvm::API_VERSION),
        kvm::GET_VCPU_MMAP_SIZE if argument == 0 => Ok(MMAP_SIZE as u64),
        kvm::GET_API_VERSION | kvm::GET_VCPU_MMAP_SIZE => Err(Errno::EINVAL),
        kvm::CHECK_EXTENSION => Ok(check_extension::<P>(argument)),
        kvm::GET_SUPPORTED_CPUID => {
            write_cpuid(monitor, argument, &supported(&P::cpuid, P::tsc_is_stable()))
        }
        // Nothing is emulated that the processor has not.
        kvm::GET_EMULATED_CPUID => write_cpuid(monitor, argument, &[]),
        kvm::GET_MSR_INDEX_LIST => write_indices(monitor, argument, &msr::INDICES),
        kvm::GET_MSR_FEATURE_INDEX_LIST => write_indices(monitor, argument, &[x86::msr::DE_CFG]),
        _ => Err(Errno::ENOTTY),
    }
}

/// Reads a value from the monitor.
pub(crate) fn read_value<T: FromBytes + IntoBytes>(
    monitor: &dyn Monitor,
    address: u64,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    monitor.read(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a value to the monitor.
pub(crate) fn write_value(
    monitor: &dyn Monitor,
    address: u64,
    value: &(impl IntoBytes + Immutable),
) -> Result<u64, Errno> {
    monitor.write(address, value.as_bytes())?;
    Ok(0)
}

/// Writes a CPUID table, if the room that its header names suffices.
pub(crate) fn write_cpuid(
    monitor: &dyn Monitor,
    address: u64,
    entries: &[CpuidEntry2],
) -> Result<u64, Errno> {
    let mut header: Cpuid2 = read_value(monitor, address)?;
    if (header.nent as usize) < entries.len() {
        return Err(Errno::E2BIG);
    }
    header.nent = entries.len() as u32;
    write_value(monitor, address, &header)?;
    monitor.write(
        address.wrapping_add(size_of::<Cpuid2>() as u64),
        entries.as_bytes(),
    )?;
    Ok(0)
}

/// Reads a CPUID table.
pub(crate) fn read_cpuid(monitor: &dyn Monitor, address: u64) -> Result<Vec<CpuidEntry2>, Errno> {
    let header: Cpuid2 = read_value(monitor, address)?;
    let count = header.nent as usize;
    if count > MAX_ENTRIES {
        return Err(Errno::E2BIG);
    }
    read_list(
        monitor,
        address.wrapping_add(size_of::<Cpuid2>() as u64),
        count,
    )
}

/// Reads `count` values. The caller has bounded the count.
pub(crate) fn read_list<T: FromBytes + IntoBytes + Clone>(
    monitor: &dyn Monitor,
    address: u64,
    count: usize,
) -> Result<Vec<T>, Errno> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    list.resize(count, T::new_zeroed());
    monitor.read(address, list.as_mut_slice().as_mut_bytes())?;
    Ok(list)
}

fn write_indices(monitor: &dyn Monitor, address: u64, list: &[u32]) -> Result<u64, Errno> {
    let header: MsrList = read_value(monitor, address)?;
    // The number is told in any case, so that the caller knows what to offer.
    write_value(
        monitor,
        address,
        &MsrList {
            nmsrs: list.len() as u32,
        },
    )?;
    if (header.nmsrs as usize) < list.len() {
        return Err(Errno::E2BIG);
    }
    monitor.write(
        address.wrapping_add(size_of::<MsrList>() as u64),
        list.as_bytes(),
    )?;
    Ok(0)
}
