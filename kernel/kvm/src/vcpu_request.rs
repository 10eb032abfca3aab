//! Requests of a vCPU other than KVM_RUN's behaviour, one function each.

use crate::cpuid::CpuidTable;
use crate::platform::{Monitor, Platform};
use crate::system::{read_cpuid, read_list, read_value, write_cpuid, write_value};
use crate::vcpu::Vcpu;
use abi::Errno;
use abi::kvm;
use abi::kvm_irqchip::LapicState;
use abi::kvm_vcpu::{
    DebugRegs, Fpu, GuestDebug, Interrupt, MpState, MsrEntry, Msrs, Regs, SignalMask, Sregs,
    Translation, VcpuEvents, Xcrs, Xsave,
};
use alloc::boxed::Box;
use zerocopy::IntoBytes;

/// Most MSRs of one request.
const MAX_MSRS: usize = 256;

impl<P: Platform> Vcpu<P> {
    /// A request of a vCPU.
    ///
    /// # Errors
    /// ENOTTY for a request that is not known,
    /// and those of the request.
    #[inline]
    pub fn request(
        &mut self,
        monitor: &dyn Monitor,
        request: u32,
        argument: u64,
    ) -> Result<u64, Errno> {
        if request == kvm::RUN {
            return if argument == 0 {
                self.run()
            } else {
                Err(Errno::EINVAL)
            };
        }
        if !self.shared.posted.is_quiet() {
            self.take_posted();
        }
        self.state_request(monitor, request, argument)
    }

    // LONG: a flat table of requests.
    fn state_request(
        &mut self,
        monitor: &dyn Monitor,
        request: u32,
        argument: u64,
    ) -> Result<u64, Errno> {
        let done = |()| 0;
        match request {
            kvm::GET_REGS => write_value(monitor, argument, &self.regs()),
            kvm::SET_REGS => {
                self.set_regs(&read_value::<Regs>(monitor, argument)?);
                Ok(0)
            }
            kvm::GET_SREGS => write_value(monitor, argument, &self.sregs()),
            kvm::SET_SREGS => self
                .set_sregs(&read_value::<Sregs>(monitor, argument)?)
                .map(done),
            kvm::GET_FPU => write_value(monitor, argument, &self.fpu()),
            kvm::SET_FPU => self
                .set_fpu(&read_value::<Fpu>(monitor, argument)?)
                .map(done),
            kvm::GET_XSAVE | kvm::GET_XSAVE2 => write_value(monitor, argument, &self.xsave()),
            kvm::SET_XSAVE => self
                .set_xsave(&read_value::<Xsave>(monitor, argument)?)
                .map(done),
            kvm::GET_XCRS => write_value(monitor, argument, &self.xcrs()),
            kvm::SET_XCRS => self
                .set_xcrs(&read_value::<Xcrs>(monitor, argument)?)
                .map(done),
            kvm::GET_MSRS => self.get_msrs(monitor, argument),
            kvm::SET_MSRS => self.set_msrs(monitor, argument),
            kvm::GET_CPUID2 => write_cpuid(monitor, argument, self.cpuid.entries()),
            kvm::SET_CPUID2 => {
                self.set_cpuid(CpuidTable::new(read_cpuid(monitor, argument)?));
                Ok(0)
            }
            kvm::GET_LAPIC => {
                let state = Box::new(self.lapic_state()?);
                write_value(monitor, argument, &*state)
            }
            kvm::SET_LAPIC => self
                .set_lapic_state(&read_value::<LapicState>(monitor, argument)?)
                .map(done),
            kvm::GET_MP_STATE => write_value(
                monitor,
                argument,
                &MpState {
                    mp_state: self.mp_state(),
                },
            ),
            kvm::SET_MP_STATE => {
                let state: MpState = read_value(monitor, argument)?;
                self.set_mp_state(state.mp_state).map(done)
            }
            kvm::GET_VCPU_EVENTS => write_value(monitor, argument, &self.vcpu_events()),
            kvm::SET_VCPU_EVENTS => self
                .set_vcpu_events(&read_value::<VcpuEvents>(monitor, argument)?)
                .map(done),
            kvm::GET_DEBUGREGS => write_value(monitor, argument, &self.debug_registers()),
            kvm::SET_DEBUGREGS => self
                .set_debug_registers(&read_value::<DebugRegs>(monitor, argument)?)
                .map(done),
            kvm::SET_GUEST_DEBUG => self
                .set_guest_debug(&read_value::<GuestDebug>(monitor, argument)?)
                .map(done),
            kvm::INTERRUPT => {
                let interrupt: Interrupt = read_value(monitor, argument)?;
                self.queue_interrupt(interrupt.irq).map(done)
            }
            kvm::NMI => {
                self.events.post_nmi();
                Ok(0)
            }
            kvm::TRANSLATE => {
                let asked: Translation = read_value(monitor, argument)?;
                write_value(monitor, argument, &self.translation(asked.linear_address))
            }
            kvm::SET_SIGNAL_MASK => self.set_signal_mask(monitor, argument),
            kvm::KVMCLOCK_CTRL => self.pause_clock().map(done),
            kvm::GET_TSC_KHZ => Ok(P::tsc_khz()),
            // No scaling: only the frequency that there is.
            kvm::SET_TSC_KHZ if argument == 0 || argument == P::tsc_khz() => Ok(0),
            kvm::SET_TSC_KHZ => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// Reads MSRs until one does not exist; answers how many.
    fn get_msrs(&mut self, monitor: &dyn Monitor, argument: u64) -> Result<u64, Errno> {
        let (address, mut entries) = read_msr_list(monitor, argument)?;
        let mut count = 0;
        for entry in &mut entries {
            let Some(value) = self.monitor_read_msr(entry.index) else {
                break;
            };
            entry.data = value;
            count += 1;
        }
        monitor.write(address, entries.as_bytes())?;
        Ok(count)
    }

    /// Writes MSRs until one is refused; answers how many.
    fn set_msrs(&mut self, monitor: &dyn Monitor, argument: u64) -> Result<u64, Errno> {
        let (_, entries) = read_msr_list(monitor, argument)?;
        let mut count = 0;
        for entry in &entries {
            if !self.monitor_write_msr(entry.index, entry.data) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn set_signal_mask(&mut self, monitor: &dyn Monitor, argument: u64) -> Result<u64, Errno> {
        if argument == 0 {
            self.signal_mask = None;
            return Ok(0);
        }
        let mask: SignalMask = read_value(monitor, argument)?;
        if mask.len != 8 {
            return Err(Errno::EINVAL);
        }
        let mut set = 0u64;
        monitor.read(
            argument.wrapping_add(size_of::<SignalMask>() as u64),
            set.as_mut_bytes(),
        )?;
        self.signal_mask = Some(set);
        Ok(0)
    }

    /// The signals blocked while KVM_RUN runs, as SET_SIGNAL_MASK set them.
    #[must_use]
    pub fn signal_mask(&self) -> Option<u64> {
        self.signal_mask
    }
}

fn read_msr_list(
    monitor: &dyn Monitor,
    argument: u64,
) -> Result<(u64, alloc::vec::Vec<MsrEntry>), Errno> {
    let header: Msrs = read_value(monitor, argument)?;
    let count = header.nmsrs as usize;
    if count > MAX_MSRS {
        return Err(Errno::E2BIG);
    }
    let address = argument.wrapping_add(size_of::<Msrs>() as u64);
    Ok((address, read_list(monitor, address, count)?))
}
