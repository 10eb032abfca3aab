//! Starting the other CPUs (APM 2, 14.7; Intel SDM 3A, 9.4).
//!
//! A CPU begins in real mode at a page below 1 MiB, which gets a copy of the
//! trampoline; from there it takes the boot tables, then the kernel's, then its
//! own block, and runs the function that the kernel above named.

use crate::cpu::{self, CpuLocal};
use crate::mem::{self, PAGE_SIZE};
use crate::{apic, fpu, registers, task, time, trap};
use core::arch::{global_asm, naked_asm};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// The page that a starting CPU begins in.
const PAGE: u64 = 0x8000;

global_asm!(
    r#"
    .section .rodata
    .global trampoline_start
    .global trampoline_end
    .code16
trampoline_start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, {page} + 0x1000
    lgdt [placed_gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    push 0x18
    push offset placed_32
    .byte 0xcb                      // RETF of 16 bits
    .code32
trampoline_32:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, {page} + 0x1000
    mov eax, offset boot_enable_long_mode
    call eax
    push 0x08
    mov eax, offset placed_64
    push eax
    retf
    .code64
trampoline_64:
    mov rax, offset {entry}
    jmp rax
    .balign 8
trampoline_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cf9a000000ffff
trampoline_gdt_pointer:
    .word 31
    .long {page} + trampoline_gdt - trampoline_start
trampoline_end:
    .set placed_32, {page} + trampoline_32 - trampoline_start
    .set placed_64, {page} + trampoline_64 - trampoline_start
    .set placed_gdt_pointer, {page} + trampoline_gdt_pointer - trampoline_start
    .section .text
    "#,
    page = const PAGE,
    entry = sym other_entry,
);

/// In the kernel's image: takes the kernel's tables, then a stack that only
/// these are sure to map. There is one stack for one CPU: a CPU that comes when it
/// was given up, and the stack withdrawn, stops here.
#[unsafe(naked)]
extern "C" fn other_entry() -> ! {
    naked_asm!(
        "mov rax, [{table}]",
        "mov cr3, rax",
        "xor eax, eax",
        "xchg rax, [{stack}]",
        "test rax, rax",
        "jz 2f",
        "mov rsp, rax",
        "xor ebp, ebp",
        "push rbp",
        "jmp {main}",
        "2:",
        "cli",
        "hlt",
        "jmp 2b",
        table = sym TABLE,
        stack = sym STACK,
        main = sym other_main,
    )
}

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

static TABLE: AtomicU64 = AtomicU64::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);
static BLOCK: AtomicPtr<CpuLocal> = AtomicPtr::new(core::ptr::null_mut());
static MAIN: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static IS_UP: AtomicBool = AtomicBool::new(false);

/// Starts the CPU with this APIC id and waits until it runs `main`, up to a
/// second; a CPU that does not answer is left out.
pub(crate) fn start(apic_id: u32, main: fn() -> !) {
    let Some(block) = cpu::new_block(apic_id) else {
        return;
    };
    let Ok(stack) = task::boot_stack() else {
        return;
    };
    TABLE.store(mem::kernel_root(), Ordering::Relaxed);
    BLOCK.store((block as *const CpuLocal).cast_mut(), Ordering::Relaxed);
    MAIN.store(main as *mut (), Ordering::Relaxed);
    IS_UP.store(false, Ordering::Relaxed);
    STACK.store(stack.top(), Ordering::Release);
    copy_trampoline();
    apic::send_init(apic_id);
    wait(10_000_000);
    for _ in 0..2 {
        apic::send_startup(apic_id, (PAGE / PAGE_SIZE as u64) as u8);
        if wait(200_000) {
            return;
        }
    }
    if wait(1_000_000_000) {
        return;
    }
    if STACK.swap(0, Ordering::AcqRel) == 0 {
        // It has the stack and will be up.
        while !IS_UP.load(Ordering::Acquire) {
            cpu::relax();
        }
        return;
    }
    apic::send_init(apic_id);
    // It comes too late to take the stack, which is free again.
    drop(ManuallyDrop::into_inner(stack));
}

/// Waits until the CPU is up or `ns` have gone by; tells whether it is.
fn wait(ns: u64) -> bool {
    let end = time::now_ns() + ns;
    while time::now_ns() < end {
        if IS_UP.load(Ordering::Acquire) {
            return true;
        }
        time::answer();
        cpu::relax();
    }
    IS_UP.load(Ordering::Acquire)
}

fn copy_trampoline() {
    let (start, end) = (&raw const trampoline_start, &raw const trampoline_end);
    let len = end as usize - start as usize;
    assert!(len < PAGE_SIZE, "invariant: the trampoline fits its page");
    // SAFETY: the first MiB is claimed for the kernel and in the direct map.
    unsafe { core::ptr::copy_nonoverlapping(start, mem::to_virtual(PAGE), len) }
}

extern "C" fn other_main() -> ! {
    // SAFETY: `start` stored a block that lives for good.
    let block = unsafe { &*BLOCK.load(Ordering::Acquire) };
    cpu::init_other(block);
    trap::init_cpu();
    registers::harden();
    fpu::init_cpu();
    apic::init_cpu();
    time::check_with_first();
    // SAFETY: `start` stored a `fn() -> !`.
    let main: fn() -> ! = unsafe { core::mem::transmute(MAIN.load(Ordering::Relaxed)) };
    cpu::count_one(block);
    IS_UP.store(true, Ordering::Release);
    main()
}
