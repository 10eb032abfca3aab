//! [`UserContext`]: a program's registers, and going to ring 3 with them.
//!
//! `run` looks like a call that returns when the program needs the kernel. The
//! entry code in `trap` finds the register block through this CPU's `rsp0` and
//! returns through its `kernel_rsp`, both set here.

use crate::cpu::{KERNEL_RSP, RSP0};
use crate::layout::USER_END;
use crate::trap::{PAGE_FAULT, SYSCALL, pop_registers};
use crate::{gdt, irq, registers};
use core::arch::{asm, naked_asm};

/// RFLAGS that a program may set: CF PF AF ZF SF TF DF OF AC ID (APM 1, 3.1.4).
const USER_FLAGS: u64 = 0x24_0dd5;
/// Always set: bit 1 and IF.
const FIXED_FLAGS: u64 = 0x202;

/// The registers of a program, as it left them or will find them.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the registers' own names")]
pub struct UserRegs {
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
    vector: u64,
    error: u64,
    pub rip: u64,
    cs: u64,
    rflags: u64,
    pub rsp: u64,
    ss: u64,
}

impl Default for UserRegs {
    fn default() -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rbp: 0,
            rdi: 0,
            rsi: 0,
            rdx: 0,
            rcx: 0,
            rbx: 0,
            rax: 0,
            vector: 0,
            error: 0,
            rip: 0,
            cs: u64::from(gdt::USER_CODE),
            rflags: FIXED_FLAGS,
            rsp: 0,
            ss: u64::from(gdt::USER_DATA),
        }
    }
}

impl UserRegs {
    /// The flags register.
    pub fn rflags(&self) -> u64 {
        self.rflags
    }

    /// Sets those flags that a program may have.
    pub fn set_rflags(&mut self, value: u64) {
        self.rflags = value & USER_FLAGS | FIXED_FLAGS;
    }

    /// Makes the next entry restore every register, RCX and R11 too, as after a
    /// signal; the short way back from a system call loses these two.
    pub fn restore_fully(&mut self) {
        self.vector = 0;
    }
}

/// Why a program stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// SYSCALL: number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9.
    Syscall,
    /// An exception of the program's own.
    Fault {
        /// The exception's vector (APM 2, 8.2).
        vector: u8,
        /// Its error code, or 0.
        error: u32,
        /// For a page fault the address, else 0.
        addr: u64,
    },
    /// An interrupt came and was handled.
    Interrupt,
}

/// A program's register state.
#[derive(Clone, Debug, Default)]
pub struct UserContext {
    regs: UserRegs,
}

impl UserContext {
    /// The registers.
    #[inline]
    pub fn regs(&self) -> &UserRegs {
        &self.regs
    }

    /// The registers, to be changed.
    #[inline]
    pub fn regs_mut(&mut self) -> &mut UserRegs {
        &mut self.regs
    }

    /// Lets the program run until it needs the kernel. Its address space is the
    /// one that the current task has active.
    #[inline]
    pub fn run(&mut self) -> UserEvent {
        if self.regs.rip >= USER_END {
            // IRET to such an address would fault in ring 0.
            return UserEvent::Fault {
                vector: 13,
                error: 0,
                addr: 0,
            };
        }
        // SAFETY: `regs` is a complete block with ring-3 selectors and flags
        // (its private fields are set by the entry code and the methods above
        // only), and RIP is canonical.
        unsafe { enter(&raw mut self.regs) };
        match self.regs.vector {
            SYSCALL => UserEvent::Syscall,
            32..=255 => {
                irq::dispatch(self.regs.vector as u8);
                UserEvent::Interrupt
            }
            vector => UserEvent::Fault {
                vector: vector as u8,
                error: self.regs.error as u32,
                addr: if vector == PAGE_FAULT {
                    registers::cr2()
                } else {
                    0
                },
            },
        }
    }
}

/// Goes to ring 3 with the registers at `regs`; returns when a trap has stored
/// them there again.
///
/// No register survives but RSP, RBP and RBX: the compiler saves only what it needs
/// itself, which is less than a function of the C ABI would have to.
///
/// # Safety
/// `regs` is a valid block for ring 3 with a canonical RIP.
#[inline]
unsafe fn enter(regs: *mut UserRegs) {
    // SAFETY: the block is valid; all that `enter_ring3` loses is declared.
    unsafe {
        asm!(
            "call {enter}",
            enter = sym enter_ring3,
            inout("rdi") regs => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// # Safety
/// As [`enter`], which is the only caller: R12 to R15 are lost.
#[unsafe(naked)]
unsafe extern "C" fn enter_ring3(regs: *mut UserRegs) {
    naked_asm!(
        "push rbp; push rbx",
        "mov gs:[{kernel_rsp}], rsp",
        "lea rax, [rdi + {size}]",
        "mov gs:[{rsp0}], rax",
        "mov rsp, rdi",
        "cmp qword ptr [rdi + {vector}], {syscall}",
        "jne 2f",
        pop_registers!(),
        "mov rcx, [rsp + 16]",
        "mov r11, [rsp + 32]",
        "mov rsp, [rsp + 40]",
        "swapgs",
        "sysretq",
        "2:",
        pop_registers!(),
        "add rsp, 16",
        "swapgs",
        "iretq",
        kernel_rsp = const KERNEL_RSP,
        rsp0 = const RSP0,
        size = const size_of::<UserRegs>(),
        vector = const core::mem::offset_of!(UserRegs, vector),
        syscall = const SYSCALL,
    )
}
