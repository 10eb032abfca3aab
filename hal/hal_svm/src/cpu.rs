//! What each CPU needs before it can run guests: [`enable`]. Also what it
//! remembers between entries: address space identifiers, and which values are
//! loaded into registers that VMRUN leaves alone. APM volume 2, 15.4, 15.30.4.

use crate::asid::{AsidPool, Taken};
use crate::detect::{Features, Unavailable, detect};
use crate::instruction::{rdmsr, vmsave, wrmsr, xgetbv};
use crate::permission_map::{self, MSR_MAP_SIZE, PORT_MAP_SIZE};
use core::cell::Cell;
use hal::mem::{Account, Frame, OutOfMemory};
use sync::{MAX_CPUS, Once};
use x86::cpuid::Answer;
use x86::msr;
use x86::register::efer;

/// One CPU's part. Only that CPU touches it, with interrupts off.
pub(crate) struct SvmCpu {
    pub(crate) host_page: Frame,
    /// The processor's own: never touched.
    _save_area: Frame,
    pub(crate) host_xcr0: u64,
    pub(crate) asids: Cell<AsidPool>,
    pub(crate) tsc_aux: Cell<u64>,
}

struct Slot(Once<SvmCpu>);

// SAFETY: the cells inside are touched by the CPU whose slot it is, with
// interrupts off; the frames are only read.
unsafe impl Sync for Slot {}

static CPUS: [Slot; MAX_CPUS] = [const { Slot(Once::new()) }; MAX_CPUS];
static HOST: Once<Host> = Once::new();

/// What all CPUs share.
pub(crate) struct Host {
    pub(crate) features: Features,
    /// Held so that the maps stay.
    _port_map: Frame,
    _msr_map: Frame,
    pub(crate) port_map: u64,
    pub(crate) msr_map: u64,
}

/// Why this CPU cannot be made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnableError {
    /// The hardware cannot.
    Unavailable(Unavailable),
    /// No XSAVE, with which a guest's extended state is kept apart.
    NoXsave,
    /// No memory for its pages.
    OutOfMemory,
}

impl From<OutOfMemory> for EnableError {
    fn from(_: OutOfMemory) -> Self {
        EnableError::OutOfMemory
    }
}

impl core::fmt::Display for EnableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            EnableError::Unavailable(reason) => reason.fmt(f),
            EnableError::NoXsave => f.write_str(
                "this CPU has no XSAVE (CPUID 1 ECX bit 26 is clear): it cannot run VMs",
            ),
            EnableError::OutOfMemory => f.write_str("no memory to make this CPU ready for VMs"),
        }
    }
}

/// Executes CPUID.
#[must_use]
pub fn cpuid(function: u32, index: u32) -> Answer {
    let found = core::arch::x86_64::__cpuid_count(function, index);
    Answer {
        eax: found.eax,
        ebx: found.ebx,
        ecx: found.ecx,
        edx: found.edx,
    }
}

/// Makes the CPU that runs this ready for guests.
///
/// # Errors
/// The reason why it cannot run guests; the CPU is as before.
pub fn enable() -> Result<Features, EnableError> {
    if !hal::cpu::features().xsave {
        return Err(EnableError::NoXsave);
    }
    // SAFETY: `detect` asks for VM_CR only where CPUID shows SVM.
    let features = detect(|leaf| cpuid(leaf, 0), || unsafe { rdmsr(msr::VM_CR) })
        .map_err(EnableError::Unavailable)?;
    if this().is_some() {
        // The processor has its pages, which must stay.
        return Ok(features);
    }
    if HOST.get().is_none() {
        let _ = HOST.set(host(features)?);
    }
    let account = Account::kernel();
    let save_area = Frame::zeroed(&account)?;
    let host_page = Frame::zeroed(&account)?;
    // SAFETY: SVM exists and is not disabled; the save area is a frame that
    // nobody else uses and that lives as long as the slot, that is for ever.
    // TSC_AUX comes with SVM; OSXSAVE is set by the boot of each CPU.
    let (host_xcr0, tsc_aux) = unsafe {
        wrmsr(msr::EFER, rdmsr(msr::EFER) | efer::SVME);
        wrmsr(msr::VM_HSAVE_PA, save_area.phys().0);
        wrmsr(msr::TSC_AUX, 0);
        vmsave(host_page.phys().0);
        (xgetbv(), 0)
    };
    let asids = Cell::new(AsidPool::new(features.asids));
    let tsc_aux = Cell::new(tsc_aux);
    let cpu = SvmCpu {
        host_page,
        _save_area: save_area,
        host_xcr0,
        asids,
        tsc_aux,
    };
    let _ = CPUS[hal::cpu::id()].0.set(cpu);
    Ok(features)
}

fn host(features: Features) -> Result<Host, OutOfMemory> {
    let account = Account::kernel();
    // 12 KiB and 8 KiB, contiguous: 4 and 2 frames.
    let port_map = Frame::alloc_order(2, &account)?;
    let msr_map = Frame::alloc_order(1, &account)?;
    let ones = [0xFF; 4096];
    for offset in (0..PORT_MAP_SIZE).step_by(ones.len()) {
        port_map.write(offset, &ones);
    }
    let mut map = [0xFF; MSR_MAP_SIZE];
    permission_map::pass_msrs(&mut map);
    msr_map.write(0, &map);
    let (ports, msrs) = (port_map.phys().0, msr_map.phys().0);
    Ok(Host {
        features,
        _port_map: port_map,
        _msr_map: msr_map,
        port_map: ports,
        msr_map: msrs,
    })
}

/// What all CPUs share, once one of them is ready.
#[inline]
pub(crate) fn shared() -> Option<&'static Host> {
    HOST.get()
}

/// The part of the CPU that runs this, if it is ready.
#[inline]
pub(crate) fn this() -> Option<&'static SvmCpu> {
    CPUS[hal::cpu::id()].0.get()
}

/// What the CPUs offer, once one of them is ready.
#[must_use]
pub fn features() -> Option<Features> {
    HOST.get().map(|host| host.features)
}

impl SvmCpu {
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.asids.get().generation()
    }

    pub(crate) fn take_asid(&self) -> Taken {
        let mut pool = self.asids.get();
        let taken = pool.take();
        self.asids.set(pool);
        taken
    }
}
