//! Exits of instructions that the exit code names: CPUID, HLT, RDMSR, WRMSR,
//! XSETBV and those that a guest has not.

use crate::backend::{VcpuBackend, gpr};
use crate::cpuid::{self, Dynamic, GUEST_XCR0};
use crate::exit::Instruction;
use crate::platform::Platform;
use crate::run::Next;
use crate::vcpu::Vcpu;
use abi::kvm::{exit, mp_state};
use emulate::Known;
use x86::cpuid::leaf;
use x86::register::xcr0;
use x86::vector;

impl<P: Platform> Vcpu<P> {
    #[inline]
    pub(crate) fn cpuid_exit(&mut self) -> Next {
        let state = Dynamic {
            osxsave: self.has_osxsave(),
            apic: self
                .lapic
                .as_ref()
                .is_none_or(|lapic| lapic.base().is_enabled()),
            xcr0: self.hw.xcr0(),
        };
        let gprs = self.hw.gprs();
        let (function, index) = (gprs[gpr::RAX] as u32, gprs[gpr::RCX] as u32);
        let answer = cpuid::execute(&self.cpuid, function, index, state);
        if self.skip_known(Known::Cpuid) {
            let gprs = self.hw.gprs_mut();
            gprs[gpr::RAX] = u64::from(answer.eax);
            gprs[gpr::RBX] = u64::from(answer.ebx);
            gprs[gpr::RCX] = u64::from(answer.ecx);
            gprs[gpr::RDX] = u64::from(answer.edx);
        }
        Next::Enter
    }

    pub(crate) fn halt_exit(&mut self) -> Next {
        if !self.skip_known(Known::Hlt) {
            return Next::Enter;
        }
        if self.lapic.is_none() {
            return Next::Monitor(exit::HLT);
        }
        self.mp = mp_state::HALTED;
        Next::Enter
    }

    #[inline]
    pub(crate) fn rdmsr_exit(&mut self) -> Next {
        let index = self.hw.gprs()[gpr::RCX] as u32;
        match self.read_msr(index) {
            Some(value) => {
                if self.skip_known(Known::Rdmsr) {
                    let gprs = self.hw.gprs_mut();
                    gprs[gpr::RAX] = value & 0xFFFF_FFFF;
                    gprs[gpr::RDX] = value >> 32;
                }
            }
            None => self.events.raise(vector::GP, Some(0)),
        }
        Next::Enter
    }

    #[inline]
    pub(crate) fn wrmsr_exit(&mut self) -> Next {
        let gprs = self.hw.gprs();
        let index = gprs[gpr::RCX] as u32;
        let value = gprs[gpr::RAX] & 0xFFFF_FFFF | gprs[gpr::RDX] << 32;
        // The length first: a write must not happen twice.
        let before = self.hw.rip();
        if !self.skip_known(Known::Wrmsr) {
            return Next::Enter;
        }
        if !self.write_msr(index, value) {
            self.hw.set_rip(before);
            self.events.raise(vector::GP, Some(0));
        }
        Next::Enter
    }

    pub(crate) fn instruction_exit(&mut self, instruction: Instruction) -> Next {
        match instruction {
            Instruction::Xsetbv => self.xsetbv(),
            // Guest memory is cached coherently: nothing to write back.
            Instruction::Wbinvd => {
                self.skip_known(Known::Wbinvd);
            }
            Instruction::Invd => {
                self.skip_known(Known::Invd);
            }
            Instruction::Pause => {
                if self.skip_known(Known::Pause) {
                    P::preempt();
                    self.hw.resumed();
                }
            }
            Instruction::Rdpmc => self.events.raise(vector::GP, Some(0)),
            Instruction::Hypercall => self.hypercall(),
            // Not in the CPUID that guests are given.
            Instruction::Monitor | Instruction::Mwait | Instruction::Virtualization => {
                self.events.raise(vector::UD, None);
            }
            Instruction::Cpuid | Instruction::Hlt | Instruction::Rdmsr | Instruction::Wrmsr => {}
        }
        Next::Enter
    }

    /// No hypercall is offered; RAX tells so (-ENOSYS of the KVM interface).
    fn hypercall(&mut self) {
        const NO_SUCH_CALL: u64 = (-1000_i64) as u64;
        if self.hw.cpl() == 3 {
            self.events.raise(vector::UD, None);
        } else if self.skip_known(Known::Vmmcall) {
            self.hw.gprs_mut()[gpr::RAX] = NO_SUCH_CALL;
        }
    }

    fn xsetbv(&mut self) {
        let gprs = self.hw.gprs();
        let register = gprs[gpr::RCX] as u32;
        let value = gprs[gpr::RAX] & 0xFFFF_FFFF | gprs[gpr::RDX] << 32;
        if !self.has_osxsave() {
            self.events.raise(vector::UD, None);
        } else if self.hw.cpl() != 0 || register != 0 || !self.xcr0_is_valid(value) {
            self.events.raise(vector::GP, Some(0));
        } else if self.skip_known(Known::Xsetbv) {
            self.hw.set_xcr0(value);
        }
    }

    /// What the guest's CPUID and the processor admit (APM volume 2, 11.5.2).
    pub(crate) fn xcr0_is_valid(&self, value: u64) -> bool {
        let offered = match self.cpuid.find(leaf::XSAVE, 0) {
            Some(entry) => u64::from(entry.eax),
            None => xcr0::X87 | xcr0::SSE,
        };
        let host = u64::from(P::cpuid(leaf::XSAVE, 0).eax);
        let allowed = offered & GUEST_XCR0 & (host | xcr0::X87);
        let ordered = value & xcr0::AVX == 0 || value & xcr0::SSE != 0;
        value & xcr0::X87 != 0 && value & !allowed == 0 && ordered
    }
}
