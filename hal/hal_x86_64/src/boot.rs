//! From power-on to the kernel's first Rust function.
//!
//! The image is started by the PVH protocol (Xen's `pvh.pandoc`: 32-bit
//! protected mode, no paging, EBX = start info). The assembly here enables long
//! mode on tables that map the first 4 GiB twice, at zero and in the direct map,
//! and the first GiB at -2 GiB; `mem` replaces them by the real ones.

use crate::{apic, console, cpu, fpu, layout, mem, registers, task, trap};
use core::arch::global_asm;
use sync::Once;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                  // name size, descriptor size, PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .boot.text, "ax"
    .code32
    .global pvh_start
pvh_start:
    cld
    mov edi, ebx
    lea esp, [boot_stack_end]
    // Four page directories of 2 MiB pages: the first 4 GiB.
    xor ecx, ecx
1:  mov eax, ecx
    shl eax, 21
    or eax, 0x83
    mov [boot_directories + ecx*8], eax
    mov dword ptr [boot_directories + ecx*8 + 4], 0
    inc ecx
    cmp ecx, 2048
    jb 1b
    lea eax, [boot_directories + 3]
    mov [boot_low], eax
    mov [boot_high + 510*8], eax
    add eax, 0x1000
    mov [boot_low + 8], eax
    add eax, 0x1000
    mov [boot_low + 16], eax
    add eax, 0x1000
    mov [boot_low + 24], eax
    lea eax, [boot_low + 3]
    mov [boot_top], eax
    mov [boot_top + 256*8], eax
    lea eax, [boot_high + 3]
    mov [boot_top + 511*8], eax
    call boot_enable_long_mode
    push 0x08
    lea eax, [2f]
    push eax
    retf
    .code64
2:  mov rsp, offset boot_kernel_stack_end
    xor ebp, ebp
    push rbp
    mov rax, offset {first}
    jmp rax

    // Page tables, then long mode; used by the other CPUs too.
    .code32
    .global boot_enable_long_mode
boot_enable_long_mode:
    lgdt [boot_gdt_pointer]
    mov eax, cr4
    or eax, 0x20                    // PAE
    mov cr4, eax
    lea eax, [boot_top]
    mov cr3, eax
    mov ecx, 0xc0000080             // EFER
    rdmsr
    or eax, 0x901                   // SCE, LME, NXE
    wrmsr
    mov eax, cr0
    or eax, 0x80010000              // PG, WP
    mov cr0, eax
    ret
    .code64

    .section .boot.data, "aw"
    .balign 8
boot_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cf9a000000ffff
    .global boot_gdt_pointer
boot_gdt_pointer:
    .word 31
    .long boot_gdt
    .section .boot.bss, "aw", @nobits
    .balign 4096
    .global boot_top
boot_top: .skip 4096
boot_low: .skip 4096
boot_high: .skip 4096
boot_directories: .skip 4*4096
    .skip 1024
boot_stack_end:

    .section .bss
    .balign 4096
    .skip 32768
boot_kernel_stack_end:
    "#,
    first = sym first,
);

unsafe extern "Rust" {
    /// Defined by the kernel's binary through [`crate::entry!`].
    safe fn alster_main(info: BootInfo) -> !;
}

/// Names the function that the boot code calls when the machine is ready:
/// `fn(BootInfo) -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// The kernel's entry as the boot code knows it.
        #[unsafe(no_mangle)]
        fn alster_main(info: $crate::boot::BootInfo) -> ! {
            $main(info)
        }
    };
}

/// What the loader told.
#[derive(Clone, Copy)]
pub struct BootInfo {
    /// The command line, without its terminator.
    pub command_line: &'static str,
    /// The boot archive, or nothing.
    pub archive: &'static [u8],
    /// Physical address of the ACPI root pointer (RSDP), 0 where unknown.
    pub rsdp: u64,
}

/// Where the archive stands in physical memory: mapped pages of it can be given
/// to programs as they are.
pub fn archive_range(info: &BootInfo) -> core::ops::Range<u64> {
    let start = info.archive.as_ptr() as u64 - layout::DIRECT_MAP;
    start..start + info.archive.len() as u64
}

extern "C" fn first(start_info: u64) -> ! {
    console::init();
    cpu::init_first();
    trap::init_cpu();
    registers::harden();
    fpu::init_cpu();
    let info = mem::init(start_info);
    // Whoever waits for a lock answers flush requests meanwhile: their sender may
    // hold that very lock.
    sync::spin::set_relax_hook(cpu::relax);
    apic::init_first(&info);
    let _ = INFO.set(info);
    // The boot stack has no guard page.
    task::leave_boot_stack(on_own_stack)
}

static INFO: Once<BootInfo> = Once::new();

extern "C" fn on_own_stack() -> ! {
    alster_main(*INFO.get().expect("invariant: set before this stack was taken"))
}
