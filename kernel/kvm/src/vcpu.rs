//! One virtual CPU: [`Vcpu`], everything that only the thread inside one of its
//! requests touches. What others touch is in [`crate::shared`]. The files
//! `run`, `deliver`, `instruction`, `port`, `fault` and `msr` are its behaviour
//! while the guest runs; `state` is what the monitor reads and writes.

use crate::backend::{Control, SegmentName, VcpuBackend, gpr};
use crate::bus::Bus;
use crate::clock::PvClock;
use crate::cpuid::CpuidTable;
use crate::event::{Event, EventQueue};
use crate::fetch::CodePage;
use crate::memory::VcpuList;
use crate::msr::StoredMsrs;
use crate::pending::Pending;
use crate::platform::Platform;
use crate::run_page::RunPage;
use crate::shared::VcpuShared;
use crate::slots::Slots;
use crate::vm::{MAX_VCPU_ID, MAX_VCPUS, Vm};
use abi::Errno;
use abi::kvm::mp_state;
use alloc::boxed::Box;
use alloc::sync::Arc;
use hal::fpu::FpuArea;
use irqchip::{DestinationMap, Lapic};
use wait::TimerId;
use x86::register::{cr0, dr, rflags};
use x86::segment::Segment;

/// A virtual CPU.
pub struct Vcpu<P: Platform> {
    /// The processor's part.
    pub(crate) hw: P::Hardware,
    pub(crate) shared: Arc<VcpuShared>,
    pub(crate) vm: Arc<Vm<P>>,
    pub(crate) events: EventQueue,
    /// What the backend delivers at the entry under way.
    pub(crate) injected: Option<Event>,
    /// With interrupt controllers in the kernel.
    pub(crate) lapic: Option<Box<Lapic>>,
    /// [`mp_state`].
    pub(crate) mp: u32,
    pub(crate) sipi_page: u8,
    pub(crate) cpuid: CpuidTable,
    pub(crate) msrs: StoredMsrs,
    pub(crate) clock: PvClock,
    pub(crate) pending: Pending,
    pub(crate) fpu: Arc<FpuArea>,
    /// KVM_INTERRUPT's, without interrupt controllers in the kernel.
    pub(crate) external: Option<u8>,
    /// An exit is asked for when an interrupt can be taken.
    pub(crate) window_open: bool,
    pub(crate) watches_priority: bool,
    /// The monitor's window request at this entry.
    pub(crate) window_wanted: bool,
    pub(crate) timer: Option<TimerId>,
    /// SET_SIGNAL_MASK's.
    pub(crate) signal_mask: Option<u64>,
    /// SET_GUEST_DEBUG's control word.
    pub(crate) debug: u32,
    /// Where the code of the last named instruction was.
    pub(crate) code_page: CodePage,
    // Snapshots, renewed when told.
    pub(crate) slots: Arc<Slots>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) destinations: Arc<DestinationMap>,
    pub(crate) vcpus: VcpuList,
}

impl<P: Platform> Vcpu<P> {
    /// CREATE_VCPU.
    ///
    /// # Errors
    /// EINVAL for an id that is too large, EEXIST, E2BIG when there are too
    /// many, ENOMEM.
    pub fn new(vm: &Arc<Vm<P>>, id: u32) -> Result<(Self, Arc<VcpuShared>), Errno> {
        if id >= MAX_VCPU_ID {
            return Err(Errno::EINVAL);
        }
        let _changing = vm.changing.lock();
        let hw = P::hardware(vm.memory.nested(), &vm.account)?;
        let fpu = FpuArea::new().map_err(|_| Errno::ENOMEM)?;
        let page = RunPage::new(&vm.account)?;
        let shared = vm.memory.add_vcpu(|others| {
            if others.iter().any(|other| other.id == id) {
                return Err(Errno::EEXIST);
            }
            if others.len() >= MAX_VCPUS {
                return Err(Errno::E2BIG);
            }
            Ok(Arc::new(VcpuShared::new(id, others.len() as u8, page)))
        })?;
        let mut vcpu = Vcpu {
            hw,
            shared: shared.clone(),
            vm: vm.clone(),
            events: EventQueue::default(),
            injected: None,
            lapic: None,
            mp: mp_state::RUNNABLE,
            sipi_page: 0,
            cpuid: CpuidTable::default(),
            msrs: StoredMsrs::default(),
            clock: PvClock::default(),
            pending: Pending::None,
            fpu,
            external: None,
            window_open: false,
            watches_priority: false,
            window_wanted: false,
            timer: None,
            signal_mask: None,
            debug: 0,
            code_page: CodePage::default(),
            slots: Arc::default(),
            bus: Arc::default(),
            destinations: Arc::default(),
            vcpus: Arc::default(),
        };
        vcpu.create_lapic();
        vcpu.reset();
        vcpu.hw.set_tsc_offset(vcpu.first_tsc_offset());
        vcpu.renew();
        Ok((vcpu, shared))
    }

    fn create_lapic(&mut self) {
        let Some(chips) = self.vm.chips() else { return };
        let is_boot = self.vm.is_boot_cpu(self.shared.id);
        let mut lapic = Box::new(Lapic::new(self.shared.id, is_boot));
        lapic.offer(true, true);
        self.shared.set_identity(lapic.identity());
        self.lapic = Some(lapic);
        if !is_boot {
            self.mp = mp_state::UNINITIALIZED;
        }
        chips.rebuild(self.vm.memory.vcpus());
    }

    /// Guests count from the VM's creation.
    fn first_tsc_offset(&self) -> u64 {
        self.vm
            .clock
            .tsc_start
            .load(core::sync::atomic::Ordering::Relaxed)
            .wrapping_neg()
    }

    /// Takes new snapshots of what the VM's other parts have changed.
    pub(crate) fn renew(&mut self) {
        self.slots = self.vm.memory.slots();
        self.bus = self.vm.bus.lock().clone();
        self.vcpus = self.vm.memory.vcpus();
        if let Some(chips) = self.vm.chips() {
            self.destinations = chips.destinations();
        }
    }

    /// The state after power-up or INIT (APM volume 2, table 14-1).
    pub(crate) fn reset(&mut self) {
        let hw = &mut self.hw;
        *hw.gprs_mut() = [0; 16];
        // Family 17h, model 1: what EDX tells after reset.
        hw.gprs_mut()[gpr::RDX] = 0x0080_0F12;
        hw.set_rip(0xFFF0);
        hw.set_rflags(rflags::FIXED);
        for name in [SegmentName::Es, SegmentName::Ss, SegmentName::Ds] {
            hw.set_segment(name, Segment::reset_data());
        }
        hw.set_segment(SegmentName::Fs, Segment::reset_data());
        hw.set_segment(SegmentName::Gs, Segment::reset_data());
        hw.set_segment(SegmentName::Cs, Segment::reset_code());
        hw.set_segment(SegmentName::Ldtr, Segment::reset_ldt());
        hw.set_segment(SegmentName::Tr, Segment::reset_task());
        hw.set_segment(SegmentName::Gdtr, Segment::reset_table());
        hw.set_segment(SegmentName::Idtr, Segment::reset_table());
        hw.set_cpl(0);
        hw.set_control(Control::Cr0, cr0::RESET);
        for control in [Control::Cr2, Control::Cr3, Control::Cr4, Control::Efer] {
            hw.set_control(control, 0);
        }
        hw.set_control(Control::Dr6, dr::DR6_RESET);
        hw.set_control(Control::Dr7, dr::DR7_RESET);
        hw.set_control(Control::Pat, x86::msr::PAT_RESET);
        *hw.breakpoints_mut() = [0; 4];
        hw.set_shadow(false);
        hw.set_xcr0(1);
        hw.set_task_priority(0);
        hw.watch_nmi_return(false);
        self.events = EventQueue::default();
        self.external = None;
        hw.flush();
    }

    /// What a start-up message does to a vCPU that waits for it.
    pub(crate) fn start_up(&mut self, page: u8) {
        self.hw
            .set_segment(SegmentName::Cs, Segment::startup_code(page));
        self.hw.set_rip(0);
        self.mp = mp_state::RUNNABLE;
    }

    /// The pages shared with the monitor.
    #[must_use]
    pub fn page(&self) -> &RunPage {
        &self.shared.page
    }

    /// The guest's TSC now.
    pub(crate) fn guest_tsc(&self) -> u64 {
        hal::time::tsc().wrapping_add(self.hw.tsc_offset())
    }
}

impl<P: Platform> Drop for Vcpu<P> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            wait::scheduler().cancel(timer);
        }
    }
}
