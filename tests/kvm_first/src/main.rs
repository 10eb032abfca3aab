//! Runs code in a vCPU with the crate `kvm-ioctls`: a port, a device address,
//! memory, HLT. The same program runs on Linux; there and here it ends with 0
//! and says what it saw.

use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};
use std::error::Error;
use std::io::Write;
use std::ptr::null_mut;

const GUEST: u64 = 0x1000;
const SIZE: usize = 0x4000;

/// 16-bit real mode: adds, tells the sum on a port, reads a port, writes
/// memory and a device, reads a device, halts.
const CODE: [u8; 27] = [
    0xba, 0xf8, 0x03, // mov dx, 3f8h
    0x00, 0xd8, // add al, bl
    0x04, b'0', // add al, '0'
    0xee, // out dx, al
    0xec, // in al, dx
    0xc6, 0x06, 0x00, 0x80, 0x00, // mov byte [8000h], 0: a device
    0x8a, 0x16, 0x00, 0x80, // mov dl, [8000h]: a device
    0xc6, 0x06, 0x00, 0x20, 0x77, // mov byte [2000h], 77h: memory
    0x88, 0x16, // mov [...], dl: memory
    0x01, 0x20, // at 2001h
];

fn main() -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    println!(
        "API {}, vCPU mapping {}",
        kvm.get_api_version(),
        kvm.get_vcpu_mmap_size()?
    );
    let vm = kvm.create_vm()?;
    // SAFETY: a fresh anonymous mapping.
    let memory = unsafe {
        libc::mmap(
            null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_ANONYMOUS | libc::MAP_SHARED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    }
    .cast::<u8>();
    let region = kvm_userspace_memory_region {
        slot: 0,
        guest_phys_addr: GUEST,
        memory_size: SIZE as u64,
        userspace_addr: memory as u64,
        flags: KVM_MEM_LOG_DIRTY_PAGES,
    };
    // SAFETY: the region is the mapping above, which stays.
    unsafe { vm.set_user_memory_region(region)? };
    // SAFETY: inside the mapping; the guest does not run yet.
    let mut code = unsafe { std::slice::from_raw_parts_mut(memory, SIZE) };
    code.write_all(&CODE)?;
    code.write_all(&[0xf4])?;

    let mut vcpu = vm.create_vcpu(0)?;
    let mut sregs = vcpu.get_sregs()?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.set_sregs(&sregs)?;
    let mut regs = vcpu.get_regs()?;
    regs.rip = GUEST;
    regs.rax = 2;
    regs.rbx = 3;
    regs.rflags = 2;
    vcpu.set_regs(&regs)?;
    let seen = exits(&mut vcpu)?;
    println!("{seen}");
    if seen != "out 3f8=35 in 3f8 write 8000=00 read 8000 hlt" {
        return Err("the exits are not those of the code".into());
    }
    // SAFETY: inside the mapping; the guest has halted.
    let stored = unsafe { [*memory.add(0x1000), *memory.add(0x1001)] };
    let dirty = vm.get_dirty_log(0, SIZE)?;
    println!("stored {stored:x?}, dirty {dirty:x?}");
    if stored != [0x77, 0x5a] || dirty[0] & 2 == 0 {
        return Err("the guest's memory is not what the code stores".into());
    }
    println!("kvm_first: passed");
    Ok(())
}

/// Runs until HLT; what happened, in words.
fn exits(vcpu: &mut kvm_ioctls::VcpuFd) -> Result<String, Box<dyn Error>> {
    let mut seen = Vec::new();
    for _ in 0..16 {
        match vcpu.run()? {
            VcpuExit::IoOut(port, data) => seen.push(format!("out {port:x}={:x}", data[0])),
            VcpuExit::IoIn(port, data) => {
                data[0] = 0x11;
                seen.push(format!("in {port:x}"));
            }
            VcpuExit::MmioWrite(address, data) => {
                seen.push(format!("write {address:x}={:02x}", data[0]));
            }
            VcpuExit::MmioRead(address, data) => {
                data[0] = 0x5a;
                seen.push(format!("read {address:x}"));
            }
            VcpuExit::Hlt => {
                seen.push("hlt".to_owned());
                break;
            }
            other => return Err(format!("an exit that is not expected: {other:?}").into()),
        }
    }
    Ok(seen.join(" "))
}
