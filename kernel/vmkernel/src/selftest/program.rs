//! A program of a few instructions in an address space of its own, and what it may
//! not do to the kernel.

use super::{expect, fail};
use core::sync::atomic::{AtomicBool, Ordering};
use hal::mem::{Account, Frame, PAGE_SIZE, PageTable, Prot};
use hal::task;
use hal::user_context::{UserContext, UserEvent};

/// Where the program's code is; its data is in the page after.
pub const CODE: u64 = 0x40_0000;
/// Where its data is; the page after is free.
pub const DATA: u64 = CODE + PAGE_SIZE as u64;

const GENERAL_PROTECTION: u8 = 13;
const DEBUG: u8 = 1;
const BREAKPOINT: u8 = 3;

/// The program, loaded on this CPU.
pub struct Program {
    /// Its memory.
    pub table: PageTable,
    user: UserContext,
}

impl Program {
    /// A program with these instructions.
    pub fn new(code: &[u8]) -> Self {
        let account = Account::kernel();
        let (Ok(mut table), Ok(text), Ok(data)) = (
            PageTable::new(&account),
            Frame::zeroed(&account),
            Frame::zeroed(&account),
        ) else {
            fail("no memory for a program")
        };
        text.write(0, code);
        let is_mapped = table.map(CODE, text, Prot::READ | Prot::EXEC).is_ok()
            && table.map(DATA, data, Prot::READ | Prot::WRITE).is_ok();
        expect(is_mapped, "the program's pages are not mapped");
        task::set_table(Some(table.root()));
        let mut user = UserContext::default();
        user.regs_mut().rip = CODE;
        user.regs_mut().rsp = DATA + PAGE_SIZE as u64;
        Self { table, user }
    }

    /// Runs it until something other than an interrupt happens.
    pub fn run(&mut self) -> UserEvent {
        loop {
            match self.user.run() {
                UserEvent::Interrupt => {}
                event => return event,
            }
        }
    }

    fn expect_fault(&mut self, expected: u8) {
        match self.run() {
            UserEvent::Fault { vector, .. } if vector == expected => {}
            other => {
                log::error!("{other:?} at {:#x}", self.user.regs().rip);
                fail("the program got the wrong event")
            }
        }
    }
}

/// A program's single step is its own event, and every other instruction of it
/// goes on as if nothing were.
pub fn single_step() {
    // pushfq; or qword ptr [rsp], 0x100; popfq; nop; nop; int3
    let mut program = Program::new(&[
        0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x01, 0, 0, 0x9d, 0x90, 0x90, 0xcc,
    ]);
    program.expect_fault(DEBUG);
    expect(
        program.user.regs().rip == CODE + 11,
        "the first step is the instruction after POPF",
    );
    program.expect_fault(DEBUG);
    expect(
        program.user.regs().rip == CODE + 12,
        "the second step is one instruction on",
    );
    expect(
        program.user.regs().rsp == DATA + PAGE_SIZE as u64,
        "the program has its own stack pointer back",
    );
    // Breakpoints come by the interrupt instruction, which steps no more.
    program.expect_fault(BREAKPOINT);
}

/// There are no local descriptors that a program could have made itself.
pub fn segments() {
    // mov eax, 7; mov ds, eax; int3
    Program::new(&[0xb8, 7, 0, 0, 0, 0x8e, 0xd8, 0xcc]).expect_fault(GENERAL_PROTECTION);
    // mov eax, 0x10 (the kernel's data); mov ds, eax; int3
    Program::new(&[0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8, 0xcc]).expect_fault(GENERAL_PROTECTION);
    // in al, 0x80
    Program::new(&[0xe4, 0x80]).expect_fault(GENERAL_PROTECTION);
    // int 0x30
    Program::new(&[0xcd, 0x30]).expect_fault(GENERAL_PROTECTION);
}

/// NMIs come at every instruction of the kernel's edge, while the program has a GS
/// base that looks like the kernel's.
pub fn nmi() {
    const NMIS: u32 = 20_000;
    static IS_UP: AtomicBool = AtomicBool::new(false);
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    static HAS_LEFT: AtomicBool = AtomicBool::new(false);
    expect(hal::cpu::count() > 1, "two CPUs are needed");
    expect(hal::cpu::features().fsgsbase, "the program needs WRGSBASE");
    super::spawn("program", 1, || {
        // mov rax, 0xffff900000000000; wrgsbase rax; 1: syscall; jmp 1b
        let code = [
            0x48, 0xb8, 0, 0, 0, 0, 0, 0x90, 0xff, 0xff, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x05,
            0xeb, 0xfc,
        ];
        let mut program = Program::new(&code);
        while !IS_OVER.load(Ordering::Acquire) {
            expect(
                program.run() == UserEvent::Syscall,
                "the program makes its calls",
            );
            IS_UP.store(true, Ordering::Release);
        }
        let (_, gs_base) = task::user_bases();
        expect(
            gs_base == 0xffff_9000_0000_0000,
            "the program has its GS base still",
        );
        HAS_LEFT.store(true, Ordering::Release);
    });
    while !IS_UP.load(Ordering::Acquire) {
        hal::cpu::relax();
    }
    for _ in 0..NMIS {
        hal::provoke::nmi_to_others();
    }
    IS_OVER.store(true, Ordering::Release);
    while !HAS_LEFT.load(Ordering::Acquire) {
        hal::cpu::relax();
    }
    expect(hal::irq::stray_count() > 0, "NMIs arrived");
}
