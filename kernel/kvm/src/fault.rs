//! Nested page faults: memory that is not mapped yet, and devices. APM volume
//! 2, 15.25.6.
//!
//! A device access of a plain MOV is decoded by hand; anything else runs in the
//! emulator, which asks for its accesses one by one. What the monitor must
//! answer ends this entry; the next one goes on with the answer.

use crate::backend::{Control, SegmentName, VcpuBackend};
use crate::exit::NestedFault;
use crate::memory::Absent;
use crate::pending::{MmioRead, Pending};
use crate::platform::Platform;
use crate::run::Next;
use crate::translate::{self, WalkError};
use crate::vcpu::Vcpu;
use abi::kvm::exit;
use abi::kvm_run;
use emulate::{
    Access, Bus, Cpu, Exception, Fetched, Outcome, Segment, SegmentState, Simple, decode_simple,
    emulate,
};
use x86::vector;

const PAGE: u64 = 0xFFF;
/// Bytes of the I/O APIC's window.
const IOAPIC_SIZE: u64 = 0x100;

impl<P: Platform> Vcpu<P> {
    #[inline]
    pub(crate) fn fault_exit(&mut self, fault: &NestedFault) -> Next {
        if self.is_lapic(fault.gpa) {
            return self.device_exit(fault.gpa);
        }
        match self.vm.memory.populate(&self.slots, fault.gpa, fault.write) {
            Ok(()) => Next::Enter,
            Err(Absent::Fault(errno)) => Next::Fail(errno),
            Err(Absent::Device) if fault.fetch || fault.walk => {
                self.emulation_failed(&Fetched::new(&[]))
            }
            Err(Absent::Device) => self.device_exit(fault.gpa),
        }
    }

    #[inline]
    fn is_lapic(&self, gpa: u64) -> bool {
        self.lapic
            .as_ref()
            .is_some_and(|lapic| lapic.page() == Some(gpa & !PAGE))
    }

    /// An access to a device.
    #[inline]
    fn device_exit(&mut self, gpa: u64) -> Next {
        let Some(fetched) = self.fetch() else {
            // The page went away under us: the guest tries again.
            return Next::Enter;
        };
        match decode_simple(&fetched, self.code_size()) {
            Some(simple) if (gpa & PAGE) + u64::from(simple.size) <= PAGE + 1 => {
                self.simple_access(gpa, &simple)
            }
            _ => self.emulate_again(&fetched, MmioRead::default()),
        }
    }

    #[inline]
    fn simple_access(&mut self, gpa: u64, simple: &Simple) -> Next {
        let stored = simple.stored(&Registers(&mut self.hw));
        if let Some(value) = stored {
            self.skip(simple.length);
            return match self.write_device(gpa, simple.size, value) {
                true => Next::Enter,
                false => Next::Monitor(exit::MMIO),
            };
        }
        if let Some(value) = self.read_device(gpa, simple.size) {
            self.finish_load(simple, value);
            return Next::Enter;
        }
        self.page().set_mmio(gpa, 0, simple.size, false);
        self.pending = Pending::Load {
            simple: *simple,
            gpa,
        };
        Next::Monitor(exit::MMIO)
    }

    #[inline]
    pub(crate) fn finish_load(&mut self, simple: &Simple, value: u64) {
        simple.load(&mut Registers(&mut self.hw), value);
        self.skip(simple.length);
    }

    /// A read that the kernel answers; `None`: the monitor does.
    #[inline]
    fn read_device(&mut self, gpa: u64, size: u8) -> Option<u64> {
        if let Some(lapic) = &self.lapic
            && lapic.page() == Some(gpa & !PAGE)
        {
            // Registers are 32 bits on 16-byte boundaries.
            let offset = (gpa & PAGE) as u32;
            let value = u64::from(lapic.read(offset & !3, wait::now_ns));
            return Some(value >> (8 * (offset & 3)));
        }
        let chips = self.vm.chips()?;
        let offset = gpa.wrapping_sub(chips.ioapic_base());
        (offset < IOAPIC_SIZE && size <= 8)
            .then(|| u64::from(chips.read_ioapic(offset as u32 & !3)) >> (8 * (offset & 3)))
    }

    /// A write that the kernel takes; `false`: it is in the record for the
    /// monitor.
    #[inline]
    fn write_device(&mut self, gpa: u64, size: u8, value: u64) -> bool {
        if let Some(lapic) = &mut self.lapic
            && lapic.page() == Some(gpa & !PAGE)
        {
            let offset = (gpa & PAGE) as u32;
            if offset & 3 == 0 && size >= 4 {
                let effect = lapic.write(offset, value as u32, wait::now_ns);
                self.apply(effect);
            }
            return true;
        }
        if let Some(event) = self.bus.find(false, gpa, u32::from(size), value) {
            event.signal();
            return true;
        }
        if let Some(chips) = self.vm.chips() {
            let offset = gpa.wrapping_sub(chips.ioapic_base());
            if offset < IOAPIC_SIZE {
                if offset & 3 == 0 && size >= 4 {
                    chips.write_ioapic(offset as u32, value as u32);
                }
                return true;
            }
        }
        self.page().set_mmio(gpa, value, size, true);
        false
    }

    /// Runs the emulator; `answer` is what the monitor said to the last read.
    pub(crate) fn emulate_again(&mut self, fetched: &Fetched, answer: MmioRead) -> Next {
        let size = self.code_size();
        let before = self.hw.rip();
        let mut registers = Copied::of(&self.hw);
        let mut bus = VcpuBus {
            vcpu: self,
            answer,
            asked: None,
            written: false,
        };
        let outcome = emulate(&mut registers, &mut bus, fetched, size);
        let (asked, written) = (bus.asked, bus.written);
        match outcome {
            Outcome::Retired | Outcome::Repeat => {
                registers.give_back(&mut self.hw);
                if self.hw.rip() != before {
                    let next = self.hw.rip();
                    self.skip_to(next);
                }
                if written {
                    Next::Monitor(exit::MMIO)
                } else {
                    Next::Enter
                }
            }
            Outcome::Pending => {
                let read = asked.unwrap_or_default();
                self.page().set_mmio(read.gpa, 0, read.size, false);
                self.pending = Pending::Read(read);
                Next::Monitor(exit::MMIO)
            }
            Outcome::Fault(exception) => {
                if let Some(address) = exception.address {
                    self.hw.set_control(Control::Cr2, address);
                }
                self.events.raise(exception.vector, exception.error_code);
                Next::Enter
            }
            Outcome::Unsupported(fetched) => self.emulation_failed(&fetched),
        }
    }

    /// An instruction that nobody emulates: the monitor gets its bytes.
    pub(crate) fn emulation_failed(&mut self, fetched: &Fetched) -> Next {
        self.page()
            .set_record(&kvm_run::emulation_failure(fetched.bytes()));
        Next::Monitor(exit::INTERNAL_ERROR)
    }

    /// Finishes what the last exit left for the monitor to answer.
    #[inline]
    pub(crate) fn complete(&mut self) -> Next {
        match core::mem::take(&mut self.pending) {
            Pending::None | Pending::StringOut => {}
            Pending::In(access) => {
                let value = self.page().port_data();
                self.finish_in(&access, value);
            }
            Pending::StringIn { access, count } => self.finish_string_in(&access, count),
            Pending::Load { simple, .. } => {
                let value = self.page().mmio_data();
                self.finish_load(&simple, value);
            }
            Pending::Read(read) => {
                let data = Some(self.page().mmio_data());
                return match self.fetch() {
                    Some(fetched) => self.emulate_again(&fetched, MmioRead { data, ..read }),
                    None => Next::Enter,
                };
            }
        }
        Next::Enter
    }
}

/// The registers of the hardware as the emulator's.
struct Registers<'a, H>(&'a mut H);

impl<H: VcpuBackend> Cpu for Registers<'_, H> {
    #[inline]
    fn gpr(&self, number: u8) -> u64 {
        self.0.gprs()[usize::from(number & 15)]
    }
    #[inline]
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.0.gprs_mut()[usize::from(number & 15)] = value;
    }
    fn rip(&self) -> u64 {
        self.0.rip()
    }
    fn set_rip(&mut self, rip: u64) {
        self.0.set_rip(rip);
    }
    fn rflags(&self) -> u64 {
        self.0.rflags()
    }
    fn set_rflags(&mut self, rflags: u64) {
        self.0.set_rflags(rflags);
    }
    fn segment(&self, segment: Segment) -> SegmentState {
        state_of(self.0, segment)
    }
}

fn state_of(hw: &impl VcpuBackend, segment: Segment) -> SegmentState {
    let name = match segment {
        Segment::Es => SegmentName::Es,
        Segment::Cs => SegmentName::Cs,
        Segment::Ss => SegmentName::Ss,
        Segment::Ds => SegmentName::Ds,
        Segment::Fs => SegmentName::Fs,
        Segment::Gs => SegmentName::Gs,
    };
    let found = hw.segment(name);
    SegmentState {
        base: found.base,
        limit: found.limit,
    }
}

/// A copy of the registers, so that the emulator's bus can have the vCPU.
struct Copied {
    gprs: [u64; 16],
    rip: u64,
    rflags: u64,
    segments: [SegmentState; 6],
}

impl Copied {
    fn of(hw: &impl VcpuBackend) -> Self {
        use Segment::{Cs, Ds, Es, Fs, Gs, Ss};
        Copied {
            gprs: *hw.gprs(),
            rip: hw.rip(),
            rflags: hw.rflags(),
            segments: [Es, Cs, Ss, Ds, Fs, Gs].map(|segment| state_of(hw, segment)),
        }
    }

    fn give_back(&self, hw: &mut impl VcpuBackend) {
        *hw.gprs_mut() = self.gprs;
        hw.set_rip(self.rip);
        hw.set_rflags(self.rflags);
    }
}

impl Cpu for Copied {
    fn gpr(&self, number: u8) -> u64 {
        self.gprs[usize::from(number & 15)]
    }
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gprs[usize::from(number & 15)] = value;
    }
    fn rip(&self) -> u64 {
        self.rip
    }
    fn set_rip(&mut self, rip: u64) {
        self.rip = rip;
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn set_rflags(&mut self, rflags: u64) {
        self.rflags = rflags;
    }
    fn segment(&self, segment: Segment) -> SegmentState {
        self.segments[segment as usize]
    }
}

/// Memory and devices behind linear addresses.
struct VcpuBus<'a, P: Platform> {
    vcpu: &'a mut Vcpu<P>,
    answer: MmioRead,
    asked: Option<MmioRead>,
    written: bool,
}

impl<P: Platform> VcpuBus<'_, P> {
    fn translate(&self, linear: u64, write: bool) -> Result<u64, Exception> {
        let user = self.vcpu.hw.cpl() == 3;
        let access = translate::Access {
            write,
            fetch: false,
            user,
        };
        let fault = |code| Exception {
            vector: vector::PF,
            error_code: Some(code),
            address: Some(linear),
        };
        match self.vcpu.translate(linear, access) {
            Ok(found) => Ok(found.gpa),
            Err(WalkError::PageFault(code)) => Err(fault(code)),
            Err(WalkError::Missing(_)) => Err(fault(0)),
        }
    }
}

impl<P: Platform> VcpuBus<'_, P> {
    /// The page fault that a copy has just raised, as the emulator's.
    fn raised(&mut self) -> Exception {
        let (vector, error_code) = self
            .vcpu
            .events
            .exception
            .take()
            .unwrap_or((vector::GP, Some(0)));
        let address = Some(self.vcpu.hw.control(Control::Cr2));
        Exception {
            vector,
            error_code,
            address,
        }
    }
}

impl<P: Platform> Bus for VcpuBus<'_, P> {
    fn read(&mut self, linear: u64, data: &mut [u8]) -> Result<Access, Exception> {
        let gpa = self.translate(linear, false)?;
        let size = data.len() as u8;
        if self.vcpu.slots.find(gpa).is_some() && !self.vcpu.is_lapic(gpa) {
            let done = self.vcpu.read_linear(linear, data);
            return if done {
                Ok(Access::Done)
            } else {
                Err(self.raised())
            };
        }
        let answered = (self.answer.gpa, self.answer.size) == (gpa, size);
        let value = match self.answer.data.filter(|_| answered) {
            Some(value) => Some(value),
            None => self.vcpu.read_device(gpa, size),
        };
        let Some(value) = value else {
            self.asked = Some(MmioRead {
                gpa,
                size,
                data: None,
            });
            return Ok(Access::Pending);
        };
        for (index, byte) in data.iter_mut().enumerate().take(8) {
            *byte = (value >> (8 * index)) as u8;
        }
        Ok(Access::Done)
    }

    fn write(&mut self, linear: u64, data: &[u8]) -> Result<Access, Exception> {
        let gpa = self.translate(linear, true)?;
        let is_memory = self
            .vcpu
            .slots
            .find(gpa)
            .is_some_and(|slot| !slot.is_readonly());
        if is_memory && !self.vcpu.is_lapic(gpa) {
            let done = self.vcpu.write_linear(linear, data);
            return if done {
                Ok(Access::Done)
            } else {
                Err(self.raised())
            };
        }
        let mut value = [0; 8];
        let kept = data.len().min(8);
        value[..kept].copy_from_slice(&data[..kept]);
        if self
            .vcpu
            .write_device(gpa, kept as u8, u64::from_le_bytes(value))
        {
            return Ok(Access::Done);
        }
        self.written = true;
        Ok(Access::Yield)
    }
}
