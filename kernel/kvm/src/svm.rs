//! SVM behind the neutral boundary: [`SvmVcpu`] turns [`VcpuBackend`] into VMCB
//! fields, and [`exit_of`] raw exits into [`Exit`]s. APM volume 2, chapter 15
//! and appendix C.

use crate::event::Event;
use crate::exit::{Exit, Instruction, NestedFault, PortAccess};
use x86::paging::{FAULT_FETCH, FAULT_PRESENT, FAULT_WRITE, NESTED_TABLE};
use x86::svm_exit::{self as code, ioio};
use x86::vector;
use x86::vmcb::event;

/// The neutral form of an exit.
#[inline]
#[must_use]
pub fn exit_of(exit_code: u64, info1: u64, info2: u64) -> Exit {
    match exit_code {
        code::NESTED_FAULT => Exit::NestedFault(NestedFault {
            gpa: info2,
            write: info1 & FAULT_WRITE != 0,
            fetch: info1 & FAULT_FETCH != 0,
            present: info1 & FAULT_PRESENT != 0,
            walk: info1 & NESTED_TABLE != 0,
        }),
        code::INTR | code::NMI | code::SMI | code::INIT | code::FERR_FREEZE => Exit::Interrupt,
        code::IOIO => Exit::Port(port_of(info1, info2)),
        code::CPUID => Exit::Instruction(Instruction::Cpuid),
        code::HLT => Exit::Instruction(Instruction::Hlt),
        code::MSR if info1 & 1 != 0 => Exit::Instruction(Instruction::Wrmsr),
        code::MSR => Exit::Instruction(Instruction::Rdmsr),
        code::VINTR => Exit::Window,
        other => rare_exit_of(other, info1),
    }
}

fn rare_exit_of(exit_code: u64, info1: u64) -> Exit {
    match exit_code {
        code::IRET => Exit::NmiReturn,
        code::WRITE_CR8 => Exit::WriteCr8,
        code::READ_DR0..=0x2F => Exit::DebugRegister {
            number: (exit_code - code::READ_DR0) as u8,
            write: false,
        },
        code::WRITE_DR0..=0x3F => Exit::DebugRegister {
            number: (exit_code - code::WRITE_DR0) as u8,
            write: true,
        },
        code::EXCEPTION0..=0x5F => Exit::Exception {
            vector: (exit_code - code::EXCEPTION0) as u8,
            error: info1 as u32,
        },
        code::XSETBV => Exit::Instruction(Instruction::Xsetbv),
        code::RDPMC => Exit::Instruction(Instruction::Rdpmc),
        code::INVD => Exit::Instruction(Instruction::Invd),
        code::WBINVD => Exit::Instruction(Instruction::Wbinvd),
        code::MONITOR => Exit::Instruction(Instruction::Monitor),
        code::MWAIT | code::MWAIT_ARMED => Exit::Instruction(Instruction::Mwait),
        code::PAUSE => Exit::Instruction(Instruction::Pause),
        code::VMMCALL => Exit::Instruction(Instruction::Hypercall),
        code::VMRUN
        | code::VMLOAD
        | code::VMSAVE
        | code::STGI
        | code::CLGI
        | code::SKINIT
        | code::INVLPGA
        | code::RSM
        | code::RDPRU => Exit::Instruction(Instruction::Virtualization),
        code::TASK_SWITCH => Exit::TaskSwitch,
        code::SHUTDOWN => Exit::Shutdown,
        code::INVALID => Exit::Refused(exit_code),
        other => Exit::Unknown(other),
    }
}

#[inline]
fn port_of(info1: u64, next_rip: u64) -> PortAccess {
    let address_size = if info1 & ioio::ADDRESS16 != 0 {
        2
    } else if info1 & ioio::ADDRESS32 != 0 {
        4
    } else {
        8
    };
    PortAccess {
        port: (info1 >> ioio::PORT_SHIFT) as u16,
        // Bits 4, 5, 6 stand for 1, 2, 4 bytes.
        size: (info1 >> 4 & 7) as u8,
        write: info1 & ioio::IN == 0,
        string: info1 & ioio::STRING != 0,
        repeat: info1 & ioio::REP != 0,
        address_size,
        segment: (info1 >> ioio::SEGMENT_SHIFT & 7) as u8,
        next_rip,
    }
}

/// An event in the VMCB's format.
#[inline]
#[must_use]
pub fn event_bits(event: Event) -> u64 {
    let kind = |kind: u64, vector: u8| event::VALID | kind << event::TYPE_SHIFT | u64::from(vector);
    match event {
        Event::Interrupt(vector) => kind(event::INTERRUPT, vector),
        Event::Nmi => kind(event::NMI, vector::NMI),
        Event::Software(vector) => kind(event::SOFTWARE, vector),
        Event::Exception {
            vector,
            error: None,
        } => kind(event::EXCEPTION, vector),
        Event::Exception {
            vector,
            error: Some(error),
        } => {
            let code = u64::from(error) << event::ERROR_SHIFT;
            kind(event::EXCEPTION, vector) | event::ERROR_VALID | code
        }
    }
}

/// What the VMCB's format says; `None` for reserved types.
#[must_use]
pub fn event_of(bits: u64) -> Option<Event> {
    let vector = (bits & event::VECTOR) as u8;
    match bits >> event::TYPE_SHIFT & 7 {
        event::INTERRUPT => Some(Event::Interrupt(vector)),
        event::NMI => Some(Event::Nmi),
        event::EXCEPTION => {
            let error = bits & event::ERROR_VALID != 0;
            let error = error.then_some((bits >> event::ERROR_SHIFT) as u32);
            Some(Event::Exception { vector, error })
        }
        event::SOFTWARE => Some(Event::Software(vector)),
        _ => None,
    }
}

#[cfg(target_os = "none")]
pub use hardware::SvmVcpu;

#[cfg(target_os = "none")]
mod hardware {
    use super::{event_bits, event_of, exit_of};
    use crate::backend::{Control, PassedMsr, SegmentName, VcpuBackend};
    use crate::event::Event;
    use crate::exit::Exit;
    use hal_svm::vcpu::{HardwareVcpu, Watch};
    use x86::register::efer;
    use x86::segment::Segment;

    /// A vCPU of SVM.
    pub struct SvmVcpu(HardwareVcpu);

    impl SvmVcpu {
        /// Over the hardware's part.
        #[must_use]
        pub fn new(hardware: HardwareVcpu) -> Self {
            SvmVcpu(hardware)
        }
    }

    impl VcpuBackend for SvmVcpu {
        #[inline]
        fn gprs(&self) -> &[u64; 16] {
            &self.0.gprs
        }
        #[inline]
        fn gprs_mut(&mut self) -> &mut [u64; 16] {
            &mut self.0.gprs
        }
        #[inline]
        fn rip(&self) -> u64 {
            self.0.save().rip
        }
        #[inline]
        fn set_rip(&mut self, rip: u64) {
            self.0.save_mut().rip = rip;
        }
        #[inline]
        fn rflags(&self) -> u64 {
            self.0.save().rflags
        }
        #[inline]
        fn set_rflags(&mut self, rflags: u64) {
            self.0.save_mut().rflags = rflags;
        }
        #[inline]
        fn control(&self, register: Control) -> u64 {
            let save = self.0.save();
            match register {
                Control::Cr0 => save.cr0,
                Control::Cr2 => save.cr2,
                Control::Cr3 => save.cr3,
                Control::Cr4 => save.cr4,
                Control::Efer => save.efer & !efer::SVME,
                Control::Dr6 => save.dr6,
                Control::Dr7 => save.dr7,
                Control::Pat => save.pat,
                Control::DebugCtl => save.debug_ctl,
            }
        }
        fn set_control(&mut self, register: Control, value: u64) {
            let save = self.0.save_mut();
            match register {
                Control::Cr0 => save.cr0 = value,
                Control::Cr2 => save.cr2 = value,
                Control::Cr3 => save.cr3 = value,
                Control::Cr4 => save.cr4 = value,
                Control::Efer => save.efer = value | efer::SVME,
                Control::Dr6 => save.dr6 = value,
                Control::Dr7 => save.dr7 = value,
                Control::Pat => save.pat = value,
                Control::DebugCtl => save.debug_ctl = value,
            }
        }
        #[inline]
        fn segment(&self, name: SegmentName) -> Segment {
            let save = self.0.save();
            match name {
                SegmentName::Es => save.es,
                SegmentName::Cs => save.cs,
                SegmentName::Ss => save.ss,
                SegmentName::Ds => save.ds,
                SegmentName::Fs => save.fs,
                SegmentName::Gs => save.gs,
                SegmentName::Ldtr => save.ldtr,
                SegmentName::Tr => save.tr,
                SegmentName::Gdtr => save.gdtr,
                SegmentName::Idtr => save.idtr,
            }
        }
        fn set_segment(&mut self, name: SegmentName, segment: Segment) {
            let save = self.0.save_mut();
            let place = match name {
                SegmentName::Es => &mut save.es,
                SegmentName::Cs => &mut save.cs,
                SegmentName::Ss => &mut save.ss,
                SegmentName::Ds => &mut save.ds,
                SegmentName::Fs => &mut save.fs,
                SegmentName::Gs => &mut save.gs,
                SegmentName::Ldtr => &mut save.ldtr,
                SegmentName::Tr => &mut save.tr,
                SegmentName::Gdtr => &mut save.gdtr,
                SegmentName::Idtr => &mut save.idtr,
            };
            *place = segment;
        }
        #[inline]
        fn cpl(&self) -> u8 {
            self.0.save().cpl
        }
        fn set_cpl(&mut self, cpl: u8) {
            self.0.save_mut().cpl = cpl;
        }
        fn passed_msr(&self, msr: PassedMsr) -> u64 {
            let save = self.0.save();
            match msr {
                PassedMsr::Star => save.star,
                PassedMsr::Lstar => save.lstar,
                PassedMsr::Cstar => save.cstar,
                PassedMsr::Sfmask => save.sfmask,
                PassedMsr::KernelGsBase => save.kernel_gs_base,
                PassedMsr::SysenterCs => save.sysenter_cs,
                PassedMsr::SysenterEsp => save.sysenter_esp,
                PassedMsr::SysenterEip => save.sysenter_eip,
            }
        }
        fn set_passed_msr(&mut self, msr: PassedMsr, value: u64) {
            let save = self.0.save_mut();
            match msr {
                PassedMsr::Star => save.star = value,
                PassedMsr::Lstar => save.lstar = value,
                PassedMsr::Cstar => save.cstar = value,
                PassedMsr::Sfmask => save.sfmask = value,
                PassedMsr::KernelGsBase => save.kernel_gs_base = value,
                PassedMsr::SysenterCs => save.sysenter_cs = value,
                PassedMsr::SysenterEsp => save.sysenter_esp = value,
                PassedMsr::SysenterEip => save.sysenter_eip = value,
            }
        }
        fn breakpoints(&self) -> &[u64; 4] {
            &self.0.breakpoints
        }
        fn breakpoints_mut(&mut self) -> &mut [u64; 4] {
            &mut self.0.breakpoints
        }
        #[inline]
        fn xcr0(&self) -> u64 {
            self.0.xcr0()
        }
        fn set_xcr0(&mut self, value: u64) {
            self.0.set_xcr0(value);
        }
        fn tsc_aux(&self) -> u64 {
            u64::from(self.0.tsc_aux())
        }
        fn set_tsc_aux(&mut self, value: u64) {
            self.0.set_tsc_aux(value as u32);
        }
        #[inline]
        fn tsc_offset(&self) -> u64 {
            self.0.tsc_offset()
        }
        fn set_tsc_offset(&mut self, offset: u64) {
            self.0.set_tsc_offset(offset);
        }
        #[inline]
        fn task_priority(&self) -> u8 {
            self.0.task_priority()
        }
        #[inline]
        fn set_task_priority(&mut self, priority: u8) {
            self.0.set_task_priority(priority);
        }
        #[inline]
        fn shadow(&self) -> bool {
            self.0.shadow()
        }
        #[inline]
        fn set_shadow(&mut self, shadow: bool) {
            self.0.set_shadow(shadow);
        }
        #[inline]
        fn inject(&mut self, event: Event) {
            self.0.set_event(event_bits(event));
        }
        fn cancel_injection(&mut self) {
            self.0.set_event(0);
        }
        #[inline]
        fn take_interrupted(&mut self) -> Option<Event> {
            self.0.take_interrupted().and_then(event_of)
        }
        fn watch_window(&mut self, on: bool) {
            self.0.watch(Watch::Window, on);
        }
        fn watch_task_priority(&mut self, on: bool) {
            self.0.watch(Watch::WriteCr8, on);
        }
        fn watch_nmi_return(&mut self, on: bool) {
            self.0.watch(Watch::Iret, on);
        }
        fn watch_exceptions(&mut self, vectors: u32) {
            self.0.watch_exceptions(vectors);
        }
        #[inline]
        fn next_rip(&self) -> Option<u64> {
            self.0.next_rip()
        }
        #[inline]
        fn fetched(&self) -> Option<([u8; 15], usize)> {
            self.0.fetched()
        }
        fn flush(&mut self) {
            self.0.flush();
        }
        fn resumed(&mut self) {
            self.0.resumed();
        }
        #[inline]
        fn enter(&mut self) -> Exit {
            match self.0.enter() {
                Some(raw) => exit_of(raw.code, raw.info1, raw.info2),
                None => Exit::Refused(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_both_ways() {
        let events = [
            Event::Interrupt(0x31),
            Event::Nmi,
            Event::Software(0x80),
            Event::Exception {
                vector: vector::UD,
                error: None,
            },
            Event::Exception {
                vector: vector::PF,
                error: Some(7),
            },
        ];
        for event in events {
            assert_eq!(event_of(event_bits(event)), Some(event));
        }
        assert_eq!(event_bits(Event::Interrupt(0x31)), 0x8000_0031);
        assert_eq!(
            event_bits(Event::Exception {
                vector: 14,
                error: Some(7)
            }),
            7 << 32 | 0x8000_0B0E
        );
        assert_eq!(event_of(event::VALID | 7 << 8), None);
    }

    #[test]
    fn port_accesses_are_taken_apart() {
        // REP OUTSW to port 0x1F0, 64-bit addresses, DS.
        let info = 0x1F0 << 16 | 3 << 10 | 1 << 9 | 1 << 5 | 1 << 3 | 1 << 2;
        let Exit::Port(access) = exit_of(code::IOIO, info, 0x1234) else {
            panic!("not a port access")
        };
        assert_eq!(
            (access.port, access.size, access.address_size),
            (0x1F0, 2, 8)
        );
        assert!(access.write && access.string && access.repeat);
        assert_eq!((access.segment, access.next_rip), (3, 0x1234));
    }

    #[test]
    fn every_code_has_a_neutral_form() {
        assert_eq!(
            exit_of(code::MSR, 1, 0),
            Exit::Instruction(Instruction::Wrmsr)
        );
        assert_eq!(exit_of(code::INVALID, 0, 0), Exit::Refused(code::INVALID));
        assert_eq!(
            exit_of(0x37, 0, 0),
            Exit::DebugRegister {
                number: 7,
                write: true
            }
        );
        assert_eq!(
            exit_of(0x41, 0, 0),
            Exit::Exception {
                vector: 1,
                error: 0
            }
        );
        for unknown in [0x65, 0x6E, 0x8F, 0x401, 0x402, u64::MAX - 1] {
            assert_eq!(exit_of(unknown, 0, 0), Exit::Unknown(unknown));
        }
        let fault = exit_of(code::NESTED_FAULT, 1 << 33 | 0b10, 0x5000);
        let wanted = NestedFault {
            gpa: 0x5000,
            write: true,
            fetch: false,
            present: false,
            walk: true,
        };
        assert_eq!(fault, Exit::NestedFault(wanted));
    }
}
