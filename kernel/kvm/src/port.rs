//! Port accesses: IN, OUT, INS, OUTS. An eventfd, a chip in the kernel, or the
//! monitor answers them. APM volume 2, 15.10.2.

use crate::backend::{Control, SegmentName, VcpuBackend, gpr};
use crate::exit::PortAccess;
use crate::pending::Pending;
use crate::platform::Platform;
use crate::run::Next;
use crate::translate::{Access, WalkError};
use crate::vcpu::Vcpu;
use abi::kvm::exit;
use abi::kvm_run::{Io, PIO_DATA};
use x86::register::rflags;
use x86::vector;

/// Bytes of the port data page.
const DATA: usize = 4096;

impl<P: Platform> Vcpu<P> {
    #[inline]
    pub(crate) fn port_exit(&mut self, access: &PortAccess) -> Next {
        if access.string {
            return self.string_port_exit(access);
        }
        if access.write {
            self.out(access)
        } else {
            self.port_in(access)
        }
    }

    #[inline]
    fn out(&mut self, access: &PortAccess) -> Next {
        let value = self.hw.gprs()[gpr::RAX] & mask(access.size);
        self.skip_to(access.next_rip);
        let (port, size) = (u64::from(access.port), u32::from(access.size));
        if let Some(event) = self.bus.find(true, port, size, value) {
            event.signal();
            return Next::Enter;
        }
        if let Some(chips) = self.vm.chips()
            && chips.write_port(access.port, access.size, value)
        {
            return Next::Enter;
        }
        self.page().set_port_access(&record(access, 1), value);
        Next::Monitor(exit::IO)
    }

    #[inline]
    fn port_in(&mut self, access: &PortAccess) -> Next {
        if let Some(chips) = self.vm.chips()
            && let Some(value) = chips.read_port(access.port, access.size)
        {
            self.finish_in(access, value);
            return Next::Enter;
        }
        self.page().set_port_access(&record(access, 1), 0);
        self.pending = Pending::In(*access);
        Next::Monitor(exit::IO)
    }

    /// Puts the answer of IN into AL, AX or EAX.
    #[inline]
    pub(crate) fn finish_in(&mut self, access: &PortAccess, value: u64) {
        let old = self.hw.gprs()[gpr::RAX];
        let keep = if access.size == 4 {
            0
        } else {
            !mask(access.size)
        };
        self.hw.gprs_mut()[gpr::RAX] = old & keep | value & mask(access.size);
        self.skip_to(access.next_rip);
    }

    /// Apart from the others for its buffer on the stack.
    #[cold]
    #[inline(never)]
    fn string_port_exit(&mut self, access: &PortAccess) -> Next {
        let total = if access.repeat {
            self.hw.gprs()[gpr::RCX] & address_mask(access.address_size)
        } else {
            1
        };
        if total == 0 {
            self.skip_to(access.next_rip);
            return Next::Enter;
        }
        let size = u64::from(access.size);
        // Down-going strings and elements across a page go one by one.
        let down = self.hw.rflags() & rflags::DF != 0;
        let linear = self.string_address(access);
        let in_page = (0x1000 - (linear & 0xFFF)) / size;
        let count = if down { 1 } else { total.min(in_page).max(1) }.min(DATA as u64 / size);
        if access.write {
            self.string_out(access, linear, count as u32)
        } else {
            self.string_in(access, linear, count as u32)
        }
    }

    /// The linear address of the current element.
    fn string_address(&self, access: &PortAccess) -> u64 {
        let (register, name) = if access.write {
            (gpr::RSI, SegmentName::from_number(access.segment))
        } else {
            (gpr::RDI, SegmentName::Es)
        };
        let offset = self.hw.gprs()[register] & address_mask(access.address_size);
        let is_flat =
            access.address_size == 8 && !matches!(name, SegmentName::Fs | SegmentName::Gs);
        let base = if is_flat {
            0
        } else {
            self.hw.segment(name).base
        };
        let linear = base.wrapping_add(offset);
        if self.paging().is_long() {
            linear
        } else {
            linear & 0xFFFF_FFFF
        }
    }

    fn string_out(&mut self, access: &PortAccess, linear: u64, count: u32) -> Next {
        let mut bytes = [0; DATA];
        let bytes = &mut bytes[..count as usize * usize::from(access.size)];
        if !self.read_linear(linear, bytes) {
            return Next::Enter;
        }
        self.page().write_data(bytes);
        self.page().set_record(&record(access, count));
        self.advance_string(access, gpr::RSI, count);
        self.pending = Pending::StringOut;
        Next::Monitor(exit::IO)
    }

    fn string_in(&mut self, access: &PortAccess, linear: u64, count: u32) -> Next {
        // The guest takes its page fault before the device is read.
        let write = Access {
            write: true,
            fetch: false,
            user: self.hw.cpl() == 3,
        };
        if let Err(error) = self.translate(linear, write) {
            self.walk_failed(linear, error);
            return Next::Enter;
        }
        self.page().set_record(&record(access, count));
        self.pending = Pending::StringIn {
            access: *access,
            count,
        };
        Next::Monitor(exit::IO)
    }

    /// The monitor has filled the data page for INS.
    #[cold]
    #[inline(never)]
    pub(crate) fn finish_string_in(&mut self, access: &PortAccess, count: u32) {
        let mut bytes = [0; DATA];
        let bytes = &mut bytes[..count as usize * usize::from(access.size)];
        self.page().read_data(bytes);
        let linear = self.string_address(access);
        if self.write_linear(linear, bytes) {
            self.advance_string(access, gpr::RDI, count);
        }
    }

    fn advance_string(&mut self, access: &PortAccess, register: usize, count: u32) {
        let step = u64::from(count) * u64::from(access.size);
        let step = if self.hw.rflags() & rflags::DF != 0 {
            step.wrapping_neg()
        } else {
            step
        };
        let address = address_mask(access.address_size);
        let gprs = self.hw.gprs_mut();
        gprs[register] = add_masked(gprs[register], step, address);
        if access.repeat {
            gprs[gpr::RCX] = add_masked(gprs[gpr::RCX], u64::from(count).wrapping_neg(), address);
            if gprs[gpr::RCX] & address != 0 {
                return;
            }
        }
        self.skip_to(access.next_rip);
    }

    /// Copies from a linear address; a page fault is raised for the guest.
    pub(crate) fn read_linear(&mut self, linear: u64, bytes: &mut [u8]) -> bool {
        let access = Access {
            write: false,
            fetch: false,
            user: self.hw.cpl() == 3,
        };
        let mut done = 0;
        while done < bytes.len() {
            let at = linear.wrapping_add(done as u64);
            let part = (0x1000 - (at & 0xFFF) as usize).min(bytes.len() - done);
            match self.translate(at, access) {
                Ok(found) => {
                    let piece = &mut bytes[done..done + part];
                    if self.vm.memory.read(found.gpa, piece).is_err() {
                        piece.fill(0xFF);
                    }
                }
                Err(error) => {
                    self.walk_failed(at, error);
                    return false;
                }
            }
            done += part;
        }
        true
    }

    /// Copies to a linear address; a page fault is raised for the guest.
    pub(crate) fn write_linear(&mut self, linear: u64, bytes: &[u8]) -> bool {
        let access = Access {
            write: true,
            fetch: false,
            user: self.hw.cpl() == 3,
        };
        let mut done = 0;
        while done < bytes.len() {
            let at = linear.wrapping_add(done as u64);
            let part = (0x1000 - (at & 0xFFF) as usize).min(bytes.len() - done);
            match self.translate(at, access) {
                // Where there is no memory the bytes are lost, as on a bus.
                Ok(found) => {
                    let _ = self.vm.memory.write(found.gpa, &bytes[done..done + part]);
                }
                Err(error) => {
                    self.walk_failed(at, error);
                    return false;
                }
            }
            done += part;
        }
        true
    }

    /// Raises the page fault that a walk has met.
    pub(crate) fn walk_failed(&mut self, linear: u64, error: WalkError) {
        let code = match error {
            WalkError::PageFault(code) => code,
            WalkError::Missing(_) => 0,
        };
        self.hw.set_control(Control::Cr2, linear);
        self.events.raise(vector::PF, Some(code));
    }
}

#[inline]
fn record(access: &PortAccess, count: u32) -> Io {
    Io {
        direction: if access.write {
            exit::IO_OUT
        } else {
            exit::IO_IN
        },
        size: access.size,
        port: access.port,
        count,
        data_offset: PIO_DATA as u64,
    }
}

#[inline]
const fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * size as u32)
}

const fn address_mask(size: u8) -> u64 {
    match size {
        2 => 0xFFFF,
        4 => 0xFFFF_FFFF,
        _ => u64::MAX,
    }
}

/// Adds within the address size: 16-bit addresses keep the upper bits, 32-bit
/// ones clear them.
const fn add_masked(value: u64, step: u64, mask: u64) -> u64 {
    let sum = value.wrapping_add(step) & mask;
    if mask == 0xFFFF {
        value & !mask | sum
    } else {
        sum
    }
}
