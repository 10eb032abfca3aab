//! The bytes of the instruction that exited. They are fetched once, through the
//! guest's own page tables and the nested table, and everything later works on
//! the copy.

use crate::backend::{Control, SegmentName, VcpuBackend};
use crate::event::Event;
use crate::memory::Present;
use crate::platform::Platform;
use crate::translate::{Access, GuestMemory, Paging, Translation, WalkError, translate};
use crate::vcpu::Vcpu;
use emulate::{CodeSize, ControlMove, Fetched, Known, control_move, known_length};
use x86::register::{dr, rflags};

/// The longest instruction.
const LONGEST: usize = 15;
/// What the decoder takes.
const ROOM: usize = 16;
/// Bytes that one quick read fetches: enough for what exits name.
const QUICK: usize = 8;
/// Pages that a walk may find missing before the guest is asked again.
const ATTEMPTS: usize = 16;

const FETCH: Access = Access {
    write: false,
    fetch: false,
    user: false,
};

impl<P: Platform> Vcpu<P> {
    /// The registers that steer a walk.
    #[inline]
    pub(crate) fn paging(&self) -> Paging {
        Paging {
            cr0: self.hw.control(Control::Cr0),
            cr3: self.hw.control(Control::Cr3),
            cr4: self.hw.control(Control::Cr4),
            efer: self.hw.control(Control::Efer),
        }
    }

    /// The size of code at RIP.
    #[inline]
    pub(crate) fn code_size(&self) -> CodeSize {
        let cs = self.hw.segment(SegmentName::Cs);
        if cs.is_long() && self.hw.control(Control::Efer) & x86::register::efer::LMA != 0 {
            CodeSize::Bits64
        } else if cs.is_big() {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        }
    }

    /// The linear address of RIP.
    #[inline]
    pub(crate) fn linear_rip(&self) -> u64 {
        match self.code_size() {
            CodeSize::Bits64 => self.hw.rip(),
            _ => {
                let base = self.hw.segment(SegmentName::Cs).base;
                base.wrapping_add(self.hw.rip()) & 0xFFFF_FFFF
            }
        }
    }

    /// Translates a linear address, making the guest's page tables present in
    /// the nested table as needed.
    pub(crate) fn translate(&self, linear: u64, access: Access) -> Result<Translation, WalkError> {
        let paging = self.paging();
        let mut attempts = 0;
        loop {
            let found = {
                let table = self.vm.memory.nested().lock();
                translate(&Present(&table), &paging, linear, access)
            };
            match found {
                Err(WalkError::Missing(missing)) if attempts < ATTEMPTS => {
                    attempts += 1;
                    if self
                        .vm
                        .memory
                        .populate(&self.slots, missing.gpa, false)
                        .is_err()
                    {
                        return found;
                    }
                }
                found => return found,
            }
        }
    }

    /// The first bytes at RIP, at most eight and not beyond the page: one hold
    /// of the lock, no populating.
    #[inline]
    fn fetch_quick(&self) -> Option<Fetched> {
        let linear = self.linear_rip();
        let paging = self.paging();
        let table = self.vm.memory.nested().lock();
        let memory = Present(&table);
        let gpa = translate(&memory, &paging, linear, FETCH).ok()?.gpa;
        if gpa & 0xFFF > 0x1000 - QUICK as u64 {
            return None;
        }
        let mut bytes = [0; ROOM];
        memory.read(gpa, &mut bytes[..QUICK]).ok()?;
        Some(Fetched::from_array(bytes, QUICK as u8))
    }

    /// All bytes at RIP, across a page boundary if there is one. Fewer than 15
    /// where the next page has no translation; `None` where none has.
    pub(crate) fn fetch(&self) -> Option<Fetched> {
        if let Some((bytes, length)) = self.hw.fetched() {
            return Some(Fetched::new(&bytes[..length]));
        }
        let linear = self.linear_rip();
        let mut bytes = [0; ROOM];
        let mut done = 0;
        while done < LONGEST {
            let at = linear.wrapping_add(done as u64);
            let Ok(found) = self.translate(at, FETCH) else {
                break;
            };
            let room = 0x1000 - (found.gpa & 0xFFF) as usize;
            let part = room.min(LONGEST - done);
            if self
                .vm
                .memory
                .read(found.gpa, &mut bytes[done..done + part])
                .is_err()
            {
                break;
            }
            done += part;
        }
        (done > 0).then(|| Fetched::from_array(bytes, done as u8))
    }

    /// Moves RIP behind the instruction that exited, whose opcode is known.
    /// `false`: the bytes say otherwise now; the guest executes them again.
    #[inline]
    pub(crate) fn skip_known(&mut self, known: Known) -> bool {
        if let Some(next) = self.hw.next_rip() {
            self.skip_to(next);
            return true;
        }
        let size = self.code_size();
        let quick = self
            .fetch_quick()
            .and_then(|bytes| known_length(known, &bytes, size));
        let length = match quick {
            Some(length) => length,
            None => {
                let Some(bytes) = self.fetch() else {
                    return false;
                };
                let Some(length) = known_length(known, &bytes, size) else {
                    return false;
                };
                length
            }
        };
        self.skip(length);
        true
    }

    /// Decodes a move to or from a control or debug register.
    pub(crate) fn decode_control_move(&self, known: Known) -> Option<ControlMove> {
        control_move(known, &self.fetch()?, self.code_size())
    }

    /// Moves RIP behind an instruction of this length.
    #[inline]
    pub(crate) fn skip(&mut self, length: u8) {
        let next = self.hw.rip().wrapping_add(u64::from(length));
        let next = match self.code_size() {
            CodeSize::Bits64 => next,
            CodeSize::Bits32 => next & 0xFFFF_FFFF,
            CodeSize::Bits16 => next & 0xFFFF,
        };
        self.skip_to(next);
    }

    /// Ends an instruction: RIP, the interrupt shadow, a single step.
    #[inline]
    pub(crate) fn skip_to(&mut self, next: u64) {
        self.hw.set_rip(next);
        self.hw.set_shadow(false);
        if self.hw.rflags() & rflags::TF != 0 {
            let dr6 = self.hw.control(Control::Dr6);
            self.hw.set_control(Control::Dr6, dr6 | dr::DR6_BS);
            self.events.put_back(Event::Exception {
                vector: x86::vector::DB,
                error: None,
            });
        }
    }
}
