//! A vCPU's state as its monitor reads and writes it. Values that the processor
//! would refuse are refused here; what it accepts is safe for the host.

use crate::backend::{Control, SegmentName, VcpuBackend, gpr};
use crate::platform::Platform;
use crate::translate::Access;
use crate::vcpu::Vcpu;
use abi::Errno;
use abi::kvm::{event_flag, mp_state};
use abi::kvm_irqchip::LapicState;
use abi::kvm_vcpu::{
    DebugRegs, Dtable, Fpu, GuestDebug, Regs, Segment as AbiSegment, Sregs, Translation,
    VcpuEvents, Xcrs, Xsave,
};
use x86::register::{cr0, cr4, dr, efer, rflags};
use x86::segment::{Attributes, Segment};
use x86::vector;
use x86::xsave::legacy;
use zerocopy::{FromZeros, IntoBytes};

/// The order of [`Regs`]' first sixteen fields.
const REGS: [usize; 16] = [
    gpr::RAX,
    gpr::RBX,
    gpr::RCX,
    gpr::RDX,
    gpr::RSI,
    gpr::RDI,
    gpr::RSP,
    gpr::RBP,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
];

fn to_abi(segment: Segment) -> AbiSegment {
    let parts = Attributes::unpack(segment.attributes);
    AbiSegment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        kind: parts.kind,
        present: u8::from(parts.present),
        dpl: parts.dpl,
        db: u8::from(parts.big),
        s: u8::from(parts.code_or_data),
        l: u8::from(parts.long),
        g: u8::from(parts.granularity),
        avl: u8::from(parts.available),
        unusable: u8::from(!parts.present),
        padding: 0,
    }
}

fn from_abi(segment: &AbiSegment) -> Segment {
    let parts = Attributes {
        kind: segment.kind,
        code_or_data: segment.s != 0,
        dpl: segment.dpl,
        present: segment.present != 0 && segment.unusable == 0,
        available: segment.avl != 0,
        long: segment.l != 0,
        big: segment.db != 0,
        granularity: segment.g != 0,
    };
    Segment {
        selector: segment.selector,
        attributes: parts.pack(),
        limit: segment.limit,
        base: segment.base,
    }
}

fn table_to_abi(table: Segment) -> Dtable {
    Dtable {
        base: table.base,
        limit: table.limit as u16,
        padding: [0; 3],
    }
}

fn table_from_abi(table: &Dtable) -> Segment {
    Segment {
        selector: 0,
        attributes: 0,
        limit: u32::from(table.limit),
        base: table.base,
    }
}

impl<P: Platform> Vcpu<P> {
    /// GET_REGS.
    #[must_use]
    pub fn regs(&self) -> Regs {
        let mut regs = Regs::default();
        let gprs = self.hw.gprs();
        let mut words = [0u64; 18];
        for (word, number) in words.iter_mut().zip(REGS) {
            *word = gprs[number];
        }
        words[16] = self.hw.rip();
        words[17] = self.hw.rflags();
        regs.as_mut_bytes().copy_from_slice(words.as_bytes());
        regs
    }

    /// SET_REGS.
    pub fn set_regs(&mut self, regs: &Regs) {
        let mut words = [0u64; 18];
        words.as_mut_bytes().copy_from_slice(regs.as_bytes());
        for (word, number) in words.iter().zip(REGS) {
            self.hw.gprs_mut()[number] = *word;
        }
        self.hw.set_rip(regs.rip);
        self.hw.set_rflags(regs.rflags | rflags::FIXED);
        self.events.exception = None;
    }

    /// GET_SREGS.
    #[must_use]
    pub fn sregs(&self) -> Sregs {
        let segment = |name| to_abi(self.hw.segment(name));
        let mut sregs = Sregs {
            cs: segment(SegmentName::Cs),
            ds: segment(SegmentName::Ds),
            es: segment(SegmentName::Es),
            fs: segment(SegmentName::Fs),
            gs: segment(SegmentName::Gs),
            ss: segment(SegmentName::Ss),
            tr: segment(SegmentName::Tr),
            ldt: segment(SegmentName::Ldtr),
            gdt: table_to_abi(self.hw.segment(SegmentName::Gdtr)),
            idt: table_to_abi(self.hw.segment(SegmentName::Idtr)),
            cr0: self.hw.control(Control::Cr0),
            cr2: self.hw.control(Control::Cr2),
            cr3: self.hw.control(Control::Cr3),
            cr4: self.hw.control(Control::Cr4),
            cr8: u64::from(self.hw.task_priority()),
            efer: self.hw.control(Control::Efer),
            apic_base: match &self.lapic {
                Some(lapic) => lapic.base().value(),
                None => x86::msr::APIC_BASE_DEFAULT | x86::msr::APIC_BASE_ENABLE,
            },
            interrupt_bitmap: [0; 4],
        };
        if let Some(vector) = self.events.interrupt.or(self.external) {
            sregs.interrupt_bitmap[usize::from(vector >> 6)] |= 1 << (vector & 63);
        }
        sregs
    }

    /// SET_SREGS.
    ///
    /// # Errors
    /// EINVAL where the control registers contradict each other.
    pub fn set_sregs(&mut self, sregs: &Sregs) -> Result<(), Errno> {
        check_controls(sregs)?;
        if let Some(lapic) = &mut self.lapic {
            let effect = lapic.restore_base(sregs.apic_base);
            lapic.set_tpr((sregs.cr8 as u8 & 0xF) << 4);
            self.apply(effect);
        }
        let segments = [
            (SegmentName::Cs, &sregs.cs),
            (SegmentName::Ds, &sregs.ds),
            (SegmentName::Es, &sregs.es),
            (SegmentName::Fs, &sregs.fs),
            (SegmentName::Gs, &sregs.gs),
            (SegmentName::Ss, &sregs.ss),
            (SegmentName::Tr, &sregs.tr),
            (SegmentName::Ldtr, &sregs.ldt),
        ];
        for (name, segment) in segments {
            self.hw.set_segment(name, from_abi(segment));
        }
        self.hw
            .set_segment(SegmentName::Gdtr, table_from_abi(&sregs.gdt));
        self.hw
            .set_segment(SegmentName::Idtr, table_from_abi(&sregs.idt));
        self.hw.set_cpl(sregs.ss.dpl & 3);
        self.hw.set_control(Control::Cr0, sregs.cr0 | cr0::ET);
        self.hw.set_control(Control::Cr2, sregs.cr2);
        self.hw.set_control(Control::Cr3, sregs.cr3);
        self.hw.set_control(Control::Cr4, sregs.cr4);
        self.hw.set_control(Control::Efer, sregs.efer);
        self.hw.set_task_priority(sregs.cr8 as u8 & 0xF);
        self.hw.flush();
        let pending = sregs
            .interrupt_bitmap
            .iter()
            .enumerate()
            .find(|(_, word)| **word != 0);
        if let Some((index, word)) = pending {
            self.events.interrupt = Some((index * 64) as u8 + word.trailing_zeros() as u8);
        }
        Ok(())
    }

    /// GET_FPU.
    #[must_use]
    pub fn fpu(&self) -> Fpu {
        let mut area = [0; 512];
        self.fpu.read(&mut area);
        let mut fpu = Fpu::new_zeroed();
        for (register, bytes) in fpu.fpr.iter_mut().zip(area[legacy::ST0..].chunks_exact(16)) {
            register.copy_from_slice(bytes);
        }
        for (register, bytes) in fpu
            .xmm
            .iter_mut()
            .zip(area[legacy::XMM0..].chunks_exact(16))
        {
            register.copy_from_slice(bytes);
        }
        fpu.fcw = word(&area, legacy::FCW) as u16;
        fpu.fsw = word(&area, legacy::FSW) as u16;
        fpu.ftwx = area[legacy::FTW];
        fpu.last_opcode = word(&area, legacy::FOP) as u16;
        fpu.last_ip = word(&area, legacy::RIP);
        fpu.last_dp = word(&area, legacy::RDP);
        fpu.mxcsr = word(&area, legacy::MXCSR) as u32;
        fpu
    }

    /// SET_FPU.
    ///
    /// # Errors
    /// EINVAL for MXCSR bits that do not exist.
    pub fn set_fpu(&mut self, fpu: &Fpu) -> Result<(), Errno> {
        let mut xsave = self.xsave();
        let area = xsave.region.as_mut_bytes();
        for (register, bytes) in fpu.fpr.iter().zip(area[legacy::ST0..].chunks_exact_mut(16)) {
            bytes.copy_from_slice(register);
        }
        for (register, bytes) in fpu
            .xmm
            .iter()
            .zip(area[legacy::XMM0..].chunks_exact_mut(16))
        {
            bytes.copy_from_slice(register);
        }
        area[legacy::FCW..][..2].copy_from_slice(&fpu.fcw.to_le_bytes());
        area[legacy::FSW..][..2].copy_from_slice(&fpu.fsw.to_le_bytes());
        area[legacy::FTW] = fpu.ftwx;
        area[legacy::FOP..][..2].copy_from_slice(&fpu.last_opcode.to_le_bytes());
        area[legacy::RIP..][..8].copy_from_slice(&fpu.last_ip.to_le_bytes());
        area[legacy::RDP..][..8].copy_from_slice(&fpu.last_dp.to_le_bytes());
        area[legacy::MXCSR..][..4].copy_from_slice(&fpu.mxcsr.to_le_bytes());
        // x87 and SSE are there now, whatever was before.
        area[x86::xsave::XSTATE_BV] |= 3;
        self.set_xsave(&xsave)
    }

    /// GET_XSAVE.
    #[must_use]
    pub fn xsave(&self) -> Xsave {
        let mut xsave = Xsave::new_zeroed();
        self.fpu.read(xsave.region.as_mut_bytes());
        xsave
    }

    /// SET_XSAVE.
    ///
    /// # Errors
    /// EINVAL for a state that the processor would refuse.
    pub fn set_xsave(&mut self, xsave: &Xsave) -> Result<(), Errno> {
        self.fpu
            .write(xsave.region.as_bytes())
            .map_err(|_| Errno::EINVAL)
    }

    /// GET_XCRS.
    #[must_use]
    pub fn xcrs(&self) -> Xcrs {
        let mut xcrs = Xcrs {
            nr_xcrs: 1,
            ..Xcrs::default()
        };
        xcrs.xcrs[0].value = self.hw.xcr0();
        xcrs
    }

    /// SET_XCRS.
    ///
    /// # Errors
    /// EINVAL for a value that the guest could not set.
    pub fn set_xcrs(&mut self, xcrs: &Xcrs) -> Result<(), Errno> {
        let count = (xcrs.nr_xcrs as usize).min(xcrs.xcrs.len());
        if xcrs.flags != 0 || count != xcrs.nr_xcrs as usize {
            return Err(Errno::EINVAL);
        }
        for register in xcrs.xcrs[..count]
            .iter()
            .filter(|register| register.xcr == 0)
        {
            if !self.xcr0_is_valid(register.value) {
                return Err(Errno::EINVAL);
            }
            self.hw.set_xcr0(register.value);
        }
        Ok(())
    }

    /// GET_VCPU_EVENTS.
    #[must_use]
    pub fn vcpu_events(&self) -> VcpuEvents {
        let mut events = VcpuEvents {
            flags: event_flag::NMI_PENDING | event_flag::SHADOW,
            interrupt_shadow: u8::from(self.hw.shadow()),
            nmi_injected: u8::from(self.events.nmi_injected),
            nmi_pending: self.events.nmi_pending,
            nmi_masked: u8::from(self.events.nmi_masked),
            ..VcpuEvents::default()
        };
        if let Some((vector, error)) = self.events.exception {
            events.exception_injected = 1;
            events.exception_nr = vector;
            events.exception_has_error_code = u8::from(error.is_some());
            events.exception_error_code = error.unwrap_or(0);
        }
        if let Some(vector) = self.events.interrupt {
            events.interrupt_injected = 1;
            events.interrupt_nr = vector;
        }
        if self.lapic.is_some() && self.mp == mp_state::SIPI_RECEIVED {
            events.flags |= event_flag::SIPI_VECTOR;
            events.sipi_vector = u32::from(self.sipi_page);
        }
        events
    }

    /// SET_VCPU_EVENTS.
    ///
    /// # Errors
    /// EINVAL for unknown flags or an exception that does not exist.
    pub fn set_vcpu_events(&mut self, events: &VcpuEvents) -> Result<(), Errno> {
        let known = event_flag::NMI_PENDING
            | event_flag::SIPI_VECTOR
            | event_flag::SHADOW
            | event_flag::SMM
            | event_flag::PAYLOAD;
        let exception = events.exception_injected != 0 || events.exception_pending != 0;
        let number = events.exception_nr;
        if events.flags & !known != 0 || (exception && (number > 31 || number == vector::NMI)) {
            return Err(Errno::EINVAL);
        }
        let error = (events.exception_has_error_code != 0).then_some(events.exception_error_code);
        self.events.exception = exception.then_some((number, error));
        let interrupt = events.interrupt_injected != 0 && events.interrupt_soft == 0;
        self.events.interrupt = interrupt.then_some(events.interrupt_nr);
        if events.flags & event_flag::SHADOW != 0 {
            self.hw.set_shadow(events.interrupt_shadow != 0);
        }
        self.events.nmi_injected = events.nmi_injected != 0;
        if events.flags & event_flag::NMI_PENDING != 0 {
            self.events.nmi_pending = events.nmi_pending.min(2);
        }
        self.events.nmi_masked = events.nmi_masked != 0;
        self.hw.watch_nmi_return(self.events.nmi_masked);
        if events.flags & event_flag::SIPI_VECTOR != 0 {
            self.sipi_page = events.sipi_vector as u8;
        }
        Ok(())
    }

    /// GET_DEBUGREGS.
    #[must_use]
    pub fn debug_registers(&self) -> DebugRegs {
        DebugRegs {
            db: *self.hw.breakpoints(),
            dr6: self.hw.control(Control::Dr6),
            dr7: self.hw.control(Control::Dr7),
            ..DebugRegs::default()
        }
    }

    /// SET_DEBUGREGS.
    ///
    /// # Errors
    /// EINVAL for flags, or upper halves that must be zero.
    pub fn set_debug_registers(&mut self, registers: &DebugRegs) -> Result<(), Errno> {
        if registers.flags != 0 || registers.dr6 >> 32 != 0 || registers.dr7 >> 32 != 0 {
            return Err(Errno::EINVAL);
        }
        *self.hw.breakpoints_mut() = registers.db;
        self.hw.set_control(
            Control::Dr6,
            registers.dr6 | dr::DR6_RESET & !dr::DR6_WRITABLE,
        );
        self.hw
            .set_control(Control::Dr7, registers.dr7 | dr::DR7_RESET);
        Ok(())
    }

    /// SET_GUEST_DEBUG: single steps and INT3.
    ///
    /// # Errors
    /// EINVAL for hardware breakpoints and what is not known.
    pub fn set_guest_debug(&mut self, debug: &GuestDebug) -> Result<(), Errno> {
        let known = GuestDebug::ENABLE | GuestDebug::SINGLESTEP | GuestDebug::USE_SW_BP;
        if debug.control & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let on = debug.control & GuestDebug::ENABLE != 0;
        self.debug = if on { debug.control } else { 0 };
        let stepped = self.debug & GuestDebug::SINGLESTEP != 0;
        let flags = self.hw.rflags();
        let flags = if stepped {
            flags | rflags::TF
        } else {
            flags & !rflags::TF
        };
        self.hw.set_rflags(flags);
        let mut vectors = 0;
        if stepped {
            vectors |= 1 << vector::DB;
        }
        if self.debug & GuestDebug::USE_SW_BP != 0 {
            vectors |= 1 << vector::BP;
        }
        self.hw.watch_exceptions(vectors);
        Ok(())
    }

    /// GET_MP_STATE.
    #[must_use]
    pub fn mp_state(&self) -> u32 {
        self.mp
    }

    /// SET_MP_STATE.
    ///
    /// # Errors
    /// EINVAL for a state that does not exist, or that needs a local APIC.
    pub fn set_mp_state(&mut self, state: u32) -> Result<(), Errno> {
        match state {
            mp_state::RUNNABLE => self.mp = state,
            mp_state::UNINITIALIZED | mp_state::INIT_RECEIVED | mp_state::HALTED
                if self.lapic.is_some() =>
            {
                self.mp = state;
            }
            mp_state::SIPI_RECEIVED if self.lapic.is_some() => {
                let page = self.sipi_page;
                self.start_up(page);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// GET_LAPIC.
    ///
    /// # Errors
    /// EINVAL without interrupt controllers in the kernel.
    pub fn lapic_state(&mut self) -> Result<LapicState, Errno> {
        let lapic = self.lapic.as_mut().ok_or(Errno::EINVAL)?;
        lapic.merge(&self.shared.posted);
        Ok(lapic.state(wait::now_ns(), false))
    }

    /// SET_LAPIC.
    ///
    /// # Errors
    /// EINVAL without interrupt controllers in the kernel.
    pub fn set_lapic_state(&mut self, state: &LapicState) -> Result<(), Errno> {
        let lapic = self.lapic.as_mut().ok_or(Errno::EINVAL)?;
        lapic.set_state(state, wait::now_ns());
        let priority = lapic.tpr() >> 4;
        self.hw.set_task_priority(priority);
        self.new_identity();
        self.arm_timer();
        Ok(())
    }

    /// KVM_INTERRUPT.
    ///
    /// # Errors
    /// ENXIO with interrupt controllers in the kernel, EINVAL for no vector,
    /// EEXIST while another waits.
    pub fn queue_interrupt(&mut self, number: u32) -> Result<(), Errno> {
        if self.lapic.is_some() {
            return Err(Errno::ENXIO);
        }
        let vector = u8::try_from(number).map_err(|_| Errno::EINVAL)?;
        if self.external.is_some() {
            return Err(Errno::EEXIST);
        }
        self.external = Some(vector);
        Ok(())
    }

    /// KVM_TRANSLATE.
    #[must_use]
    pub fn translation(&self, linear: u64) -> Translation {
        let read = Access {
            write: false,
            fetch: false,
            user: false,
        };
        let mut answer = Translation {
            linear_address: linear,
            ..Translation::default()
        };
        match self.translate(linear, read) {
            Ok(found) => {
                answer.physical_address = found.gpa;
                answer.valid = 1;
                answer.writeable = u8::from(found.writable);
                answer.usermode = u8::from(found.user);
            }
            Err(_) => answer.physical_address = u64::MAX,
        }
        answer
    }

    /// GET_MSRS, one of them.
    pub fn monitor_read_msr(&mut self, index: u32) -> Option<u64> {
        self.read_msr(index)
    }

    /// SET_MSRS, one of them. The monitor may do what a guest may not: set EFER
    /// with LMA, and the APIC's mode at once.
    pub fn monitor_write_msr(&mut self, index: u32, value: u64) -> bool {
        match index {
            x86::msr::EFER => {
                let known = efer::SCE | efer::LME | efer::LMA | efer::NXE | efer::FFXSR;
                if value & !known != 0 {
                    return false;
                }
                self.hw.set_control(Control::Efer, value);
                true
            }
            x86::msr::APIC_BASE => {
                let Some(lapic) = &mut self.lapic else {
                    return true;
                };
                let effect = lapic.restore_base(value);
                self.apply(effect);
                true
            }
            _ => self.write_msr(index, value),
        }
    }

    /// SET_CPUID2.
    pub fn set_cpuid(&mut self, table: crate::cpuid::CpuidTable) {
        use x86::cpuid::features_ecx::{TSC_DEADLINE, X2APIC};
        if let Some(lapic) = &mut self.lapic {
            lapic.offer(
                table.has_feature_ecx(X2APIC),
                table.has_feature_ecx(TSC_DEADLINE),
            );
        }
        self.cpuid = table;
    }

    /// KVMCLOCK_CTRL.
    ///
    /// # Errors
    /// EINVAL while the guest has no clock.
    pub fn pause_clock(&mut self) -> Result<(), Errno> {
        if self.clock.address().is_none() {
            return Err(Errno::EINVAL);
        }
        self.clock.paused = true;
        self.write_clock();
        Ok(())
    }
}

fn word(area: &[u8; 512], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&area[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}

/// What VMRUN would refuse (APM volume 2, 15.5.1 "Canonicalization and
/// Consistency Checks").
fn check_controls(sregs: &Sregs) -> Result<(), Errno> {
    let paging = sregs.cr0 & cr0::PG != 0;
    let long = sregs.efer & efer::LME != 0;
    let known = efer::SCE | efer::LME | efer::LMA | efer::NXE | efer::FFXSR;
    let bad = sregs.cr0 >> 32 != 0
        || (paging && sregs.cr0 & cr0::PE == 0)
        || (sregs.cr0 & cr0::NW != 0 && sregs.cr0 & cr0::CD == 0)
        || sregs.efer & !known != 0
        || (paging && long && sregs.cr4 & cr4::PAE == 0)
        || (paging && long && sregs.cs.l != 0 && sregs.cs.db != 0)
        || (paging && long) != (sregs.efer & efer::LMA != 0)
        || sregs.cr4 & (cr4::LA57 | cr4::PCIDE) != 0
        || sregs.cr8 > 15
        || sregs.cr3 >> 52 != 0
        || sregs.cr4 >> 32 != 0;
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}
