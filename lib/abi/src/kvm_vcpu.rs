//! The state of a vCPU as programs read and write it. Main types: [`Regs`],
//! [`Sregs`]. Neighbours: [`crate::kvm`] (request numbers), [`crate::kvm_run`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// General registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "the fields are the processor's registers")]
pub struct Regs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// A segment register with its hidden part.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Segment {
    /// Base address.
    pub base: u64,
    /// Limit in bytes (granularity already applied).
    pub limit: u32,
    /// Selector.
    pub selector: u16,
    /// Descriptor type, 4 bits.
    pub kind: u8,
    /// Present.
    pub present: u8,
    /// Privilege level.
    pub dpl: u8,
    /// Default size.
    pub db: u8,
    /// Code or data (1), system (0).
    pub s: u8,
    /// 64-bit code.
    pub l: u8,
    /// Granularity.
    pub g: u8,
    /// Available to software.
    pub avl: u8,
    /// Cannot be used.
    pub unusable: u8,
    /// Unused.
    pub padding: u8,
}

/// GDTR or IDTR.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Dtable {
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
    /// Unused.
    pub padding: [u16; 3],
}

/// Segments and control registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "the fields are the processor's registers")]
pub struct Sregs {
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldt: Segment,
    pub gdt: Dtable,
    pub idt: Dtable,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    pub apic_base: u64,
    /// At most one bit: an external interrupt that is being delivered.
    pub interrupt_bitmap: [u64; 4],
}

/// x87 and SSE state.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs, reason = "the fields are the processor's registers")]
pub struct Fpu {
    pub fpr: [[u8; 16]; 8],
    pub fcw: u16,
    pub fsw: u16,
    /// Abridged tag word, as FXSAVE stores it.
    pub ftwx: u8,
    pub pad1: u8,
    pub last_opcode: u16,
    pub last_ip: u64,
    pub last_dp: u64,
    pub xmm: [[u8; 16]; 16],
    pub mxcsr: u32,
    pub pad2: u32,
}

/// Extended state in the XSAVE standard format.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Xsave {
    /// The first 4096 bytes.
    pub region: [u32; 1024],
}

/// One extended control register.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Xcr {
    /// Number; only 0 exists.
    pub xcr: u32,
    /// Unused.
    pub reserved: u32,
    /// Value.
    pub value: u64,
}

/// The extended control registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Xcrs {
    /// How many of `xcrs` count.
    pub nr_xcrs: u32,
    /// 0.
    pub flags: u32,
    /// The registers.
    pub xcrs: [Xcr; 16],
    /// Unused.
    pub padding: [u64; 16],
}

/// Header of an MSR list; `nmsrs` entries of [`MsrEntry`] follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Msrs {
    /// Number of entries.
    pub nmsrs: u32,
    /// Unused.
    pub pad: u32,
}

/// One MSR.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MsrEntry {
    /// Its index, as in ECX of RDMSR.
    pub index: u32,
    /// Unused.
    pub reserved: u32,
    /// Its value.
    pub data: u64,
}

/// Header of a list of MSR indices; `nmsrs` numbers of 32 bits follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MsrList {
    /// Number of indices.
    pub nmsrs: u32,
}

/// Header of a CPUID table; `nent` entries of [`CpuidEntry2`] follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cpuid2 {
    /// Number of entries.
    pub nent: u32,
    /// Unused.
    pub padding: u32,
}

/// What one CPUID leaf answers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuidEntry2 {
    /// EAX on input.
    pub function: u32,
    /// ECX on input, if it counts.
    pub index: u32,
    /// [`Self::SIGNIFICANT_INDEX`].
    pub flags: u32,
    /// Answer in EAX.
    pub eax: u32,
    /// Answer in EBX.
    pub ebx: u32,
    /// Answer in ECX.
    pub ecx: u32,
    /// Answer in EDX.
    pub edx: u32,
    /// Unused.
    pub padding: [u32; 3],
}

impl CpuidEntry2 {
    /// The entry answers only its own index.
    pub const SIGNIFICANT_INDEX: u32 = 1;
}

/// Number of an external interrupt.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Interrupt {
    /// The vector.
    pub irq: u32,
}

/// Multiprocessing state: see [`crate::kvm::mp_state`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MpState {
    /// The state.
    pub mp_state: u32,
}

/// Header of a signal set; `len` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalMask {
    /// Bytes that follow: 8.
    pub len: u32,
}

/// Events that wait for delivery or were cut short by an exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VcpuEvents {
    /// An exception is delivered at the next entry.
    pub exception_injected: u8,
    /// Its vector.
    pub exception_nr: u8,
    /// It has an error code.
    pub exception_has_error_code: u8,
    /// It is not yet part of the guest's state.
    pub exception_pending: u8,
    /// The error code.
    pub exception_error_code: u32,
    /// An external or software interrupt is delivered at the next entry.
    pub interrupt_injected: u8,
    /// Its vector.
    pub interrupt_nr: u8,
    /// It came from INT n.
    pub interrupt_soft: u8,
    /// Interrupts are held off by STI (1) or MOV SS (2).
    pub interrupt_shadow: u8,
    /// An NMI is delivered at the next entry.
    pub nmi_injected: u8,
    /// An NMI waits.
    pub nmi_pending: u8,
    /// NMIs are blocked until IRET.
    pub nmi_masked: u8,
    /// Unused.
    pub nmi_pad: u8,
    /// Start page of the last SIPI.
    pub sipi_vector: u32,
    /// [`crate::kvm::event_flag`] bits.
    pub flags: u32,
    /// System management mode: always zero here.
    pub smi: [u8; 4],
    /// A triple fault waits.
    pub triple_fault_pending: u8,
    /// Unused.
    pub reserved: [u8; 26],
    /// The exception has a payload.
    pub exception_has_payload: u8,
    /// CR2 or DR6 of the exception.
    pub exception_payload: u64,
}

/// Debug registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DebugRegs {
    /// DR0 to DR3.
    pub db: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// 0.
    pub flags: u64,
    /// Unused.
    pub reserved: [u64; 9],
}

/// A capability to switch on.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EnableCap {
    /// [`crate::kvm::cap`] number.
    pub cap: u32,
    /// 0.
    pub flags: u32,
    /// Its arguments.
    pub args: [u64; 4],
    /// Unused.
    pub pad: [u8; 64],
}

/// Translation of a linear address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Translation {
    /// Input.
    pub linear_address: u64,
    /// Output.
    pub physical_address: u64,
    /// The address is mapped.
    pub valid: u8,
    /// It may be written.
    pub writeable: u8,
    /// Ring 3 may use it.
    pub usermode: u8,
    /// Unused.
    pub pad: [u8; 5],
}

/// Single steps and breakpoints.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuestDebug {
    /// [`Self::ENABLE`] and others.
    pub control: u32,
    /// Unused.
    pub pad: u32,
    /// DR0 to DR7.
    pub debugreg: [u64; 8],
}

impl GuestDebug {
    /// Debugging is on.
    pub const ENABLE: u32 = 1;
    /// Exit after each instruction.
    pub const SINGLESTEP: u32 = 2;
    /// Exit on INT3.
    pub const USE_SW_BP: u32 = 1 << 16;
    /// Use `debugreg`.
    pub const USE_HW_BP: u32 = 1 << 17;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use kvm_bindings as kb;

    macro_rules! same {
        ($ours:ty, $theirs:ty, $($field:ident = $other:ident),*) => {
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
            $(assert_eq!(offset_of!($ours, $field), offset_of!($theirs, $other), stringify!($field));)*
        };
    }

    #[test]
    fn register_layouts_match_the_bindings() {
        same!(
            Regs,
            kb::kvm_regs,
            rax = rax,
            rsp = rsp,
            rbp = rbp,
            r8 = r8,
            r15 = r15,
            rip = rip,
            rflags = rflags
        );
        same!(
            Segment,
            kb::kvm_segment,
            base = base,
            limit = limit,
            selector = selector,
            kind = type_,
            present = present,
            dpl = dpl,
            db = db,
            s = s,
            l = l,
            g = g,
            avl = avl,
            unusable = unusable
        );
        same!(Dtable, kb::kvm_dtable, base = base, limit = limit);
        same!(
            Sregs,
            kb::kvm_sregs,
            cs = cs,
            ds = ds,
            es = es,
            fs = fs,
            gs = gs,
            ss = ss,
            tr = tr,
            ldt = ldt,
            gdt = gdt,
            idt = idt,
            cr0 = cr0,
            cr2 = cr2,
            cr3 = cr3,
            cr4 = cr4,
            cr8 = cr8,
            efer = efer,
            apic_base = apic_base,
            interrupt_bitmap = interrupt_bitmap
        );
        same!(
            Fpu,
            kb::kvm_fpu,
            fpr = fpr,
            fcw = fcw,
            fsw = fsw,
            ftwx = ftwx,
            last_opcode = last_opcode,
            last_ip = last_ip,
            last_dp = last_dp,
            xmm = xmm,
            mxcsr = mxcsr
        );
        same!(Xsave, kb::kvm_xsave, region = region);
        same!(
            Xcrs,
            kb::kvm_xcrs,
            nr_xcrs = nr_xcrs,
            flags = flags,
            xcrs = xcrs
        );
        same!(
            DebugRegs,
            kb::kvm_debugregs,
            db = db,
            dr6 = dr6,
            dr7 = dr7,
            flags = flags
        );
    }

    #[test]
    fn list_layouts_match_the_bindings() {
        same!(Msrs, kb::kvm_msrs, nmsrs = nmsrs);
        same!(MsrEntry, kb::kvm_msr_entry, index = index, data = data);
        same!(MsrList, kb::kvm_msr_list, nmsrs = nmsrs);
        same!(Cpuid2, kb::kvm_cpuid2, nent = nent);
        same!(
            CpuidEntry2,
            kb::kvm_cpuid_entry2,
            function = function,
            index = index,
            flags = flags,
            eax = eax,
            ebx = ebx,
            ecx = ecx,
            edx = edx
        );
        same!(SignalMask, kb::kvm_signal_mask, len = len);
        same!(
            EnableCap,
            kb::kvm_enable_cap,
            cap = cap,
            flags = flags,
            args = args
        );
        same!(
            Translation,
            kb::kvm_translation,
            linear_address = linear_address,
            physical_address = physical_address,
            valid = valid,
            writeable = writeable,
            usermode = usermode
        );
        same!(
            GuestDebug,
            kb::kvm_guest_debug,
            control = control,
            debugreg = arch
        );
        same!(MpState, kb::kvm_mp_state, mp_state = mp_state);
    }

    #[test]
    fn event_layout_matches_the_bindings() {
        same!(
            VcpuEvents,
            kb::kvm_vcpu_events,
            exception_injected = exception,
            interrupt_injected = interrupt,
            nmi_injected = nmi,
            sipi_vector = sipi_vector,
            flags = flags,
            smi = smi,
            triple_fault_pending = triple_fault,
            exception_has_payload = exception_has_payload,
            exception_payload = exception_payload
        );
        let inner = offset_of!(kb::kvm_vcpu_events, exception)
            + offset_of!(kb::kvm_vcpu_events__bindgen_ty_1, error_code);
        assert_eq!(offset_of!(VcpuEvents, exception_error_code), inner);
        let shadow = offset_of!(kb::kvm_vcpu_events, interrupt)
            + offset_of!(kb::kvm_vcpu_events__bindgen_ty_2, shadow);
        assert_eq!(offset_of!(VcpuEvents, interrupt_shadow), shadow);
    }
}
