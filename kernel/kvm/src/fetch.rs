//! The bytes of the instruction that exited. They are fetched once, through the
//! guest's own page tables and the nested table, and everything later works on
//! the copy.

use crate::backend::{Control, SegmentName, VcpuBackend};
use crate::event::Event;
use crate::memory::Present;
use crate::platform::Platform;
use crate::translate::{Access, Paging, Translation, WalkError, translate};
use crate::vcpu::Vcpu;
use emulate::{CodeSize, ControlMove, Fetched, Known, control_move, known_length};
use x86::register::{dr, rflags};

/// The longest instruction.
const LONGEST: usize = 15;
/// What the decoder takes.
const ROOM: usize = 16;
/// Pages that a walk may find missing before the guest is asked again.
const ATTEMPTS: usize = 16;

/// A page of code and where it is in guest-physical memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodePage {
    linear: u64,
    cr3: u64,
    gpa: u64,
}

impl Default for CodePage {
    /// No page: the address is not one of a page.
    fn default() -> Self {
        CodePage {
            linear: 1,
            cr3: 0,
            gpa: 0,
        }
    }
}

/// The length of a named instruction without prefixes, from its first bytes.
#[inline]
fn plain_length(known: Known, word: u64) -> Option<u64> {
    let (opcode, length) = match known {
        Known::Cpuid => (0xA20F, 2),
        Known::Rdmsr => (0x320F, 2),
        Known::Wrmsr => (0x300F, 2),
        Known::Hlt => (0xF4, 1),
        _ => return None,
    };
    let mask = (1 << (8 * length)) - 1;
    (word & mask == opcode).then_some(length)
}

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

    /// The first bytes at RIP up to the next multiple of eight, and how many
    /// they are. The translation is that of the last named instruction if it
    /// stood in the same page under the same CR3: a guest that has mapped
    /// another page there since executes, at worst, an instruction of the same
    /// name in it, as its own TLB might have made it do.
    #[inline]
    fn peek(&mut self, linear: u64) -> Option<(u64, u64)> {
        let cr3 = self.hw.control(Control::Cr3);
        let page = linear & !0xFFF;
        if (self.code_page.linear, self.code_page.cr3) != (page, cr3) {
            self.find_code_page(page, cr3)?;
        }
        let gpa = self.code_page.gpa | linear & 0xFFF;
        let word = self.vm.memory.nested().lock().read_guest_u64(gpa & !7)?;
        let within = gpa & 7;
        Some((word >> (8 * within), 8 - within))
    }

    #[cold]
    fn find_code_page(&mut self, page: u64, cr3: u64) -> Option<()> {
        let gpa = self.translate(page, FETCH).ok()?.gpa;
        self.code_page = CodePage {
            linear: page,
            cr3,
            gpa,
        };
        Some(())
    }

    /// All bytes at RIP, across a page boundary if there is one. Fewer than 15
    /// where the next page has no translation; `None` where none has.
    #[inline]
    pub(crate) fn fetch(&self) -> Option<Fetched> {
        if let Some((bytes, length)) = self.hw.fetched() {
            return Some(Fetched::new(&bytes[..length]));
        }
        match self.fetch_in_page() {
            Some(fetched) => Some(fetched),
            None => self.fetch_slowly(),
        }
    }

    /// The bytes at RIP if they end before the page does and everything on the
    /// way to them is present: one hold of the lock.
    #[inline]
    fn fetch_in_page(&self) -> Option<Fetched> {
        let linear = self.linear_rip();
        // Three aligned words hold 15 bytes wherever they begin.
        if linear & 0xFF8 > 0x1000 - 24 {
            return None;
        }
        let paging = self.paging();
        let table = self.vm.memory.nested().lock();
        let gpa = translate(&Present(&table), &paging, linear, FETCH)
            .ok()?
            .gpa;
        let start = gpa & !7;
        let low = table.read_guest_u64(start)?;
        let middle = table.read_guest_u64(start + 8)?;
        let high = table.read_guest_u64(start + 16)?;
        let shift = 8 * (gpa & 7) as u32;
        let lower = (u128::from(middle) << 64 | u128::from(low)) >> shift;
        let upper = if shift == 0 {
            0
        } else {
            u128::from(high) << (128 - shift)
        };
        Some(Fetched::from_array(
            (lower | upper).to_le_bytes(),
            LONGEST as u8,
        ))
    }

    #[cold]
    fn fetch_slowly(&self) -> Option<Fetched> {
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
        let linear = self.linear_rip();
        if let Some((word, count)) = self.peek(linear)
            && let Some(length) = plain_length(known, word).filter(|&length| length <= count)
        {
            self.skip(length as u8);
            return true;
        }
        self.skip_prefixed(known)
    }

    #[cold]
    fn skip_prefixed(&mut self, known: Known) -> bool {
        let length = self
            .fetch()
            .and_then(|bytes| known_length(known, &bytes, self.code_size()));
        match length {
            Some(length) => {
                self.skip(length);
                true
            }
            None => false,
        }
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
