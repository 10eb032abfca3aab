//! A guest in 64-bit mode: [`Guest`]. Memory comes from an address space, as a
//! monitor's would.

use abi::Errno;
use abi::kvm as requests;
use abi::kvm_run::offset;
use abi::kvm_vcpu::{Segment, Sregs};
use abi::kvm_vm::UserspaceMemoryRegion;
use alloc::sync::{Arc, Weak};
use core::ops::Range;
use hal::mem::{Account, Frame};
use kvm::machine::Machine;
use kvm::platform::{Backing, BackingFault, EventFile, Monitor};
use kvm::vcpu::Vcpu;
use kvm::vm::Vm;
use mem::{Access, MapFlags, MapKind, Prot, Space};
use zerocopy::IntoBytes;

/// Where the code stands.
pub const CODE: u64 = 0x1000;
/// Where the interrupt handler stands.
pub const HANDLER: u64 = 0x1800;
/// The interrupt descriptor table.
const IDT: u64 = 0x2000;
/// Page tables: two pages.
const TABLES: u64 = 0x4000;
/// Memory of the guest.
pub const SIZE: u64 = 32 << 20;

struct Behind(Arc<Space>);

impl Backing for Behind {
    fn frame(&self, address: u64, write: bool) -> Result<(Frame, bool), BackingFault> {
        let access = if write { Access::Write } else { Access::Read };
        self.0
            .frame_for(address, access)
            .map_err(|_| BackingFault::Denied)
    }
}

struct Observer(Weak<Vm<Machine>>);

impl mem::Invalidate for Observer {
    fn invalidate(&self, range: Range<u64>) {
        if let Some(vm) = self.0.upgrade() {
            vm.memory.invalidate(range);
        }
    }
}

/// A monitor whose requests carry kernel values: addresses are kernel pointers
/// to nothing, so only requests without memory are made.
pub struct NoMonitor;

impl Monitor for NoMonitor {
    fn read(&self, _address: u64, _bytes: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn write(&self, _address: u64, _bytes: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn event(&self, _fd: i32) -> Result<Arc<dyn EventFile>, Errno> {
        Err(Errno::EBADF)
    }
}

/// A guest with one vCPU.
pub struct Guest {
    pub vm: Arc<Vm<Machine>>,
    pub vcpu: Vcpu<Machine>,
    pub space: Arc<Space>,
    pub memory: u64,
    _observer: Arc<Observer>,
}

/// Something went wrong while a guest was set up.
pub type Setup<T> = Result<T, Errno>;

impl Guest {
    /// A guest that will run `code`.
    pub fn new(code: &[u8], with_chips: bool) -> Setup<Self> {
        let account = Account::kernel();
        let space = Space::new(&account).map_err(|_| Errno::ENOMEM)?;
        let anonymous = MapKind::Anonymous { shared: false };
        let rights = Prot::READ | Prot::WRITE;
        let memory = space.mmap(0, SIZE, rights, anonymous, MapFlags::empty())?;
        let vm = Vm::<Machine>::new(Arc::new(Behind(space.clone())), &account)?;
        let observer = Arc::new(Observer(Arc::downgrade(&vm)));
        let weak: Weak<dyn mem::Invalidate> = Arc::downgrade(&observer) as Weak<_>;
        space.add_observer(weak).map_err(|_| Errno::ENOMEM)?;
        if with_chips {
            vm.request(&NoMonitor, requests::CREATE_IRQCHIP, 0)?;
        }
        vm.memory.set_region(UserspaceMemoryRegion {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: SIZE,
            userspace_addr: memory,
        })?;
        let (vcpu, _) = Vcpu::new(&vm, 0)?;
        let mut guest = Guest {
            vm,
            vcpu,
            space,
            memory,
            _observer: observer,
        };
        guest.load(code)?;
        Ok(guest)
    }

    fn load(&mut self, code: &[u8]) -> Setup<()> {
        let memory = &self.vm.memory;
        memory.write(CODE, code)?;
        memory.write(HANDLER, crate::code::HANDLER)?;
        // One top-level entry, four pages of 1 GiB: all of 4 GiB, identical.
        memory.write(TABLES, (TABLES + 0x1000 | 3).as_bytes())?;
        for gib in 0..4u64 {
            memory.write(TABLES + 0x1000 + gib * 8, (gib << 30 | 0x83).as_bytes())?;
        }
        // Vector 40h: a 64-bit interrupt gate.
        let low = HANDLER & 0xFFFF | 0x08 << 16 | 0x8E00 << 32;
        memory.write(IDT + 0x40 * 16, low.as_bytes())?;
        // A GDT is read by IRETQ: entries 08h and 10h.
        memory.write(0x3008, 0x00AF_9B00_0000_FFFF_u64.as_bytes())?;
        memory.write(0x3010, 0x00CF_9300_0000_FFFF_u64.as_bytes())?;
        self.enter_long_mode()
    }

    fn enter_long_mode(&mut self) -> Setup<()> {
        let mut sregs: Sregs = self.vcpu.sregs();
        let code = Segment {
            limit: 0xFFFF_FFFF,
            selector: 0x08,
            kind: 0xB,
            present: 1,
            s: 1,
            l: 1,
            g: 1,
            ..Segment::default()
        };
        let data = Segment {
            selector: 0x10,
            kind: 3,
            db: 1,
            l: 0,
            ..code
        };
        sregs.cs = code;
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        sregs.cr0 = 0x8000_0011;
        sregs.cr3 = TABLES;
        sregs.cr4 = 0x20;
        sregs.efer = 0x500;
        sregs.idt.base = IDT;
        sregs.idt.limit = 0xFFF;
        sregs.gdt.base = 0x3000;
        sregs.gdt.limit = 0x17;
        self.vcpu.set_sregs(&sregs)?;
        let mut regs = self.vcpu.regs();
        regs.rip = CODE;
        regs.rsp = 0x8000;
        regs.rflags = 2;
        self.vcpu.set_regs(&regs);
        Ok(())
    }

    /// Sets the loop count in R8 and an address in RDI.
    pub fn set(&mut self, count: u64, address: u64) {
        let mut regs = self.vcpu.regs();
        regs.r8 = count;
        regs.rdi = address;
        self.vcpu.set_regs(&regs);
    }

    /// KVM_RUN; the exit reason.
    pub fn run(&mut self) -> Setup<u32> {
        self.vcpu.request(&NoMonitor, requests::RUN, 0)?;
        let page = self.vcpu.page().frame(0).ok_or(Errno::EFAULT)?;
        Ok(page.read_u32(offset::EXIT_REASON))
    }

    /// A word of the exit record.
    pub fn record(&self, at: usize) -> u64 {
        self.vcpu
            .page()
            .frame(0)
            .map_or(0, |page| page.read_u64(offset::EXIT + at))
    }
}
