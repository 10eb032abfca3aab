//! One virtual machine: [`Vm`]. Its memory, its interrupt controllers, its ties
//! to eventfds, its clock; vCPUs hold it, and it ends with the last of them.

use crate::bus::Bus;
use crate::chips::{Chips, IrqFdTie};
use crate::clock::VmClock;
use crate::memory::VmMemory;
use crate::platform::{Backing, Platform};
use crate::shared::request;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering};
use hal::mem::Account;
use sync::{Once, SpinLock};

/// Most vCPUs of a VM.
pub const MAX_VCPUS: usize = 64;
/// vCPU ids (and so APIC ids) are below this.
pub const MAX_VCPU_ID: u32 = 255;

/// A virtual machine.
pub struct Vm<P: Platform> {
    /// Guest-physical memory. The monitor's address space calls its
    /// `invalidate`.
    pub memory: Arc<VmMemory>,
    /// Who pays.
    pub account: Account,
    pub(crate) chips: Once<Arc<Chips>>,
    pub(crate) bus: SpinLock<Arc<Bus>>,
    pub(crate) irqfds: SpinLock<Vec<IrqFdTie>>,
    pub(crate) clock: VmClock,
    pub(crate) boot_cpu: AtomicU32,
    /// Serializes the requests that change the VM.
    pub(crate) changing: wait::Mutex<()>,
    _platform: PhantomData<P>,
}

impl<P: Platform> Vm<P> {
    /// A VM without memory or vCPUs over the monitor's address space.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(backing: Arc<dyn Backing>, account: &Account) -> Result<Arc<Self>, Errno> {
        Ok(Arc::new(Vm {
            memory: Arc::new(VmMemory::new(backing, account)?),
            account: account.clone(),
            chips: Once::new(),
            bus: SpinLock::new(Arc::default()),
            irqfds: SpinLock::new(Vec::new()),
            clock: VmClock::new(),
            boot_cpu: AtomicU32::new(0),
            changing: wait::Mutex::new(()),
            _platform: PhantomData,
        }))
    }

    /// The interrupt controllers, if they are in the kernel.
    #[inline]
    #[must_use]
    pub fn chips(&self) -> Option<&Arc<Chips>> {
        self.chips.get()
    }

    /// Whether the vCPU with this id is the one that starts.
    #[must_use]
    pub fn is_boot_cpu(&self, id: u32) -> bool {
        self.boot_cpu.load(Ordering::Relaxed) == id
    }

    /// Replaces the ties of ports and addresses.
    pub(crate) fn set_bus(&self, bus: Bus) {
        *self.bus.lock() = Arc::new(bus);
        for vcpu in self.memory.vcpus().iter() {
            vcpu.post(request::CONFIG);
        }
    }
}
