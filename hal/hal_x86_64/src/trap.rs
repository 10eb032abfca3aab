//! Exceptions, interrupts and system calls: the thin assembly at the kernel's
//! edge (APM 2, chapters 6 and 8).
//!
//! A trap from ring 3 pushes straight into the running thread's register block
//! (`user_context`) and returns from its `run`. A trap from ring 0 is handled on
//! the stack it came on, NMI, #DF, #MC and #DB on stacks of their own.

use crate::cpu::{KERNEL_RSP, RSP0, SCRATCH};
use crate::gdt::{self, KERNEL_CODE, TablePointer};
use crate::registers::{self, EFER, LSTAR, SFMASK, STAR, rdmsr, wrmsr};
use crate::{backtrace, irq, user};
use core::arch::{asm, global_asm, naked_asm};
use sync::Once;

/// The vector number that stands for a system call in a register block.
pub(crate) const SYSCALL: u64 = 256;

pub(crate) const DEBUG: u64 = 1;
pub(crate) const NMI: u64 = 2;
pub(crate) const DOUBLE_FAULT: u64 = 8;
pub(crate) const PAGE_FAULT: u64 = 14;
pub(crate) const MACHINE_CHECK: u64 = 18;

/// What the entry code leaves on the stack of a trap from ring 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the registers' own names")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    const EMPTY: Self = Self { low: 0, high: 0 };

    /// An interrupt gate to `handler`, on interrupt stack `ist` (0: none), which
    /// ring `dpl` may reach by INT.
    fn new(handler: u64, ist: u64, dpl: u64) -> Self {
        let low = handler & 0xffff
            | u64::from(KERNEL_CODE) << 16
            | ist << 32
            | 0x8e << 40
            | dpl << 45
            | (handler >> 16 & 0xffff) << 48;
        Self {
            low,
            high: handler >> 32,
        }
    }
}

struct Idt([Gate; 256]);

static IDT: Once<Idt> = Once::new();

global_asm!(
    r#"
    .section .text
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || vector == 10 || vector == 11 || vector == 12 || vector == 13 || vector == 14 || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    push 0
    .endif
    push vector
    .if vector == 1 || vector == 2 || vector == 18
    jmp {paranoid}
    .else
    jmp {entry}
    .endif
    .set vector, vector + 1
    .endr
    "#,
    entry = sym trap_entry,
    paranoid = sym paranoid_entry,
);

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
}

/// Saves the general registers below vector and error code.
macro_rules! push_registers {
    () => {
        "push rax; push rbx; push rcx; push rdx; push rsi; push rdi; push rbp; push r8; push r9; push r10; push r11; push r12; push r13; push r14; push r15"
    };
}

macro_rules! pop_registers {
    () => {
        "pop r15; pop r14; pop r13; pop r12; pop r11; pop r10; pop r9; pop r8; pop rbp; pop rdi; pop rsi; pop rdx; pop rcx; pop rbx; pop rax"
    };
}
pub(crate) use pop_registers;

/// Every trap but the three that may hit anywhere.
#[unsafe(naked)]
extern "C" fn trap_entry() {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jz 2f",
        "swapgs",
        push_registers!(),
        "cld",
        // Back into `UserContext::run`, whose caller's registers lie there.
        "mov rsp, gs:[{kernel_rsp}]",
        "pop rbx; pop rbp",
        "ret",
        "2:",
        push_registers!(),
        "cld",
        "mov rdi, rsp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbp",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        kernel_rsp = const KERNEL_RSP,
        handler = sym kernel_trap,
    )
}

/// #DB, NMI and #MC: they may come where GS is still the program's, so the sign
/// of its base decides, and they never enter the thread's own path.
#[unsafe(naked)]
extern "C" fn paranoid_entry() {
    naked_asm!(
        push_registers!(),
        "cld",
        "mov ecx, 0xc0000101",
        "rdmsr",
        "xor ebx, ebx",
        "test edx, edx",
        "js 2f",
        "swapgs",
        "inc ebx",
        "2:",
        "mov rdi, rsp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {handler}",
        "mov rsp, rbp",
        "test ebx, ebx",
        "jz 3f",
        "swapgs",
        "3:",
        pop_registers!(),
        "add rsp, 16",
        "iretq",
        handler = sym paranoid_trap,
    )
}

/// SYSCALL: builds the same block as a trap would, in the same place.
#[unsafe(naked)]
extern "C" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "mov gs:[{scratch}], rsp",
        "mov rsp, gs:[{frame_end}]",
        "push {user_data}",
        "push qword ptr gs:[{scratch}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        "push 0",
        "push {syscall}",
        push_registers!(),
        "mov rsp, gs:[{kernel_rsp}]",
        "pop rbx; pop rbp",
        "ret",
        scratch = const SCRATCH,
        frame_end = const RSP0,
        kernel_rsp = const KERNEL_RSP,
        user_data = const gdt::USER_DATA,
        user_code = const gdt::USER_CODE,
        syscall = const SYSCALL,
    )
}

/// Loads the trap table and the system call entry on this CPU.
pub(crate) fn init_cpu() {
    let idt = IDT.get().unwrap_or_else(|| {
        let _ = IDT.set(build_idt());
        IDT.get().expect("invariant: set in the line above")
    });
    let pointer = TablePointer {
        limit: size_of::<Idt>() as u16 - 1,
        base: idt as *const Idt as u64,
    };
    // STAR: SYSCALL loads CS 08h and SS 10h, SYSRET CS 23h and SS 1Bh. SFMASK
    // clears TF, IF, DF, IOPL, NT, RF and AC on entry.
    let star = 0x08 << 32 | 0x13 << 48;
    // SAFETY: table and entry are static; the selectors are those of `gdt`.
    unsafe {
        asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags));
        wrmsr(STAR, star);
        wrmsr(LSTAR, syscall_entry as *const () as u64);
        wrmsr(SFMASK, 0x0005_7700);
        wrmsr(EFER, rdmsr(EFER) | 1 | 1 << 11);
    }
}

fn build_idt() -> Idt {
    let mut idt = Idt([Gate::EMPTY; 256]);
    for (vector, gate) in idt.0.iter_mut().enumerate() {
        let ist = match vector as u64 {
            DOUBLE_FAULT => 1,
            NMI => 2,
            MACHINE_CHECK => 3,
            DEBUG => 4,
            _ => 0,
        };
        let dpl = if vector == 3 || vector == 4 { 3 } else { 0 };
        // SAFETY: only the address of the stub is taken.
        let stub = unsafe { (&raw const trap_stubs[vector]) as u64 };
        *gate = Gate::new(stub, ist, dpl);
    }
    idt
}

/// A trap that came in ring 0.
extern "C" fn kernel_trap(frame: &mut Frame) {
    if frame.vector >= 32 {
        irq::dispatch(frame.vector as u8);
    } else if !user::fix_up(frame) {
        die(frame);
    }
}

/// #DB, NMI or #MC, from any ring.
extern "C" fn paranoid_trap(frame: &mut Frame) {
    match frame.vector {
        NMI if irq::nmi(frame) => {}
        // A stray single-step of a program must not stop the host.
        DEBUG if frame.cs & 3 == 3 => frame.rflags &= !(1 << 8),
        _ => die(frame),
    }
}

fn name(vector: u64) -> &'static str {
    const NAMES: [&str; 32] = [
        "divide error",
        "debug",
        "NMI",
        "breakpoint",
        "overflow",
        "bound range",
        "invalid opcode",
        "no FPU",
        "double fault",
        "coprocessor overrun",
        "invalid TSS",
        "segment not present",
        "stack fault",
        "general protection fault",
        "page fault",
        "reserved 15",
        "x87 error",
        "alignment check",
        "machine check",
        "SIMD error",
        "reserved 20",
        "control protection",
        "reserved 22",
        "reserved 23",
        "reserved 24",
        "reserved 25",
        "reserved 26",
        "reserved 27",
        "hypervisor injection",
        "VMM communication",
        "security",
        "reserved 31",
    ];
    NAMES.get(vector as usize).copied().unwrap_or("interrupt")
}

/// An exception of the kernel's own: the end.
fn die(frame: &Frame) -> ! {
    backtrace::set_origin(frame.rip, frame.rbp);
    let address = if frame.vector == PAGE_FAULT {
        registers::cr2()
    } else {
        0
    };
    panic!(
        "{} in ring {} at {:#x}, error {:#x}, address {:#x}, rsp {:#x}, rflags {:#x}",
        name(frame.vector),
        frame.cs & 3,
        frame.rip,
        frame.error,
        address,
        frame.rsp,
        frame.rflags
    )
}
