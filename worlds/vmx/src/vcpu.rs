//! One vCPU on its thread: initial state ([`prepare`]), the run loop
//! ([`VcpuThread`]) and the dispatch of exits to the board.

use crate::outcome::Outcome;
use crate::raw::{self, KickTarget};
use crate::stop::StopSignal;
use board::Bus;
use guest_boot::BootPlan;
use guest_cpuid::Identity;
use kvm_bindings::{
    CpuId, KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, Msrs,
    kvm_msr_entry,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

const STACK_BYTES: usize = 128 << 10;
const MSR_MISC_ENABLE: u32 = 0x1A0;
const MSR_MTRR_DEF_TYPE: u32 = 0x2FF;
const FAST_STRINGS: u64 = 1;
const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;
/// Offsets of the LVT entries in the local APIC's register page.
const LAPIC_LVT_LINT0: usize = 0x350;
const LAPIC_LVT_LINT1: usize = 0x360;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_EXTINT: u32 = 7 << 8;

/// What the vCPUs share.
pub struct Shared {
    /// Devices behind port I/O.
    pub ports: Bus,
    /// Devices behind physical memory.
    pub memory: Bus,
    /// How to stop the machine.
    pub stop: Arc<StopSignal>,
}

/// Sets up a new vCPU. Only the first gets the boot state; the others wait
/// for their start-up interrupt in the state of a reset.
///
/// # Errors
/// The kernel refuses a part of the state.
pub fn prepare(
    vcpu: &VcpuFd,
    cpuid: &CpuId,
    identity: Identity,
    plan: &BootPlan,
) -> io::Result<()> {
    let mut cpuid = cpuid.clone();
    guest_cpuid::shape(cpuid.as_mut_slice(), identity);
    vcpu.set_cpuid2(&cpuid)?;
    let msr = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let msrs = [
        msr(MSR_MISC_ENABLE, FAST_STRINGS),
        msr(MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK),
    ];
    // A host without one of them takes fewer; neither is vital.
    let _ = vcpu.set_msrs(&Msrs::from_entries(&msrs).map_err(io::Error::other)?)?;
    if identity.index > 0 {
        return Ok(());
    }
    let mut sregs = vcpu.get_sregs()?;
    plan.apply_to(&mut sregs);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&plan.regs())?;
    wire_lapic(vcpu)
}

/// The first CPU's LINT pins as firmware leaves them: PIC and NMI.
fn wire_lapic(vcpu: &VcpuFd) -> io::Result<()> {
    let mut lapic = vcpu.get_lapic()?;
    for (at, delivery) in [
        (LAPIC_LVT_LINT0, DELIVER_EXTINT),
        (LAPIC_LVT_LINT1, DELIVER_NMI),
    ] {
        for (index, byte) in delivery.to_le_bytes().into_iter().enumerate() {
            lapic.regs[at + index] = byte as _;
        }
    }
    Ok(vcpu.set_lapic(&lapic)?)
}

/// Installs the handler of the signal that asks a vCPU out of the guest.
///
/// # Errors
/// The signal cannot be handled.
pub fn install_kick_handler() -> io::Result<()> {
    Ok(register_signal_handler(SIGRTMIN(), raw::on_kick)?)
}

/// A running vCPU.
pub struct VcpuThread {
    thread: JoinHandle<()>,
}

impl VcpuThread {
    /// Starts `vcpu` on a thread of its own.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(index: u8, mut vcpu: VcpuFd, shared: Arc<Shared>) -> io::Result<Self> {
        let builder = thread::Builder::new()
            .name(format!("vcpu{index}"))
            .stack_size(STACK_BYTES);
        let thread = builder.spawn(move || {
            let _guard = PanicGuard(&shared.stop);
            let mut target = KickTarget::bind(&mut vcpu);
            let outcome = run(index, &mut target, &shared);
            shared.stop.request(outcome);
        })?;
        Ok(Self { thread })
    }

    /// Asks the vCPU out of the guest. It stays out if a stop is requested.
    pub fn kick(&self) {
        // It fails only if the thread has ended already.
        let _ = self.thread.kill(SIGRTMIN());
    }

    /// Waits for the end of the thread.
    pub fn join(self) {
        // A panic in the thread has printed its message; there is no result.
        let _ = self.thread.join();
    }
}

/// Stops the machine if its thread panics, which would be a bug here.
struct PanicGuard<'a>(&'a StopSignal);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let message = "a vCPU thread of the monitor panicked".to_owned();
            self.0.request(Outcome::HostError(message));
        }
    }
}

/// Runs until a stop is requested or the vCPU cannot go on.
fn run(index: u8, target: &mut KickTarget<'_>, shared: &Shared) -> Outcome {
    loop {
        if shared.stop.is_requested() {
            // Another part of the machine gave the reason already.
            return Outcome::Killed;
        }
        let step = match target.vcpu().run() {
            Ok(exit) => dispatch(index, exit, shared),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Step::Kicked,
            Err(error) => Step::Stop(Outcome::Stuck {
                vcpu: index,
                reason: error.to_string(),
            }),
        };
        match step {
            Step::Continue => {}
            Step::Kicked => target.vcpu().set_kvm_immediate_exit(0),
            Step::WidePort => wide_port_access(target.vcpu(), shared),
            Step::NotEmulated => {
                return Outcome::Stuck {
                    vcpu: index,
                    reason: not_emulated(&raw::instruction_bytes(target.vcpu())),
                };
            }
            Step::Stop(outcome) => return outcome,
        }
    }
}

enum Step {
    Continue,
    Kicked,
    /// A port access of more than a byte: its size must be looked up.
    WidePort,
    /// An instruction that the kernel does not emulate: its bytes must be looked up.
    NotEmulated,
    Stop(Outcome),
}

fn dispatch(vcpu: u8, exit: VcpuExit<'_>, shared: &Shared) -> Step {
    match exit {
        VcpuExit::IoOut(port, data) if data.len() == 1 => shared.ports.write(port.into(), data),
        VcpuExit::IoIn(port, data) if data.len() == 1 => shared.ports.read(port.into(), data),
        VcpuExit::IoOut(..) | VcpuExit::IoIn(..) => return Step::WidePort,
        VcpuExit::MmioWrite(address, data) => shared.memory.write(address, data),
        VcpuExit::MmioRead(address, data) => shared.memory.read(address, data),
        VcpuExit::Hlt | VcpuExit::IrqWindowOpen | VcpuExit::SetTpr => {}
        VcpuExit::Intr => return Step::Kicked,
        VcpuExit::InternalError => return Step::NotEmulated,
        VcpuExit::Shutdown => return Step::Stop(Outcome::TripleFault { vcpu }),
        VcpuExit::SystemEvent(kind, _) => return Step::Stop(system_event(vcpu, kind)),
        other => {
            return Step::Stop(Outcome::Stuck {
                vcpu,
                reason: describe(&other),
            });
        }
    }
    Step::Continue
}

fn system_event(vcpu: u8, kind: u32) -> Outcome {
    match kind {
        KVM_SYSTEM_EVENT_SHUTDOWN => Outcome::PowerOff,
        KVM_SYSTEM_EVENT_RESET => Outcome::Reset,
        KVM_SYSTEM_EVENT_CRASH => Outcome::TripleFault { vcpu },
        _ => Outcome::Stuck {
            vcpu,
            reason: format!("unknown system event {kind}"),
        },
    }
}

fn describe(exit: &VcpuExit<'_>) -> String {
    match exit {
        VcpuExit::FailEntry(reason, _) => {
            format!("the CPU refused the guest's state, reason {reason:#x}")
        }
        VcpuExit::MemoryFault { gpa, .. } => format!("memory fault at {gpa:#x}"),
        other => format!("unexpected exit {other:?}"),
    }
}

fn not_emulated(bytes: &[u8]) -> String {
    let mut reason = "the kernel could not emulate an instruction of the guest".to_owned();
    if !bytes.is_empty() {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        reason.push_str(", whose bytes begin with ");
        reason.push_str(&bytes.join(" "));
    }
    reason
}

/// Splits a wide or string port access into its single accesses.
fn wide_port_access(vcpu: &mut VcpuFd, shared: &Shared) {
    let Some(access) = raw::port_access(vcpu) else {
        return;
    };
    for data in access.data.chunks_exact_mut(access.size) {
        if access.is_read {
            shared.ports.read(access.port.into(), data);
        } else {
            shared.ports.write(access.port.into(), data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_that_is_not_emulated_is_told_by_its_bytes() {
        assert!(not_emulated(&[0x0f, 0x0b]).ends_with("begin with 0f 0b"));
        assert!(not_emulated(&[]).ends_with("of the guest"));
    }
}
