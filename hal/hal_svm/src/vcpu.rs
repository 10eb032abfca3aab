//! One virtual CPU of the hardware: [`HardwareVcpu`]. It owns the VMCB and keeps
//! what the kernel may not get wrong: the intercepts, the permission maps and
//! the nested table. Everything else of the VMCB is the guest's own state, in
//! which any value is safe: the processor refuses what it cannot load.

use crate::asid::Asid;
use crate::cpu::{self, SvmCpu};
use crate::instruction::{load_breakpoints, vmsave, wrmsr, xgetbv, xsetbv};
use crate::page::Page;
use crate::switch::world_switch;
use crate::xcr0;
use alloc::sync::Arc;
use hal::mem::{Account, NestedTable, OutOfMemory};
use sync::SpinLock;
use x86::cpuid::svm_edx;
use x86::msr;
use x86::register::{cr4, dr, efer};
use x86::vector;
use x86::vmcb::{Save, event, intercept1, intercept2, tlb_control, vintr};

/// The nested table that the vCPUs of one VM share.
pub type Nested = Arc<SpinLock<NestedTable>>;

/// CR8 writes, in `Control::intercept_cr`.
const WRITE_CR8: u32 = 1 << (16 + 8);

/// What always exits: physical events, what would leave the guest, and what
/// the kernel emulates.
const INTERCEPT1: u32 = intercept1::INTR
    | intercept1::NMI
    | intercept1::SMI
    | intercept1::INIT
    | intercept1::RDPMC
    | intercept1::CPUID
    | intercept1::RSM
    | intercept1::INVD
    | intercept1::HLT
    | intercept1::INVLPGA
    | intercept1::IOIO
    | intercept1::MSR
    | intercept1::TASK_SWITCH
    | intercept1::FERR_FREEZE
    | intercept1::SHUTDOWN;

const INTERCEPT2: u32 = intercept2::VMRUN
    | intercept2::VMMCALL
    | intercept2::VMLOAD
    | intercept2::VMSAVE
    | intercept2::STGI
    | intercept2::CLGI
    | intercept2::SKINIT
    | intercept2::WBINVD
    | intercept2::MONITOR
    | intercept2::MWAIT
    | intercept2::MWAIT_ARMED
    | intercept2::XSETBV
    | intercept2::RDPRU;

/// #DB and #AC, see [`HardwareVcpu::watch_exceptions`].
const ENDLESS: u32 = 1 << vector::DB | 1 << vector::AC;

/// Spins before a guest that executes PAUSE in a loop exits.
const PAUSE_COUNT: u16 = 3000;
const PAUSE_THRESHOLD: u16 = 128;

/// What the hardware said about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawExit {
    /// [`x86::svm_exit`] code.
    pub code: u64,
    /// EXITINFO1.
    pub info1: u64,
    /// EXITINFO2.
    pub info2: u64,
}

/// Exits that the kernel switches on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The guest can take a virtual interrupt.
    Window,
    /// MOV to CR8.
    WriteCr8,
    /// IRET.
    Iret,
}

/// One virtual CPU.
pub struct HardwareVcpu {
    vmcb: Page,
    /// RAX to R15 as instructions number them.
    pub gprs: [u64; 16],
    /// DR0 to DR3.
    pub breakpoints: [u64; 4],
    xcr0: u64,
    tsc_aux: u32,
    /// What the guest's TSC is ahead of the host's.
    tsc_offset: u64,
    asid: Asid,
    asid_cpu: usize,
    flush: bool,
    host_saved: bool,
    has_next_rip: bool,
    has_bytes: bool,
    /// Held so that the table outlives every entry.
    _nested: Nested,
}

impl HardwareVcpu {
    /// A virtual CPU over a VM's nested table; `None` where no CPU is ready.
    pub fn new(nested: &Nested, account: &Account) -> Result<Option<Self>, OutOfMemory> {
        let Some(host) = cpu::shared() else {
            return Ok(None);
        };
        let mut vmcb = Page::new(account)?;
        let control = &mut vmcb.control;
        control.intercept1 = INTERCEPT1;
        control.intercept2 = INTERCEPT2;
        control.intercept_dr = 0x00FF_00FF;
        control.iopm_base_pa = host.port_map;
        control.msrpm_base_pa = host.msr_map;
        control.vintr = vintr::MASKING;
        control.intercept_exceptions = ENDLESS;
        control.np_enable = 1;
        control.nested_cr3 = nested.lock().root_phys();
        if host.features.has(svm_edx::PAUSE_FILTER) {
            control.intercept1 |= intercept1::PAUSE;
            control.pause_filter_count = PAUSE_COUNT;
            control.pause_filter_threshold = PAUSE_THRESHOLD;
        }
        vmcb.save.efer = efer::SVME;
        Ok(Some(HardwareVcpu {
            vmcb,
            gprs: [0; 16],
            breakpoints: [0; 4],
            xcr0: 1,
            tsc_aux: 0,
            tsc_offset: 0,
            asid: Asid::default(),
            asid_cpu: usize::MAX,
            flush: true,
            host_saved: false,
            has_next_rip: host.features.has(svm_edx::NRIP),
            has_bytes: host.features.has(svm_edx::DECODE_ASSISTS),
            _nested: nested.clone(),
        }))
    }

    /// The guest's state. EFER.SVME is set in it at each entry.
    #[inline]
    pub fn save(&self) -> &Save {
        &self.vmcb.save
    }

    /// The guest's state, to change.
    #[inline]
    pub fn save_mut(&mut self) -> &mut Save {
        &mut self.vmcb.save
    }

    /// Sets the event to deliver at the next entry, in VMCB format.
    #[inline]
    pub fn set_event(&mut self, bits: u64) {
        self.vmcb.control.event_injection = bits;
    }

    /// The event whose delivery the last exit cut short, in VMCB format.
    #[inline]
    pub fn take_interrupted(&mut self) -> Option<u64> {
        let bits = self.vmcb.control.exit_int_info;
        if bits & event::VALID == 0 {
            return None;
        }
        self.vmcb.control.exit_int_info = 0;
        Some(bits)
    }

    /// Whether interrupts are held off for one instruction.
    #[inline]
    pub fn shadow(&self) -> bool {
        self.vmcb.control.interrupt_shadow & 1 != 0
    }

    /// Sets or ends the interrupt shadow.
    #[inline]
    pub fn set_shadow(&mut self, shadow: bool) {
        self.vmcb.control.interrupt_shadow = u64::from(shadow);
    }

    /// CR8.
    #[inline]
    pub fn task_priority(&self) -> u8 {
        (self.vmcb.control.vintr & vintr::TPR) as u8
    }

    /// Sets CR8.
    #[inline]
    pub fn set_task_priority(&mut self, priority: u8) {
        let control = &mut self.vmcb.control;
        control.vintr = (control.vintr & !vintr::TPR) | (u64::from(priority) & vintr::TPR);
    }

    /// What is added to the host's TSC.
    #[inline]
    pub fn tsc_offset(&self) -> u64 {
        self.tsc_offset
    }

    /// Sets what is added to the host's TSC.
    #[inline]
    pub fn set_tsc_offset(&mut self, offset: u64) {
        self.tsc_offset = offset;
        self.correct_tsc();
    }

    /// The host's TSC is the corrected one; the processor adds to its own.
    fn correct_tsc(&mut self) {
        let correction = hal::time::tsc_offset_of(self.asid_cpu);
        self.vmcb.control.tsc_offset = self.tsc_offset.wrapping_add(correction);
    }

    /// Switches an exit on or off.
    #[inline]
    pub fn watch(&mut self, what: Watch, on: bool) {
        let control = &mut self.vmcb.control;
        match what {
            Watch::Window => {
                // A virtual interrupt of the highest priority that never gets
                // delivered: its exit comes first.
                let request = vintr::IRQ | 0xF << vintr::PRIORITY_SHIFT | vintr::IGNORE_TPR;
                control.vintr = if on {
                    control.vintr | request
                } else {
                    control.vintr & !request
                };
                set_bit(&mut control.intercept1, intercept1::VINTR, on);
            }
            Watch::WriteCr8 => set_bit(&mut control.intercept_cr, WRITE_CR8, on),
            Watch::Iret => set_bit(&mut control.intercept1, intercept1::IRET, on),
        }
    }

    /// Exits for the exceptions in this bit set, and for #DB and #AC always: their
    /// delivery can raise them again, for ever, with interrupts held off.
    pub fn watch_exceptions(&mut self, vectors: u32) {
        self.vmcb.control.intercept_exceptions = vectors | ENDLESS;
    }

    /// XCR0 while the guest runs.
    #[inline]
    pub fn xcr0(&self) -> u64 {
        self.xcr0
    }

    /// Sets XCR0. A value that the host's own XCR0 does not allow is refused: what
    /// the host does not save would stay for the next guest.
    pub fn set_xcr0(&mut self, value: u64) -> bool {
        let is_good = cpu::this().is_some_and(|cpu| xcr0::is_loadable(value, cpu.host_xcr0));
        if is_good {
            self.xcr0 = value;
        }
        is_good
    }

    /// TSC_AUX while the guest runs.
    #[inline]
    pub fn tsc_aux(&self) -> u32 {
        self.tsc_aux
    }

    /// Sets TSC_AUX.
    pub fn set_tsc_aux(&mut self, value: u32) {
        self.tsc_aux = value;
    }

    /// The instruction after the one that exited, where the processor tells.
    #[inline]
    pub fn next_rip(&self) -> Option<u64> {
        let next = self.vmcb.control.next_rip;
        (self.has_next_rip && next != 0).then_some(next)
    }

    /// Bytes of the instruction that exited, where the processor tells.
    #[inline]
    pub fn fetched(&self) -> Option<([u8; 15], usize)> {
        let length = usize::from(self.vmcb.control.fetched_length & 0xF);
        (self.has_bytes && length != 0).then_some((self.vmcb.control.fetched_bytes, length))
    }

    /// Forget this guest's translations before the next entry.
    #[inline]
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// This thread was, or may have been, switched out since the last entry.
    #[inline]
    pub fn resumed(&mut self) {
        self.host_saved = false;
    }

    /// Runs the guest until its next exit; `None` if this CPU is not ready.
    /// Interrupts are off before and after, and taken in between.
    #[inline]
    pub fn enter(&mut self) -> Option<RawExit> {
        let cpu = cpu::this()?;
        self.prepare(cpu);
        // Without CR4.OSXSAVE a guest sees nothing of XCR0.
        let sees_xcr0 = self.vmcb.save.cr4 & cr4::OSXSAVE != 0;
        let loaded = if sees_xcr0 { self.xcr0 } else { cpu.host_xcr0 };
        // SAFETY: `set_xcr0` lets in what this CPU can load; the host's value is
        // back right after the switch, before anything saves extended state. The VMCB is ours, its maps and
        // its nested table live as long as `self`, its intercepts are the
        // constants above; the host page was stored by `prepare`.
        unsafe {
            if loaded != cpu.host_xcr0 {
                xsetbv(loaded);
            }
            world_switch(
                self.gprs.as_mut_ptr(),
                self.vmcb.phys(),
                cpu.host_page.phys().0,
            );
            // Emulated processors are known that let a guest execute XSETBV in
            // spite of the intercept: what is loaded now is what it sees.
            let left = xgetbv();
            if self.vmcb.save.cr4 & cr4::OSXSAVE != 0 && xcr0::is_loadable(left, cpu.host_xcr0) {
                self.xcr0 = left;
            }
            if left != cpu.host_xcr0 {
                xsetbv(cpu.host_xcr0);
            }
        }
        self.gprs[0] = self.vmcb.save.rax;
        self.gprs[4] = self.vmcb.save.rsp;
        let control = &mut self.vmcb.control;
        // The event of this entry has gone in, or is told in `exit_int_info`.
        control.event_injection = 0;
        Some(RawExit {
            code: control.exit_code,
            info1: control.exit_info1,
            info2: control.exit_info2,
        })
    }

    #[inline]
    fn prepare(&mut self, cpu: &'static SvmCpu) {
        self.vmcb.save.rax = self.gprs[0];
        self.vmcb.save.rsp = self.gprs[4];
        self.vmcb.save.efer |= efer::SVME;
        let id = hal::cpu::id();
        let stale = self.asid.generation != cpu.generation() || self.asid_cpu != id;
        if !self.host_saved || self.asid_cpu != id {
            self.host_saved = true;
            // SAFETY: the page is this CPU's own.
            unsafe { vmsave(cpu.host_page.phys().0) }
        }
        if self.flush || stale {
            self.renew_asid(cpu, id);
        } else {
            self.vmcb.control.tlb_control = tlb_control::NOTHING;
        }
        if self.vmcb.save.dr7 & dr::DR7_ENABLES != 0 {
            // SAFETY: the kernel sets no breakpoints; an exit disables them.
            unsafe { load_breakpoints(&self.breakpoints) }
        }
        if cpu.tsc_aux.get() != u64::from(self.tsc_aux) {
            cpu.tsc_aux.set(u64::from(self.tsc_aux));
            // SAFETY: TSC_AUX exists with SVM; the kernel does not read it.
            unsafe { wrmsr(msr::TSC_AUX, u64::from(self.tsc_aux)) }
        }
    }

    /// A fresh identifier has no translations: that is the flush.
    #[cold]
    fn renew_asid(&mut self, cpu: &SvmCpu, id: usize) {
        let taken = cpu.take_asid();
        self.flush = false;
        self.asid = taken.asid;
        self.asid_cpu = id;
        self.correct_tsc();
        let control = &mut self.vmcb.control;
        control.asid = taken.asid.number;
        control.tlb_control = if taken.flush_all {
            tlb_control::ALL
        } else {
            tlb_control::NOTHING
        };
    }
}

#[inline]
fn set_bit(word: &mut u32, bit: u32, on: bool) {
    *word = if on { *word | bit } else { *word & !bit };
}
