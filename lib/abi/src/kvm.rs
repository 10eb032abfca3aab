//! The KVM interface: request numbers, capability numbers and the constants of
//! its fields. Layouts are beside it: [`crate::kvm_vm`] (arguments of VM
//! requests), [`crate::kvm_vcpu`] (vCPU state), [`crate::kvm_run`] (the shared
//! page). Reference: "The Definitive KVM API Documentation".

use crate::ioctl::{io, ior, iow, iowr};
use crate::kvm_vcpu::{
    Cpuid2, DebugRegs, EnableCap, Fpu, GuestDebug, Interrupt, MpState, MsrList, Msrs, Regs,
    SignalMask, Sregs, Translation, VcpuEvents, Xcrs, Xsave,
};
use crate::kvm_vm::{
    ClockData, DirtyLog, IoEventFd, IrqFd, IrqLevel, IrqRouting, Msi, PitConfig,
    UserspaceMemoryRegion,
};

/// The device letter of all KVM requests.
pub const KVMIO: u8 = 0xAE;
/// What GET_API_VERSION answers.
pub const API_VERSION: u64 = 12;

// Requests of /dev/kvm.
/// System: interface version.
pub const GET_API_VERSION: u32 = io(KVMIO, 0x00);
/// System: a new VM; the answer is a file descriptor.
pub const CREATE_VM: u32 = io(KVMIO, 0x01);
/// System: indices of the MSRs that GET_MSRS and SET_MSRS know.
pub const GET_MSR_INDEX_LIST: u32 = iowr::<MsrList>(KVMIO, 0x02);
/// System and VM: value of a capability.
pub const CHECK_EXTENSION: u32 = io(KVMIO, 0x03);
/// System: bytes of a vCPU's shared mapping.
pub const GET_VCPU_MMAP_SIZE: u32 = io(KVMIO, 0x04);
/// System: CPUID leaves that a guest may be given.
pub const GET_SUPPORTED_CPUID: u32 = iowr::<Cpuid2>(KVMIO, 0x05);
/// System: CPUID features that are emulated.
pub const GET_EMULATED_CPUID: u32 = iowr::<Cpuid2>(KVMIO, 0x09);
/// System: indices of MSRs that describe features.
pub const GET_MSR_FEATURE_INDEX_LIST: u32 = iowr::<MsrList>(KVMIO, 0x0a);

// Requests of a VM.
/// VM: a new vCPU; the argument is its id, the answer a file descriptor.
pub const CREATE_VCPU: u32 = io(KVMIO, 0x41);
/// VM: fetch and clear the dirty bitmap of a slot.
pub const GET_DIRTY_LOG: u32 = iow::<DirtyLog>(KVMIO, 0x42);
/// VM: create, change, move or delete a memory slot.
pub const SET_USER_MEMORY_REGION: u32 = iow::<UserspaceMemoryRegion>(KVMIO, 0x46);
/// VM: three pages for the processor's private use (Intel only).
pub const SET_TSS_ADDR: u32 = io(KVMIO, 0x47);
/// VM: one page for the processor's private use (Intel only).
pub const SET_IDENTITY_MAP_ADDR: u32 = iow::<u64>(KVMIO, 0x48);
/// VM: interrupt controllers in the kernel.
pub const CREATE_IRQCHIP: u32 = io(KVMIO, 0x60);
/// VM: level of a GSI.
pub const IRQ_LINE: u32 = iow::<IrqLevel>(KVMIO, 0x61);
/// VM: as IRQ_LINE, telling whether the interrupt was delivered.
pub const IRQ_LINE_STATUS: u32 = iowr::<IrqLevel>(KVMIO, 0x67);
/// VM: state of a PIC or the IOAPIC.
pub const GET_IRQCHIP: u32 = iowr::<[u8; 520]>(KVMIO, 0x62);
/// VM: set state of a PIC or the IOAPIC. The number says "read" by history.
pub const SET_IRQCHIP: u32 = ior::<[u8; 520]>(KVMIO, 0x63);
/// VM: the old PIT without its configuration word.
pub const CREATE_PIT: u32 = io(KVMIO, 0x64);
/// VM: whether the PIT makes up for ticks that were late ([`crate::kvm_vm::ReinjectControl`]).
pub const REINJECT_CONTROL: u32 = io(KVMIO, 0x71);
/// VM: the whole GSI routing table.
pub const SET_GSI_ROUTING: u32 = iow::<IrqRouting>(KVMIO, 0x6a);
/// VM: the id of the vCPU that starts.
pub const SET_BOOT_CPU_ID: u32 = io(KVMIO, 0x78);
/// VM: tie an eventfd to a GSI.
pub const IRQFD: u32 = iow::<IrqFd>(KVMIO, 0x76);
/// VM: the PIT in the kernel.
pub const CREATE_PIT2: u32 = iow::<PitConfig>(KVMIO, 0x77);
/// VM: tie a port or address to an eventfd.
pub const IOEVENTFD: u32 = iow::<IoEventFd>(KVMIO, 0x79);
/// VM: set the paravirtual clock.
pub const SET_CLOCK: u32 = iow::<ClockData>(KVMIO, 0x7b);
/// VM: read the paravirtual clock.
pub const GET_CLOCK: u32 = ior::<ClockData>(KVMIO, 0x7c);
/// VM: state of the PIT.
pub const GET_PIT2: u32 = ior::<[u8; 112]>(KVMIO, 0x9f);
/// VM: set state of the PIT.
pub const SET_PIT2: u32 = iow::<[u8; 112]>(KVMIO, 0xa0);
/// VM: deliver one message-signalled interrupt.
pub const SIGNAL_MSI: u32 = iow::<Msi>(KVMIO, 0xa5);

// Requests of a vCPU.
/// vCPU: run guest code until something needs the caller.
pub const RUN: u32 = io(KVMIO, 0x80);
/// vCPU: general registers.
pub const GET_REGS: u32 = ior::<Regs>(KVMIO, 0x81);
/// vCPU: set general registers.
pub const SET_REGS: u32 = iow::<Regs>(KVMIO, 0x82);
/// vCPU: segments and control registers.
pub const GET_SREGS: u32 = ior::<Sregs>(KVMIO, 0x83);
/// vCPU: set segments and control registers.
pub const SET_SREGS: u32 = iow::<Sregs>(KVMIO, 0x84);
/// vCPU: translate a linear address.
pub const TRANSLATE: u32 = iowr::<Translation>(KVMIO, 0x85);
/// vCPU: queue an external interrupt (without interrupt controllers in the kernel).
pub const INTERRUPT: u32 = iow::<Interrupt>(KVMIO, 0x86);
/// vCPU: read MSRs.
pub const GET_MSRS: u32 = iowr::<Msrs>(KVMIO, 0x88);
/// vCPU: write MSRs.
pub const SET_MSRS: u32 = iow::<Msrs>(KVMIO, 0x89);
/// vCPU: signals blocked while RUN runs.
pub const SET_SIGNAL_MASK: u32 = iow::<SignalMask>(KVMIO, 0x8b);
/// vCPU: x87 and SSE state.
pub const GET_FPU: u32 = ior::<Fpu>(KVMIO, 0x8c);
/// vCPU: set x87 and SSE state.
pub const SET_FPU: u32 = iow::<Fpu>(KVMIO, 0x8d);
/// vCPU: the local APIC's registers.
pub const GET_LAPIC: u32 = ior::<[u8; 1024]>(KVMIO, 0x8e);
/// vCPU: set the local APIC's registers.
pub const SET_LAPIC: u32 = iow::<[u8; 1024]>(KVMIO, 0x8f);
/// vCPU: set what CPUID answers.
pub const SET_CPUID2: u32 = iow::<Cpuid2>(KVMIO, 0x90);
/// vCPU: what CPUID answers.
pub const GET_CPUID2: u32 = iowr::<Cpuid2>(KVMIO, 0x91);
/// vCPU: runnable, halted, waiting for INIT or SIPI.
pub const GET_MP_STATE: u32 = ior::<MpState>(KVMIO, 0x98);
/// vCPU: set the multiprocessing state.
pub const SET_MP_STATE: u32 = iow::<MpState>(KVMIO, 0x99);
/// vCPU: queue an NMI.
pub const NMI: u32 = io(KVMIO, 0x9a);
/// vCPU: single steps and breakpoints.
pub const SET_GUEST_DEBUG: u32 = iow::<GuestDebug>(KVMIO, 0x9b);
/// vCPU: pending exceptions, interrupts and NMIs.
pub const GET_VCPU_EVENTS: u32 = ior::<VcpuEvents>(KVMIO, 0x9f);
/// vCPU: set pending exceptions, interrupts and NMIs.
pub const SET_VCPU_EVENTS: u32 = iow::<VcpuEvents>(KVMIO, 0xa0);
/// vCPU: debug registers.
pub const GET_DEBUGREGS: u32 = ior::<DebugRegs>(KVMIO, 0xa1);
/// vCPU: set debug registers.
pub const SET_DEBUGREGS: u32 = iow::<DebugRegs>(KVMIO, 0xa2);
/// vCPU: frequency of the guest's TSC, in kHz.
pub const SET_TSC_KHZ: u32 = io(KVMIO, 0xa2);
/// vCPU: frequency of the guest's TSC, in kHz.
pub const GET_TSC_KHZ: u32 = io(KVMIO, 0xa3);
/// vCPU and VM: switch a capability on.
pub const ENABLE_CAP: u32 = iow::<EnableCap>(KVMIO, 0xa3);
/// vCPU: extended state in the XSAVE standard format.
pub const GET_XSAVE: u32 = ior::<Xsave>(KVMIO, 0xa4);
/// vCPU: set extended state.
pub const SET_XSAVE: u32 = iow::<Xsave>(KVMIO, 0xa5);
/// vCPU: as GET_XSAVE, of the size that CHECK_EXTENSION(XSAVE2) names.
pub const GET_XSAVE2: u32 = ior::<Xsave>(KVMIO, 0xcf);
/// vCPU: extended control registers.
pub const GET_XCRS: u32 = ior::<Xcrs>(KVMIO, 0xa6);
/// vCPU: set extended control registers.
pub const SET_XCRS: u32 = iow::<Xcrs>(KVMIO, 0xa7);
/// vCPU: tell the guest that it was paused by its monitor.
pub const KVMCLOCK_CTRL: u32 = io(KVMIO, 0xad);

/// Capability numbers of CHECK_EXTENSION and ENABLE_CAP.
pub mod cap {
    macro_rules! caps {
        ($($name:ident = $number:literal, $text:literal;)*) => {
            $(#[doc = $text] pub const $name: u64 = $number;)*
        };
    }
    caps! {
        IRQCHIP = 0, "Interrupt controllers in the kernel.";
        HLT = 1, "HLT exits or blocks.";
        USER_MEMORY = 3, "SET_USER_MEMORY_REGION.";
        SET_TSS_ADDR = 4, "SET_TSS_ADDR.";
        EXT_CPUID = 7, "SET_CPUID2 and GET_SUPPORTED_CPUID.";
        CLOCKSOURCE = 8, "The paravirtual clock.";
        NR_VCPUS = 9, "Recommended number of vCPUs.";
        NR_MEMSLOTS = 10, "Number of memory slots.";
        PIT = 11, "The old PIT request.";
        NOP_IO_DELAY = 12, "Port delays need no exits.";
        MP_STATE = 14, "GET_MP_STATE and SET_MP_STATE.";
        SYNC_MMU = 16, "Guest mappings follow the monitor's address space.";
        DESTROY_MEMORY_REGION_WORKS = 21, "Memory slots can be deleted.";
        USER_NMI = 22, "NMI.";
        SET_GUEST_DEBUG = 23, "SET_GUEST_DEBUG.";
        REINJECT_CONTROL = 24, "REINJECT_CONTROL.";
        IRQ_ROUTING = 25, "SET_GSI_ROUTING.";
        IRQ_INJECT_STATUS = 26, "IRQ_LINE_STATUS.";
        JOIN_MEMORY_REGIONS_WORKS = 30, "A slot may take the place of several.";
        IRQFD = 32, "IRQFD.";
        PIT2 = 33, "CREATE_PIT2.";
        SET_BOOT_CPU_ID = 34, "SET_BOOT_CPU_ID.";
        PIT_STATE2 = 35, "GET_PIT2 and SET_PIT2.";
        IOEVENTFD = 36, "IOEVENTFD.";
        SET_IDENTITY_MAP_ADDR = 37, "SET_IDENTITY_MAP_ADDR.";
        ADJUST_CLOCK = 39, "GET_CLOCK and SET_CLOCK; the value lists their flags.";
        INTERNAL_ERROR_DATA = 40, "Internal errors carry data.";
        VCPU_EVENTS = 41, "GET_VCPU_EVENTS and SET_VCPU_EVENTS.";
        INTR_SHADOW = 49, "The interrupt shadow is part of the events.";
        DEBUGREGS = 50, "GET_DEBUGREGS and SET_DEBUGREGS.";
        ENABLE_CAP = 54, "ENABLE_CAP on a vCPU.";
        XSAVE = 55, "GET_XSAVE and SET_XSAVE.";
        XCRS = 56, "GET_XCRS and SET_XCRS.";
        TSC_CONTROL = 60, "SET_TSC_KHZ with scaling.";
        GET_TSC_KHZ = 61, "GET_TSC_KHZ.";
        MAX_VCPUS = 66, "Most vCPUs of a VM.";
        TSC_DEADLINE_TIMER = 72, "The local APIC has a deadline timer.";
        KVMCLOCK_CTRL = 76, "KVMCLOCK_CTRL.";
        SIGNAL_MSI = 77, "SIGNAL_MSI.";
        READONLY_MEM = 81, "Slots may be read-only.";
        IRQFD_RESAMPLE = 82, "IRQFD with a resample eventfd.";
        EXT_EMUL_CPUID = 95, "GET_EMULATED_CPUID.";
        ENABLE_CAP_VM = 98, "ENABLE_CAP on a VM.";
        IOEVENTFD_NO_LENGTH = 100, "MMIO ioeventfds of any length.";
        CHECK_EXTENSION_VM = 105, "CHECK_EXTENSION on a VM.";
        SPLIT_IRQCHIP = 121, "Local APICs in the kernel, the rest in the monitor.";
        IOEVENTFD_ANY_LENGTH = 122, "Port and MMIO ioeventfds of length 0.";
        MAX_VCPU_ID = 128, "Largest vCPU id plus one.";
        IMMEDIATE_EXIT = 136, "The immediate_exit byte.";
        X86_DISABLE_EXITS = 143, "Exits that may be switched off.";
        GET_MSR_FEATURES = 153, "GET_MSR_FEATURE_INDEX_LIST.";
        XSAVE2 = 208, "Bytes of GET_XSAVE2.";
    }
}

/// Values of `kvm_run.exit_reason`.
pub mod exit {
    /// The hardware gave a reason that nobody knows.
    pub const UNKNOWN: u32 = 0;
    /// A port was read or written.
    pub const IO: u32 = 2;
    /// A debug event asked for by SET_GUEST_DEBUG.
    pub const DEBUG: u32 = 4;
    /// HLT without interrupt controllers in the kernel.
    pub const HLT: u32 = 5;
    /// An address without memory was read or written.
    pub const MMIO: u32 = 6;
    /// The guest can take an interrupt now.
    pub const IRQ_WINDOW_OPEN: u32 = 7;
    /// Triple fault.
    pub const SHUTDOWN: u32 = 8;
    /// The processor refused the guest's state.
    pub const FAIL_ENTRY: u32 = 9;
    /// A signal or immediate_exit.
    pub const INTR: u32 = 10;
    /// The task priority was lowered (without interrupt controllers in the kernel).
    pub const SET_TPR: u32 = 11;
    /// The kernel could not go on; see [`super::internal_error`].
    pub const INTERNAL_ERROR: u32 = 17;
    /// Power off, reset or crash asked for by the guest.
    pub const SYSTEM_EVENT: u32 = 24;
    /// Direction of a port access: IN.
    pub const IO_IN: u8 = 0;
    /// Direction of a port access: OUT.
    pub const IO_OUT: u8 = 1;
}

/// Values of `suberror` of an internal error.
pub mod internal_error {
    /// An instruction that needs emulation has none.
    pub const EMULATION: u32 = 1;
    /// An exit happened while an event was being delivered and cannot be handled there.
    pub const DELIVERY_EV: u32 = 3;
    /// An exit that the kernel does not expect.
    pub const UNEXPECTED_EXIT_REASON: u32 = 4;
    /// `flags` of EMULATION: the instruction's bytes follow.
    pub const EMULATION_FLAG_INSTRUCTION_BYTES: u64 = 1;
}

/// Values of [`MpState`].
pub mod mp_state {
    /// Runs, or is able to.
    pub const RUNNABLE: u32 = 0;
    /// An application processor before its INIT.
    pub const UNINITIALIZED: u32 = 1;
    /// Has had INIT and waits for SIPI.
    pub const INIT_RECEIVED: u32 = 2;
    /// Executed HLT and waits for an interrupt.
    pub const HALTED: u32 = 3;
    /// Has just had SIPI.
    pub const SIPI_RECEIVED: u32 = 4;
}

/// `flags` of [`VcpuEvents`].
pub mod event_flag {
    /// `nmi.pending` counts.
    pub const NMI_PENDING: u32 = 1;
    /// `sipi_vector` counts.
    pub const SIPI_VECTOR: u32 = 2;
    /// `interrupt.shadow` counts.
    pub const SHADOW: u32 = 4;
    /// `smi` counts.
    pub const SMM: u32 = 8;
    /// The exception payload counts.
    pub const PAYLOAD: u32 = 16;
}

/// `flags` of a memory slot.
pub mod memory_flag {
    /// Keep a bitmap of written pages.
    pub const LOG_DIRTY_PAGES: u32 = 1;
    /// Guest writes exit as MMIO.
    pub const READONLY: u32 = 2;
}

/// Bits of the paravirtual features leaf (CPUID 4000_0001 EAX).
pub mod pv_feature {
    /// The old clock MSRs.
    pub const CLOCKSOURCE: u32 = 1 << 0;
    /// Port delays are not needed.
    pub const NOP_IO_DELAY: u32 = 1 << 1;
    /// The clock MSRs at 4B56_4D00.
    pub const CLOCKSOURCE2: u32 = 1 << 3;
    /// No warps are to be expected between vCPUs' clocks.
    pub const CLOCKSOURCE_STABLE: u32 = 1 << 24;
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_bindings as kb;

    #[test]
    fn request_numbers_match_known_values() {
        assert_eq!(GET_API_VERSION, 0xAE00);
        assert_eq!(SET_USER_MEMORY_REGION, 0x4020_AE46);
        assert_eq!(RUN, 0xAE80);
        assert_eq!(GET_REGS, 0x8090_AE81);
        assert_eq!(SET_SREGS, 0x4138_AE84);
        assert_eq!(GET_SUPPORTED_CPUID, 0xC008_AE05);
        assert_eq!(SET_CPUID2, 0x4008_AE90);
        assert_eq!(GET_MSRS, 0xC008_AE88);
        assert_eq!(GET_MSR_INDEX_LIST, 0xC004_AE02);
        assert_eq!(CREATE_PIT2, 0x4040_AE77);
        assert_eq!(IRQFD, 0x4020_AE76);
        assert_eq!(IOEVENTFD, 0x4040_AE79);
        assert_eq!(SET_GSI_ROUTING, 0x4008_AE6A);
        assert_eq!(IRQ_LINE_STATUS, 0xC008_AE67);
        assert_eq!(SET_CLOCK, 0x4030_AE7B);
        assert_eq!(GET_VCPU_EVENTS, 0x8040_AE9F);
        assert_eq!(GET_DEBUGREGS, 0x8080_AEA1);
        assert_eq!(GET_XSAVE, 0x9000_AEA4);
        assert_eq!(GET_XCRS, 0x8188_AEA6);
        assert_eq!(SET_SIGNAL_MASK, 0x4004_AE8B);
        assert_eq!(GET_FPU, 0x81A0_AE8C);
        assert_eq!(GET_LAPIC, 0x8400_AE8E);
        assert_eq!(GET_PIT2, 0x8070_AE9F);
        assert_eq!(GET_IRQCHIP, 0xC208_AE62);
        assert_eq!(SET_GUEST_DEBUG, 0x4048_AE9B);
        assert_eq!(SIGNAL_MSI, 0x4020_AEA5);
        assert_eq!(ENABLE_CAP, 0x4068_AEA3);
    }

    #[test]
    fn constants_match_the_bindings() {
        let pairs = [
            (cap::IRQCHIP, kb::KVM_CAP_IRQCHIP),
            (cap::SYNC_MMU, kb::KVM_CAP_SYNC_MMU),
            (cap::IRQFD, kb::KVM_CAP_IRQFD),
            (cap::READONLY_MEM, kb::KVM_CAP_READONLY_MEM),
            (cap::IMMEDIATE_EXIT, kb::KVM_CAP_IMMEDIATE_EXIT),
            (cap::IOEVENTFD_ANY_LENGTH, kb::KVM_CAP_IOEVENTFD_ANY_LENGTH),
            (cap::XSAVE2, kb::KVM_CAP_XSAVE2),
            (cap::TSC_DEADLINE_TIMER, kb::KVM_CAP_TSC_DEADLINE_TIMER),
            (cap::SIGNAL_MSI, kb::KVM_CAP_SIGNAL_MSI),
            (cap::MAX_VCPU_ID, kb::KVM_CAP_MAX_VCPU_ID),
            (cap::GET_MSR_FEATURES, kb::KVM_CAP_GET_MSR_FEATURES),
            (cap::PIT_STATE2, kb::KVM_CAP_PIT_STATE2),
            (cap::ADJUST_CLOCK, kb::KVM_CAP_ADJUST_CLOCK),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours, u64::from(theirs));
        }
        assert_eq!(exit::INTERNAL_ERROR, kb::KVM_EXIT_INTERNAL_ERROR);
        assert_eq!(exit::SYSTEM_EVENT, kb::KVM_EXIT_SYSTEM_EVENT);
        assert_eq!(exit::MMIO, kb::KVM_EXIT_MMIO);
        assert_eq!(mp_state::SIPI_RECEIVED, kb::KVM_MP_STATE_SIPI_RECEIVED);
        assert_eq!(event_flag::PAYLOAD, kb::KVM_VCPUEVENT_VALID_PAYLOAD);
        assert_eq!(memory_flag::READONLY, kb::KVM_MEM_READONLY);
    }
}
