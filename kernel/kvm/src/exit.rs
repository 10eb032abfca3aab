//! Why a guest was left, in words that no processor vendor owns: [`Exit`].
//! A backend ([`crate::backend`]) makes it from the hardware's code, the run
//! loop ([`crate::run`]) matches on it once.

/// The reason, with what the handler needs and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A physical interrupt, NMI or SMI; the host has taken it already.
    Interrupt,
    /// The guest can take an interrupt now, as was asked for.
    Window,
    /// The guest executed IRET while NMIs were blocked, as was asked for.
    NmiReturn,
    /// An instruction that the exit code names.
    Instruction(Instruction),
    /// A port was accessed.
    Port(PortAccess),
    /// The guest-physical address has no suitable nested mapping.
    NestedFault(NestedFault),
    /// An exception that was asked for.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code, where it has one.
        error: u32,
    },
    /// MOV to CR8, as was asked for.
    WriteCr8,
    /// MOV to or from a debug register.
    DebugRegister {
        /// The register's number.
        number: u8,
        /// To (true) or from (false).
        write: bool,
    },
    /// A task switch.
    TaskSwitch,
    /// Triple fault.
    Shutdown,
    /// The processor found the guest's state invalid; the hardware's code.
    Refused(u64),
    /// A code that the backend does not know or did not ask for.
    Unknown(u64),
}

/// Instructions whose exit code names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// XSETBV.
    Xsetbv,
    /// RDPMC.
    Rdpmc,
    /// INVD.
    Invd,
    /// WBINVD.
    Wbinvd,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// PAUSE, in a loop.
    Pause,
    /// VMMCALL (or VMCALL).
    Hypercall,
    /// An instruction of the virtualization extension itself: the guest has none.
    Virtualization,
}

/// A port access as the hardware describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAccess {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4.
    pub size: u8,
    /// OUT (true) or IN (false).
    pub write: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub repeat: bool,
    /// Bytes of an address: 2, 4 or 8 (string instructions).
    pub address_size: u8,
    /// Segment number of OUTS: ES, CS, SS, DS, FS, GS.
    pub segment: u8,
    /// The instruction after this one.
    pub next_rip: u64,
}

/// A nested fault as the hardware describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedFault {
    /// The guest-physical address.
    pub gpa: u64,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub fetch: bool,
    /// There was a mapping, but it forbids the access.
    pub present: bool,
    /// The access was the processor's own, to a guest page table.
    pub walk: bool,
}
