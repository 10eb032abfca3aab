//! Instructions on a device's address that nobody emulates: KVM_RUN must end
//! with KVM_EXIT_INTERNAL_ERROR, the instruction's bytes, and the guest where
//! it was.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use kvm_bindings::{
    KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use std::process::ExitCode;
use vcpus::{Pages, raw};

const CODE_AT: u64 = 0x1000;

/// Name and bytes; the operand is at 8000h, where no memory is.
const UNSUPPORTED: [(&str, &[u8]); 3] = [
    ("fld dword [8000h]", &[0xd9, 0x06, 0x00, 0x80]),
    ("pand mm0, [8000h]", &[0x0f, 0xdb, 0x06, 0x00, 0x80]),
    ("fild qword [8000h]", &[0xdf, 0x2e, 0x00, 0x80]),
];

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest_instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    for (name, code) in UNSUPPORTED {
        unsupported(code).context(name)?;
        println!("ok: {name}");
    }
    from_a_device().context("code at a device's address")?;
    println!("ok: code at a device's address");
    println!("guest_instructions: passed");
    Ok(())
}

/// Runs `use_vcpu` on a vCPU that is about to execute `code` in real mode.
fn with_vcpu<T>(code: &[u8], use_vcpu: impl FnOnce(&mut VcpuFd) -> Result<T>) -> Result<T> {
    let vm = Kvm::new().context("/dev/kvm")?.create_vm()?;
    let memory = Pages::map(1)?;
    memory.load(0, code);
    memory.add_to(&vm, 0, CODE_AT)?;
    let mut vcpu = vm.create_vcpu(0)?;
    let mut sregs = vcpu.get_sregs()?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.set_sregs(&sregs)?;
    let mut regs = vcpu.get_regs()?;
    regs.rip = CODE_AT;
    regs.rflags = 2;
    vcpu.set_regs(&regs)?;
    use_vcpu(&mut vcpu)
}

fn internal_error(vcpu: &mut VcpuFd) -> Result<Vec<u64>> {
    match vcpu.run().context("KVM_RUN")? {
        VcpuExit::InternalError => {}
        other => bail!("an exit that is not expected: {other:?}"),
    }
    let (suberror, data) = raw::internal_error(vcpu);
    ensure!(
        suberror == KVM_INTERNAL_ERROR_EMULATION,
        "suberror {suberror}"
    );
    Ok(data)
}

fn unsupported(code: &[u8]) -> Result<()> {
    with_vcpu(code, |vcpu| {
        // Twice: the guest must stay where it is.
        for _ in 0..2 {
            let data = internal_error(vcpu)?;
            ensure!(data.len() >= 3, "the record has {} words", data.len());
            let flags = u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
            ensure!(data[0] & flags != 0, "flags {:#x}: no bytes", data[0]);
            let bytes: Vec<u8> = data[1..3]
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            let told = &bytes[1..];
            ensure!(usize::from(bytes[0]) >= code.len(), "{} bytes", bytes[0]);
            ensure!(told.starts_with(code), "bytes {told:02x?}, not {code:02x?}");
            ensure!(vcpu.get_regs()?.rip == CODE_AT, "the guest went on");
        }
        Ok(())
    })
}

fn from_a_device() -> Result<()> {
    // jmp 8000h
    with_vcpu(&[0xe9, 0xfd, 0x6f], |vcpu| {
        internal_error(vcpu)?;
        ensure!(vcpu.get_regs()?.rip == 0x8000, "the guest went on");
        Ok(())
    })
}
