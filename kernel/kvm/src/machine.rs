//! The real machine as [`Platform`]: [`Machine`]. SVM is the one extension so
//! far; where there is none, [`prepare_cpu`] says why and VMs are refused.

use crate::platform::{Nested, Platform};
use crate::svm::SvmVcpu;
use abi::Errno;
use alloc::sync::Arc;
use hal::mem::Account;
use hal_svm::cpu::EnableError;
use hal_svm::detect::Features;
use hal_svm::vcpu::HardwareVcpu;
use x86::cpuid::{Answer, leaf};

/// The machine.
pub struct Machine;

/// Makes the CPU that runs this ready for guests. Once per CPU, at boot.
///
/// # Errors
/// The reason why it cannot run guests, as a sentence for the operator.
pub fn prepare_cpu() -> Result<Features, EnableError> {
    hal_svm::cpu::enable()
}

/// Bit of CPUID 8000_0007 EDX: the TSC is invariant.
const INVARIANT_TSC: u32 = 1 << 8;

impl Platform for Machine {
    type Hardware = SvmVcpu;
    type Thread = Arc<sched::Thread>;

    fn hardware(nested: &Nested, account: &Account) -> Result<SvmVcpu, Errno> {
        match HardwareVcpu::new(nested, account) {
            Ok(Some(hardware)) => Ok(SvmVcpu::new(hardware)),
            Ok(None) => Err(Errno::ENODEV),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    fn cpuid(function: u32, index: u32) -> Answer {
        hal_svm::cpu::cpuid(function, index)
    }

    fn tsc_is_stable() -> bool {
        let largest = hal_svm::cpu::cpuid(leaf::EXTENDED, 0).eax;
        let power = leaf::ADVANCED_POWER;
        hal::cpu::count() == 1
            || (largest >= power && hal_svm::cpu::cpuid(power, 0).edx & INVARIANT_TSC != 0)
    }

    fn tsc_khz() -> u64 {
        hal::time::tsc_hz() / 1000
    }

    fn thread() -> Arc<sched::Thread> {
        sched::current()
    }

    #[inline]
    fn interrupted(thread: &Arc<sched::Thread>) -> bool {
        thread.is_interrupted()
    }

    fn preempt() {
        sched::preempt_point();
    }
}
