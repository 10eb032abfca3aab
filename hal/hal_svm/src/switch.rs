//! The world switch. APM volume 2, 15.5 (VMRUN), 15.5.2 (VMSAVE, VMLOAD), 15.17
//! (global interrupt flag).
//!
//! VMRUN itself keeps the host's segments CS to ES, CR0, CR3, CR4, EFER, RIP,
//! RSP, RAX, RFLAGS, GDTR and IDTR. FS, GS, TR, LDTR and the system-call MSRs
//! stay the guest's after an exit, and the kernel needs GS (its per-CPU data)
//! and TR (the stacks of NMIs) before anything may interrupt it: so the host's
//! are loaded before STGI, by one VMLOAD.

use core::arch::naked_asm;

/// Runs the guest until its next exit.
///
/// `registers` are RAX to R15 as instructions number them; RAX and RSP stand in
/// the VMCB. `vmcb` is the VMCB's physical address, `host` that of a page into
/// which this CPU's state was stored by VMSAVE.
///
/// Physical interrupts end the guest's run; they and all that came meanwhile
/// are taken between STGI and CLI.
///
/// # Safety
/// SVM is on, VM_HSAVE_PA is set, interrupts are off; the VMCB is valid memory
/// of the caller whose intercepts and maps keep the guest in its nested table;
/// `host` was stored by this thread on this CPU.
#[unsafe(naked)]
pub unsafe extern "sysv64" fn world_switch(registers: *mut u64, vmcb: u64, host: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdi",
        "push rdx",
        "mov rax, rsi",
        "mov rcx, [rdi + 8]",
        "mov rdx, [rdi + 16]",
        "mov rbx, [rdi + 24]",
        "mov rbp, [rdi + 40]",
        "mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]",
        "mov r9, [rdi + 72]",
        "mov r10, [rdi + 80]",
        "mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]",
        "mov r13, [rdi + 104]",
        "mov r14, [rdi + 112]",
        "mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "clgi",
        // The host's IF governs physical interrupts while the guest runs.
        "sti",
        "vmload rax",
        "vmrun rax",
        "vmsave rax",
        "mov rax, [rsp]",
        "vmload rax",
        "mov rax, [rsp + 8]",
        "mov [rax + 8], rcx",
        "mov [rax + 16], rdx",
        "mov [rax + 24], rbx",
        "mov [rax + 40], rbp",
        "mov [rax + 48], rsi",
        "mov [rax + 56], rdi",
        "mov [rax + 64], r8",
        "mov [rax + 72], r9",
        "mov [rax + 80], r10",
        "mov [rax + 88], r11",
        "mov [rax + 96], r12",
        "mov [rax + 104], r13",
        "mov [rax + 112], r14",
        "mov [rax + 120], r15",
        // The host's registers are back: let waiting interrupts in.
        "stgi",
        "nop",
        "cli",
        "add rsp, 16",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
