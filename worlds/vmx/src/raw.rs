//! The only unsafe code of the monitor: what its crates leave unsafe at the
//! edge to the KVM interface.
//!
//! Four things: handing guest RAM to the kernel ([`add_ram_slot`]), asking a
//! vCPU out of the guest without a race ([`KickTarget`]), and two records of
//! exits that `kvm-ioctls` does not report: the access size of a port exit
//! ([`port_access`]) and an instruction's bytes ([`instruction_bytes`]).
#![expect(unsafe_code)]

use kvm_bindings::{
    KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_INTERNAL_ERROR_EMULATION,
    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES, kvm_run, kvm_userspace_memory_region,
};
use kvm_ioctls::{VcpuFd, VmFd};
use std::cell::Cell;
use std::os::raw::{c_int, c_void};
use std::ptr;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap};

/// Registers one region of guest RAM as memory slot `slot`.
///
/// # Errors
/// What the kernel refuses, as an errno.
pub fn add_ram_slot(
    vm: &VmFd,
    slot: u32,
    region: &GuestRegionMmap,
) -> Result<(), kvm_ioctls::Error> {
    let slot = kvm_userspace_memory_region {
        slot,
        flags: 0,
        guest_phys_addr: region.start_addr().0,
        memory_size: region.len(),
        userspace_addr: region.as_ptr() as u64,
    };
    // SAFETY: the region is a live mapping of that length, given to no other
    // slot. `Machine` drops the vCPUs and the VM before the memory, and Rust
    // code reaches guest memory only by volatile accesses.
    unsafe { vm.set_user_memory_region(slot) }
}

thread_local! {
    /// The `immediate_exit` byte of the vCPU that this thread runs, or null.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// Makes the kick signal reach the vCPU of this thread while it lives.
///
/// The signal alone would be lost if it came just before the vCPU is entered;
/// so its handler also sets `immediate_exit`, which the kernel reads last.
pub struct KickTarget<'a> {
    vcpu: &'a mut VcpuFd,
}

impl<'a> KickTarget<'a> {
    /// Binds `vcpu` to the calling thread, which must be the one to run it.
    pub fn bind(vcpu: &'a mut VcpuFd) -> Self {
        let run: *mut kvm_run = vcpu.get_kvm_run();
        // SAFETY: `run` points to the mapped structure; no reference is made.
        let flag = unsafe { &raw mut (*run).immediate_exit };
        IMMEDIATE_EXIT.set(flag);
        Self { vcpu }
    }

    /// The vCPU, to run it.
    pub fn vcpu(&mut self) -> &mut VcpuFd {
        self.vcpu
    }
}

impl Drop for KickTarget<'_> {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}

/// Handler of the kick signal; it runs on the thread that is kicked.
pub extern "C" fn on_kick(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: not null means that a `KickTarget` on this very thread
        // borrows the vCPU, so its mapping is alive. The kernel reads the byte
        // concurrently, hence volatile.
        unsafe { flag.write_volatile(1) };
    }
}

/// A port exit that is more than one byte.
pub struct PortAccess<'a> {
    /// The port.
    pub port: u16,
    /// Bytes of one access: 1, 2 or 4.
    pub size: usize,
    /// One or more accesses' data, in or out.
    pub data: &'a mut [u8],
    /// The guest reads.
    pub is_read: bool,
}

/// Describes the port exit with which the vCPU last stopped.
pub fn port_access(vcpu: &mut VcpuFd) -> Option<PortAccess<'_>> {
    let run: *mut kvm_run = vcpu.get_kvm_run();
    // SAFETY: `run` is valid and borrowed from `vcpu` for as long as the result.
    let (reason, io) = unsafe { ((*run).exit_reason, (*run).__bindgen_anon_1.io) };
    let size = usize::from(io.size);
    if reason != KVM_EXIT_IO || !matches!(size, 1 | 2 | 4) {
        return None;
    }
    // SAFETY: the kernel placed `count * size` bytes at this offset inside the
    // mapping that `kvm-ioctls` made of the size the kernel asked for.
    let data = unsafe {
        let start = run.cast::<u8>().add(io.data_offset as usize);
        std::slice::from_raw_parts_mut(start, size * io.count as usize)
    };
    Some(PortAccess {
        port: io.port,
        size,
        data,
        is_read: io.direction == 0,
    })
}

/// The bytes at the instruction that the kernel did not emulate, if it tells them.
pub fn instruction_bytes(vcpu: &mut VcpuFd) -> Vec<u8> {
    let run: *mut kvm_run = vcpu.get_kvm_run();
    // SAFETY: `run` is valid, and all of the union is plain numbers.
    let (reason, record) = unsafe { ((*run).exit_reason, (*run).__bindgen_anon_1.internal) };
    let has_bytes = record.data[0] & u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
    let is_failure =
        reason == KVM_EXIT_INTERNAL_ERROR && record.suberror == KVM_INTERNAL_ERROR_EMULATION;
    if !is_failure || record.ndata < 3 || has_bytes == 0 {
        return Vec::new();
    }
    // One byte of length, then up to 15 of the instruction.
    let words = record.data[1..3].iter();
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    let count = usize::from(bytes[0]).min(bytes.len() - 1);
    bytes[1..1 + count].to_vec()
}
