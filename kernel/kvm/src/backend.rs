//! What the kernel needs of a processor's virtualization extension:
//! [`VcpuBackend`]. SVM implements it ([`crate::svm`]), VMX can; tests script a
//! fake. All methods are small so that they inline into the run loop.

use crate::event::Event;
use crate::exit::Exit;
use x86::segment::Segment;

/// Numbers of the general registers in [`VcpuBackend::gprs`], as instructions
/// encode them.
pub mod gpr {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RBP.
    pub const RBP: usize = 5;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
}

/// Segment registers, numbered as instructions encode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the processor's registers")]
pub enum SegmentName {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
    Ldtr,
    Tr,
    Gdtr,
    Idtr,
}

impl SegmentName {
    /// The segment register with this number (0 to 5); others count as DS.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Es,
            1 => Self::Cs,
            2 => Self::Ss,
            4 => Self::Fs,
            5 => Self::Gs,
            _ => Self::Ds,
        }
    }
}

/// Control, debug and other registers of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the processor's registers")]
pub enum Control {
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Efer,
    Dr6,
    Dr7,
    Pat,
    DebugCtl,
}

/// MSRs that the guest reaches without an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the processor's registers")]
pub enum PassedMsr {
    Star,
    Lstar,
    Cstar,
    Sfmask,
    KernelGsBase,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
}

/// One vCPU of the hardware. The caller owns it exclusively.
pub trait VcpuBackend: Send + 'static {
    /// The general registers, numbered as instructions encode them.
    fn gprs(&self) -> &[u64; 16];
    /// The general registers, to change.
    fn gprs_mut(&mut self) -> &mut [u64; 16];
    /// The instruction pointer.
    fn rip(&self) -> u64;
    /// Sets the instruction pointer.
    fn set_rip(&mut self, rip: u64);
    /// The flags.
    fn rflags(&self) -> u64;
    /// Sets the flags.
    fn set_rflags(&mut self, rflags: u64);
    /// A control register. EFER as the guest sees it.
    fn control(&self, register: Control) -> u64;
    /// Sets a control register. The caller has checked the value.
    fn set_control(&mut self, register: Control, value: u64);
    /// A segment register.
    fn segment(&self, name: SegmentName) -> Segment;
    /// Sets a segment register.
    fn set_segment(&mut self, name: SegmentName, segment: Segment);
    /// The privilege level.
    fn cpl(&self) -> u8;
    /// Sets the privilege level.
    fn set_cpl(&mut self, cpl: u8);
    /// An MSR that the guest reaches without an exit.
    fn passed_msr(&self, msr: PassedMsr) -> u64;
    /// Sets an MSR that the guest reaches without an exit.
    fn set_passed_msr(&mut self, msr: PassedMsr, value: u64);
    /// DR0 to DR3.
    fn breakpoints(&self) -> &[u64; 4];
    /// DR0 to DR3, to change.
    fn breakpoints_mut(&mut self) -> &mut [u64; 4];
    /// XCR0, loaded while the guest runs.
    fn xcr0(&self) -> u64;
    /// Sets XCR0. The caller has checked the value against the processor's.
    fn set_xcr0(&mut self, value: u64);
    /// TSC_AUX, loaded while the guest runs.
    fn tsc_aux(&self) -> u64;
    /// Sets TSC_AUX.
    fn set_tsc_aux(&mut self, value: u64);
    /// What is added to the host's TSC.
    fn tsc_offset(&self) -> u64;
    /// Sets what is added to the host's TSC.
    fn set_tsc_offset(&mut self, offset: u64);
    /// CR8.
    fn task_priority(&self) -> u8;
    /// Sets CR8.
    fn set_task_priority(&mut self, priority: u8);
    /// Interrupts are held off for one instruction.
    fn shadow(&self) -> bool;
    /// Sets or ends the interrupt shadow.
    fn set_shadow(&mut self, shadow: bool);

    /// The event to deliver at the next entry.
    fn inject(&mut self, event: Event);
    /// Takes the event back that was to be delivered.
    fn cancel_injection(&mut self);
    /// The event whose delivery the last exit cut short, once.
    fn take_interrupted(&mut self) -> Option<Event>;
    /// Exit with [`Exit::Window`] as soon as the guest can take an interrupt.
    fn watch_window(&mut self, on: bool);
    /// Exit with [`Exit::WriteCr8`].
    fn watch_task_priority(&mut self, on: bool);
    /// Exit with [`Exit::NmiReturn`].
    fn watch_nmi_return(&mut self, on: bool);
    /// Exit with [`Exit::Exception`] for the vectors in this bit set.
    fn watch_exceptions(&mut self, vectors: u32);

    /// The instruction after the one that exited, where the processor tells.
    fn next_rip(&self) -> Option<u64>;
    /// Bytes of the instruction that exited, where the processor tells.
    fn fetched(&self) -> Option<([u8; 15], usize)>;
    /// Forget cached translations before the next entry.
    fn flush(&mut self);
    /// The thread may have been switched out, or runs on another CPU now:
    /// whatever the last entry left loaded must be looked at again.
    fn resumed(&mut self);
    /// Runs the guest until the next exit. Interrupts of the CPU are off on the
    /// way in; those that arrive meanwhile have been handled on the way out.
    fn enter(&mut self) -> Exit;
}
