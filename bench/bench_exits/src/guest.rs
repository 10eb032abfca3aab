//! A VM with one vCPU in 64-bit mode: [`Guest`].

use std::error::Error;
use std::io;
use std::ops::Range;
use std::ptr;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use crate::code::{END_PORT, HANDLER, Loop, VECTOR};

/// How much memory it has.
pub const MEMORY: u64 = 32 << 20;
/// The same as a length here.
const LENGTH: usize = MEMORY as usize;
/// Where its code stands.
const CODE: usize = 0x1000;
/// Where the interrupt handler stands.
const HANDLER_AT: usize = 0x1800;
/// Its interrupt descriptors.
const IDT: usize = 0x2000;
/// Its segment descriptors.
const GDT: usize = 0x3000;
/// Its page tables: two pages.
const TABLES: usize = 0x4000;
/// Where its stack begins, downwards.
const STACK: u64 = 0x8000;

/// A guest that does one thing in rounds.
pub struct Guest {
    /// Its processor.
    pub vcpu: VcpuFd,
    /// The VM.
    pub vm: VmFd,
    memory: *mut u8,
}

impl Guest {
    /// A guest that does `what`, `times` in a round, with `address` in RDI.
    pub fn new(what: &Loop, times: u32, address: u64) -> Result<Guest, Box<dyn Error>> {
        let kvm = Kvm::new()?;
        let vm = kvm.create_vm()?;
        vm.create_irq_chip()?;
        let memory = map()?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY,
            userspace_addr: memory as u64,
        };
        // SAFETY: the mapping is as long as the VM, and nobody holds references into it.
        unsafe { vm.set_user_memory_region(region)? };
        let vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
        let mut guest = Guest { vcpu, vm, memory };
        guest.load(&what.code(times));
        guest.enter_long_mode(address)?;
        Ok(guest)
    }

    /// Runs until the guest says that its round is over.
    pub fn round(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            match self.vcpu.run()? {
                VcpuExit::IoOut(port, _) if port == u16::from(END_PORT) => return Ok(()),
                VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) => {}
                VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0x5A),
                other => return Err(format!("the guest left with {other:?}").into()),
            }
        }
    }

    /// Touches every page of a range, as a monitor does that fills it.
    pub fn touch(&mut self, range: Range<u64>) {
        for offset in range.step_by(4096) {
            self.write(offset as usize, &[1]);
        }
    }

    fn load(&mut self, code: &[u8]) {
        self.write(CODE, code);
        self.write(HANDLER_AT, HANDLER);
        // One entry of the first level; four of the second: 4 GiB, each address itself.
        self.write(TABLES, &((TABLES as u64 + 0x1000) | 3).to_le_bytes());
        for gib in 0..4_usize {
            let entry = (gib as u64) << 30 | 0x83;
            self.write(TABLES + 0x1000 + gib * 8, &entry.to_le_bytes());
        }
        // A 64-bit interrupt gate.
        let gate = HANDLER_AT as u64 | 0x08 << 16 | 0x8E00 << 32;
        self.write(IDT + usize::from(VECTOR) * 16, &gate.to_le_bytes());
        // IRETQ reads the descriptors of code and data.
        self.write(GDT + 0x08, &0x00AF_9B00_0000_FFFF_u64.to_le_bytes());
        self.write(GDT + 0x10, &0x00CF_9300_0000_FFFF_u64.to_le_bytes());
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= LENGTH,
            "{offset:#x} is not in the VM's memory"
        );
        // SAFETY: inside the mapping, as just checked; the guest does not run.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.add(offset), bytes.len()) };
    }

    fn enter_long_mode(&mut self, address: u64) -> Result<(), Box<dyn Error>> {
        let mut sregs = self.vcpu.get_sregs()?;
        let code = kvm_segment {
            limit: 0xFFFF_FFFF,
            selector: 0x08,
            type_: 0xB,
            present: 1,
            s: 1,
            l: 1,
            g: 1,
            ..kvm_segment::default()
        };
        let data = kvm_segment {
            selector: 0x10,
            type_: 3,
            db: 1,
            l: 0,
            ..code
        };
        sregs.cs = code;
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        // PG, ET, PE; PAE; LMA and LME.
        sregs.cr0 = 0x8000_0011;
        sregs.cr3 = TABLES as u64;
        sregs.cr4 = 0x20;
        sregs.efer = 0x500;
        sregs.idt.base = IDT as u64;
        sregs.idt.limit = 0xFFF;
        sregs.gdt.base = GDT as u64;
        sregs.gdt.limit = 0x17;
        self.vcpu.set_sregs(&sregs)?;
        self.vcpu.set_regs(&kvm_regs {
            rip: CODE as u64,
            rsp: STACK,
            rdi: address,
            rflags: 2,
            ..kvm_regs::default()
        })?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: made by `map`; nobody else holds the address. The VM's slot outlives it by moments in which the
        // guest does not run.
        unsafe { libc::munmap(self.memory.cast(), LENGTH) };
    }
}

/// The VM's memory, in pages of 4 KiB that come when they are touched.
fn map() -> io::Result<*mut u8> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, wherever there is room.
    let memory = unsafe { libc::mmap(ptr::null_mut(), LENGTH, rights, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Faults of 4 KiB are what is measured. A kernel that has no others may refuse.
    // SAFETY: the mapping above.
    unsafe { libc::madvise(memory, LENGTH, libc::MADV_NOHUGEPAGE) };
    Ok(memory.cast())
}
