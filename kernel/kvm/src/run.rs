//! KVM_RUN: the loop around the guest. Each turn looks at what was posted,
//! chooses what to deliver, enters, and hands the exit to one handler.

use crate::backend::{Control, VcpuBackend};
use crate::exit::{Exit, Instruction};
use crate::fetch::CodePage;
use crate::platform::Platform;
use crate::shared::request;
use crate::vcpu::Vcpu;
use abi::Errno;
use abi::kvm::{exit, internal_error, mp_state};
use abi::kvm_run::{Debug, FailEntry, Header, InternalError};
use abi::kvm_vcpu::GuestDebug;
use irqchip::Events;
use x86::register::rflags;

/// What follows an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Enter the guest again.
    Enter,
    /// Return to the monitor with this [`exit`] reason; the record is written.
    Monitor(u32),
    /// Return to the monitor with an error.
    Fail(Errno),
}

impl<P: Platform> Vcpu<P> {
    /// KVM_RUN.
    ///
    /// # Errors
    /// EINTR for a signal or immediate_exit, EAGAIN for a vCPU that has not had
    /// its start-up message, EFAULT and ENOMEM where the monitor's memory fails.
    #[inline]
    pub fn run(&mut self) -> Result<u64, Errno> {
        let requests = self.page().requests();
        self.window_wanted = requests.window;
        if self.lapic.is_none() {
            self.hw.set_task_priority(self.page().task_priority() as u8);
        }
        let previous = hal::fpu::activate(Some(self.fpu.clone()));
        self.hw.resumed();
        let mut next = self.complete();
        if next == Next::Enter {
            next = if requests.immediate_exit {
                Next::Fail(Errno::EINTR)
            } else {
                self.turns(&P::thread())
            };
        }
        hal::fpu::activate(previous);
        match next {
            Next::Monitor(reason) => {
                self.finish(reason);
                Ok(0)
            }
            Next::Fail(errno) => {
                self.finish(if errno == Errno::EINTR {
                    exit::INTR
                } else {
                    exit::UNKNOWN
                });
                Err(errno)
            }
            Next::Enter => Ok(0),
        }
    }

    #[inline]
    fn turns(&mut self, thread: &P::Thread) -> Next {
        loop {
            if !self.shared.posted.is_quiet() {
                self.take_posted();
            }
            if let Some(next) = self.before_entry(thread) {
                return next;
            }
            if !self.deliver() {
                return self.triple_fault("emulated");
            }
            if !self.shared.enter(hal::cpu::id()) {
                self.take_back();
                continue;
            }
            let reason = self.hw.enter();
            self.shared.leave();
            if let Some(event) = self.hw.take_interrupted() {
                self.events.put_back(event);
            }
            self.sync_task_priority();
            match self.handle(reason) {
                Next::Enter => {}
                next => return next,
            }
        }
    }

    /// What may keep this thread from entering the guest.
    #[inline]
    fn before_entry(&mut self, thread: &P::Thread) -> Option<Next> {
        if P::interrupted(thread) {
            return Some(Next::Fail(Errno::EINTR));
        }
        if hal::cpu::need_resched() {
            P::preempt();
            self.hw.resumed();
        }
        if self.mp != mp_state::RUNNABLE {
            return self.halted(thread);
        }
        if self.window_wanted && self.external.is_none() && self.can_take_interrupt() {
            return Some(Next::Monitor(exit::IRQ_WINDOW_OPEN));
        }
        None
    }

    /// One exit, one handler.
    #[inline]
    fn handle(&mut self, reason: Exit) -> Next {
        match reason {
            Exit::Interrupt => Next::Enter,
            Exit::Instruction(Instruction::Cpuid) => self.cpuid_exit(),
            Exit::Port(access) => self.port_exit(&access),
            Exit::NestedFault(fault) => self.fault_exit(&fault),
            Exit::Instruction(Instruction::Hlt) => self.halt_exit(),
            Exit::Instruction(Instruction::Rdmsr) => self.rdmsr_exit(),
            Exit::Instruction(Instruction::Wrmsr) => self.wrmsr_exit(),
            Exit::Instruction(other) => self.instruction_exit(other),
            Exit::Window => self.window_exit(),
            Exit::NmiReturn => self.nmi_return_exit(),
            Exit::WriteCr8 => self.cr8_exit(),
            Exit::DebugRegister { .. } => self.debug_register_exit(),
            Exit::Exception { vector, error } => self.exception_exit(vector, error),
            Exit::Shutdown => self.triple_fault("the processor's"),
            Exit::Refused(code) => self.refused(code),
            Exit::TaskSwitch => self.unexpected(internal_error::EMULATION, 0),
            Exit::Unknown(code) => self.unexpected(internal_error::UNEXPECTED_EXIT_REASON, code),
        }
    }

    /// The guest has crashed: where it was is all that its owner can learn.
    #[cold]
    fn triple_fault(&mut self, whose: &str) -> Next {
        log::info!(
            "vCPU {}: triple fault ({whose}) at rip {:#x}, rsp {:#x}, cr0 {:#x}, cr2 {:#x}, cr3 {:#x}, {:?}",
            self.shared.id,
            self.hw.rip(),
            self.hw.gprs()[4],
            self.hw.control(Control::Cr0),
            self.hw.control(Control::Cr2),
            self.hw.control(Control::Cr3),
            self.events
        );
        Next::Monitor(exit::SHUTDOWN)
    }

    fn refused(&mut self, code: u64) -> Next {
        let record = FailEntry {
            hardware_entry_failure_reason: code,
            cpu: hal::cpu::id() as u32,
            pad: 0,
        };
        self.page().set_record(&record);
        Next::Monitor(exit::FAIL_ENTRY)
    }

    fn unexpected(&mut self, suberror: u32, code: u64) -> Next {
        let mut record = InternalError {
            suberror,
            ndata: 2,
            ..InternalError::default()
        };
        record.data[0] = code;
        record.data[1] = self.hw.rip();
        self.page().set_record(&record);
        Next::Monitor(exit::INTERNAL_ERROR)
    }

    fn exception_exit(&mut self, vector: u8, error: u32) -> Next {
        // The backend reports some that nobody asked for: they are the guest's.
        let wanted = match vector {
            x86::vector::DB => GuestDebug::SINGLESTEP,
            x86::vector::BP => GuestDebug::USE_SW_BP,
            _ => 0,
        };
        if self.debug & wanted == 0 {
            let error = x86::vector::has_error_code(vector).then_some(error);
            self.events.raise(vector, error);
            return Next::Enter;
        }
        let record = Debug {
            exception: u32::from(vector),
            pad: 0,
            pc: self.linear_rip(),
            dr6: self.hw.control(Control::Dr6),
            dr7: self.hw.control(Control::Dr7),
        };
        self.page().set_record(&record);
        Next::Monitor(exit::DEBUG)
    }

    /// The fields that every return to the monitor writes.
    #[inline]
    fn finish(&mut self, reason: u32) {
        let is_on = self.hw.rflags() & rflags::IF != 0;
        let ready = self.lapic.is_none() && self.external.is_none() && self.can_take_interrupt();
        let (cr8, apic_base) = match &self.lapic {
            Some(lapic) => (u64::from(lapic.tpr() >> 4), lapic.base().value()),
            None => (
                u64::from(self.hw.task_priority()),
                x86::msr::APIC_BASE_DEFAULT,
            ),
        };
        self.page().set_header(&Header {
            exit_reason: reason,
            ready_for_interrupt_injection: u8::from(ready),
            if_flag: u8::from(is_on),
            flags: 0,
            cr8,
            apic_base,
        });
    }

    /// Takes in what other threads have posted.
    #[cold]
    pub(crate) fn take_posted(&mut self) {
        let events = match &mut self.lapic {
            Some(lapic) => lapic.take_posted(&self.shared.posted),
            None => self.shared.posted.take(),
        };
        if events.contains(request::FLUSH) {
            self.hw.flush();
            self.code_page = CodePage::default();
        }
        if events.contains(request::CONFIG) {
            self.renew();
        }
        if events.contains(request::TIMER) {
            self.timer_rang();
        }
        if events.contains(request::CLOCK) {
            self.write_clock();
        }
        if events.contains(Events::NMI) {
            self.events.post_nmi();
        }
        if events.contains(Events::INIT) {
            self.take_init();
        }
        if events.contains(Events::STARTUP) && self.mp == mp_state::INIT_RECEIVED {
            self.start_up(events.startup_page());
        }
    }

    fn take_init(&mut self) {
        self.reset();
        if let Some(lapic) = &mut self.lapic {
            lapic.reset();
            self.shared.set_identity(lapic.identity());
            if let Some(chips) = self.vm.chips() {
                chips.rebuild(self.vm.memory.vcpus());
            }
        }
        self.arm_timer();
        let is_boot = self.vm.is_boot_cpu(self.shared.id);
        self.mp = if is_boot {
            mp_state::RUNNABLE
        } else {
            mp_state::INIT_RECEIVED
        };
    }

    /// Sleeps until there is something to do. `Some`: return to the monitor.
    fn halted(&mut self, thread: &P::Thread) -> Option<Next> {
        loop {
            if self.mp == mp_state::HALTED && self.wakes() {
                self.mp = mp_state::RUNNABLE;
            }
            if self.mp == mp_state::RUNNABLE {
                return None;
            }
            if P::interrupted(thread) {
                return Some(Next::Fail(Errno::EINTR));
            }
            self.shared.set_sleeper(Some(wait::scheduler().current()));
            if self.shared.posted.block() {
                wait::scheduler().park(None);
                self.shared.posted.unblock();
                self.hw.resumed();
            }
            self.shared.set_sleeper(None);
            // An uninitialized processor takes INIT only from here.
            if self.mp == mp_state::UNINITIALIZED && !self.shared.posted.is_quiet() {
                self.mp = mp_state::INIT_RECEIVED;
            }
            self.take_posted();
        }
    }
}
