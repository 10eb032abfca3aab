//! Interrupts and exceptions on their way into the guest. At most one is
//! delivered by an entry; when more wait, the guest exits as soon as it can
//! take the next. APM volume 2, 15.20 and 15.21.

use crate::backend::{Control, VcpuBackend};
use crate::event::Event;
use crate::platform::Platform;
use crate::run::Next;
use crate::vcpu::Vcpu;
use abi::kvm::exit;
use alloc::sync::Weak;
use irqchip::{Deadline, Effect};
use wait::TimerTarget;
use x86::register::{cr4, rflags};

impl<P: Platform> Vcpu<P> {
    /// Gives the backend what the next entry delivers. `false`: triple fault.
    #[inline]
    pub(crate) fn deliver(&mut self) -> bool {
        self.injected = None;
        let quiet = self.events.is_quiet() && !self.interrupt_waits();
        if quiet && !self.window_open && !self.watches_priority && !self.window_wanted {
            return true;
        }
        self.choose()
    }

    /// Whether a controller, or the monitor, has an interrupt that the task
    /// priority lets through.
    #[inline]
    fn interrupt_waits(&self) -> bool {
        match &self.lapic {
            Some(lapic) => lapic.requested_vector().is_some() || self.pic_waits(),
            None => self.external.is_some(),
        }
    }

    #[inline]
    fn pic_waits(&self) -> bool {
        let output = self.vm.chips().is_some_and(|chips| chips.pic_output());
        output
            && self.vm.is_boot_cpu(self.shared.id)
            && self
                .lapic
                .as_ref()
                .is_some_and(|lapic| lapic.accepts_extint())
    }

    fn choose(&mut self) -> bool {
        if core::mem::take(&mut self.events.triple_fault) {
            return false;
        }
        let shadow = self.hw.shadow();
        let mut next = self.events.next(shadow);
        if next.is_none() && self.can_take_interrupt() {
            next = self.acknowledge().map(Event::Interrupt);
        }
        if let Some(event) = next {
            if event == Event::Nmi {
                self.hw.watch_nmi_return(true);
            }
            self.hw.inject(event);
            self.injected = Some(event);
        }
        let blocked_nmi = self.events.nmi_pending > 0 && !self.events.nmi_masked;
        let more = self.takeable() || blocked_nmi || self.window_wanted;
        self.set_window(more);
        self.watch_priority();
        true
    }

    /// The entry did not take place: what it would have delivered waits again.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        if let Some(event) = self.injected.take() {
            self.hw.cancel_injection();
            self.events.undo(event);
        }
    }

    fn set_window(&mut self, open: bool) {
        if self.window_open != open {
            self.window_open = open;
            self.hw.watch_window(open);
        }
    }

    /// Whether an interrupt waits that only RFLAGS.IF or a shadow holds off.
    fn takeable(&self) -> bool {
        match &self.lapic {
            Some(lapic) => lapic.pending_vector().is_some() || self.pic_waits(),
            None => self.external.is_some(),
        }
    }

    /// The interrupt that the processor takes now.
    fn acknowledge(&mut self) -> Option<u8> {
        if self.lapic.is_none() {
            return self.external.take();
        }
        if self.pic_waits() {
            return self.vm.chips().map(|chips| chips.acknowledge_pic());
        }
        self.lapic.as_mut()?.acknowledge()
    }

    /// While a requested vector waits for a lower task priority, writes of CR8
    /// exit.
    fn watch_priority(&mut self) {
        let held = match &self.lapic {
            Some(lapic) => {
                lapic.pending_vector().is_none()
                    && lapic
                        .requested_vector()
                        .is_some_and(|vector| vector >> 4 <= lapic.tpr() >> 4)
            }
            None => false,
        };
        if self.watches_priority != held {
            self.watches_priority = held;
            self.hw.watch_task_priority(held);
        }
    }

    /// Whether the guest's state admits an external interrupt.
    #[inline]
    pub(crate) fn can_take_interrupt(&self) -> bool {
        self.hw.rflags() & rflags::IF != 0
            && !self.hw.shadow()
            && self.events.interrupt.is_none()
            && self.events.exception.is_none()
            && !self.events.nmi_injected
    }

    /// Whether something ends a halt.
    pub(crate) fn wakes(&self) -> bool {
        let interrupt = self.takeable() && self.hw.rflags() & rflags::IF != 0;
        interrupt || !self.events.is_quiet()
    }

    /// The guest may have moved CR8 without an exit.
    #[inline]
    pub(crate) fn sync_task_priority(&mut self) {
        if let Some(lapic) = &mut self.lapic {
            let priority = self.hw.task_priority();
            if priority != lapic.tpr() >> 4 {
                lapic.set_tpr(priority << 4);
            }
        }
    }

    /// Does what a write to the local APIC asks for.
    #[inline]
    pub(crate) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            Effect::Send(message) => {
                if let Some(chips) = self.vm.chips() {
                    let (map, vcpus) = (&self.destinations, &self.vcpus);
                    chips.send_over(&message, map, vcpus, self.shared.index);
                }
            }
            Effect::EndOfInterrupt(vector) => {
                if let Some(chips) = self.vm.chips() {
                    chips.end_of_interrupt(vector);
                }
            }
            Effect::Timer => self.arm_timer(),
            Effect::Identity => self.new_identity(),
        }
        if let Some(lapic) = &self.lapic {
            self.hw.set_task_priority(lapic.tpr() >> 4);
        }
    }

    pub(crate) fn new_identity(&mut self) {
        let (Some(lapic), Some(chips)) = (&self.lapic, self.vm.chips()) else {
            return;
        };
        self.shared.set_identity(lapic.identity());
        chips.rebuild(self.vm.memory.vcpus());
        self.renew();
    }

    /// Sets the host's timer to the local APIC's deadline.
    pub(crate) fn arm_timer(&mut self) {
        if let Some(old) = self.timer.take() {
            wait::scheduler().cancel(old);
        }
        let Some(lapic) = &self.lapic else { return };
        let at = match lapic.deadline() {
            Deadline::Never => return,
            Deadline::At(at) => at,
            Deadline::Tsc(tsc) => {
                let ticks = tsc.saturating_sub(self.guest_tsc());
                let nanoseconds = u128::from(ticks) * 1_000_000 / u128::from(P::tsc_khz().max(1));
                wait::now_ns().saturating_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
            }
        };
        let target: Weak<dyn TimerTarget> =
            alloc::sync::Arc::downgrade(&self.shared) as Weak<dyn TimerTarget>;
        self.timer = Some(wait::scheduler().arm(at, target));
    }

    /// The host's timer rang.
    pub(crate) fn timer_rang(&mut self) {
        let tsc = self.guest_tsc();
        if let Some(lapic) = &mut self.lapic {
            match lapic.deadline() {
                Deadline::Tsc(_) => lapic.expire_tsc(tsc),
                _ => lapic.expire(wait::now_ns()),
            };
        }
        self.arm_timer();
    }

    pub(crate) fn window_exit(&mut self) -> Next {
        self.set_window(false);
        if self.window_wanted && self.external.is_none() {
            return Next::Monitor(exit::IRQ_WINDOW_OPEN);
        }
        Next::Enter
    }

    /// The guest is about to execute IRET inside an NMI's handler.
    pub(crate) fn nmi_return_exit(&mut self) -> Next {
        self.events.nmi_masked = false;
        self.hw.watch_nmi_return(false);
        // The next NMI waits until IRET is through: one instruction, as after STI.
        self.hw.set_shadow(true);
        Next::Enter
    }

    pub(crate) fn cr8_exit(&mut self) -> Next {
        let Some(control) = self.decode_control_move(emulate::Known::MovCr) else {
            return Next::Enter;
        };
        let value = self.hw.gprs()[usize::from(control.gpr)];
        if value > 15 {
            self.events.raise(x86::vector::GP, Some(0));
            return Next::Enter;
        }
        self.hw.set_task_priority(value as u8);
        if let Some(lapic) = &mut self.lapic {
            lapic.set_tpr((value as u8) << 4);
        }
        self.skip(control.length);
        Next::Enter
    }

    /// Debug registers are read and written seldom, so all accesses exit.
    pub(crate) fn debug_register_exit(&mut self) -> Next {
        let Some(control) = self.decode_control_move(emulate::Known::MovDr) else {
            return Next::Enter;
        };
        let extended = self.hw.control(Control::Cr4) & (1 << 3) != 0;
        let number = match control.number {
            4 | 5 if extended => {
                self.events.raise(x86::vector::UD, None);
                return Next::Enter;
            }
            4 => 6,
            5 => 7,
            number => number & 7,
        };
        let register = usize::from(control.gpr);
        if control.write {
            let value = self.hw.gprs()[register];
            if number >= 6 && value >> 32 != 0 {
                self.events.raise(x86::vector::GP, Some(0));
                return Next::Enter;
            }
            self.write_debug_register(number, value);
        } else {
            self.hw.gprs_mut()[register] = self.read_debug_register(number);
        }
        self.skip(control.length);
        Next::Enter
    }

    fn read_debug_register(&self, number: u8) -> u64 {
        match number {
            6 => self.hw.control(Control::Dr6),
            7 => self.hw.control(Control::Dr7),
            number => self.hw.breakpoints()[usize::from(number & 3)],
        }
    }

    fn write_debug_register(&mut self, number: u8, value: u64) {
        use x86::register::dr;
        match number {
            6 => {
                let fixed = dr::DR6_RESET & !dr::DR6_WRITABLE;
                self.hw
                    .set_control(Control::Dr6, fixed | value & dr::DR6_WRITABLE);
            }
            7 => self
                .hw
                .set_control(Control::Dr7, dr::DR7_RESET | value & 0xFFFF_2BFF),
            number => self.hw.breakpoints_mut()[usize::from(number & 3)] = value,
        }
    }

    /// CR4.OSXSAVE.
    #[inline]
    pub(crate) fn has_osxsave(&self) -> bool {
        self.hw.control(Control::Cr4) & cr4::OSXSAVE != 0
    }
}
