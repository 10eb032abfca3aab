//! [`UserContext`]: ring 3, played by closures of the test.
//!
//! A program is a closure that gets the registers and says what happens next.
//! It is bound to the address at which it is entered: [`install`] it there, and a
//! context whose RIP comes to that address runs it from then on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::machine::lock;
use crate::mem::USER_END;
use crate::{cpu, irq};

/// Always set: bit 1 and IF.
const FIXED_FLAGS: u64 = 0x202;
/// RFLAGS that a program may set.
const USER_FLAGS: u64 = 0x24_0dd5;

/// The registers of a program, as it left them or will find them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the registers' own names")]
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
    pub rip: u64,
    rflags: u64,
    pub rsp: u64,
    fully: bool,
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
            rip: 0,
            rflags: FIXED_FLAGS,
            rsp: 0,
            fully: true,
        }
    }
}

impl UserRegs {
    /// The flags register.
    #[must_use]
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
        self.fully = true;
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

type Body = Box<dyn FnMut(&mut UserRegs) -> UserEvent + Send>;

/// A program; clones (as after fork) share one body.
#[derive(Clone)]
struct Program {
    entry: u64,
    body: Arc<Mutex<Body>>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program at {:#x}", self.entry)
    }
}

thread_local! {
    static PENDING: RefCell<Option<Program>> = const { RefCell::new(None) };
}

static PROGRAMS: Mutex<BTreeMap<u64, Program>> = Mutex::new(BTreeMap::new());

/// Binds `body` to the entry address `rip`, for contexts of the whole process.
pub fn install(rip: u64, body: impl FnMut(&mut UserRegs) -> UserEvent + Send + 'static) {
    let body: Body = Box::new(body);
    let program = Program {
        entry: rip,
        body: Arc::new(Mutex::new(body)),
    };
    lock(&PROGRAMS).insert(rip, program);
}

/// A program that returns the events of a list, then interrupts for ever.
pub fn script(
    events: impl IntoIterator<Item = UserEvent, IntoIter: Send + 'static>,
) -> impl FnMut(&mut UserRegs) -> UserEvent + Send + 'static {
    let mut events = events.into_iter();
    move |_| events.next().unwrap_or(UserEvent::Interrupt)
}

/// A program's register state.
#[derive(Clone, Debug)]
pub struct UserContext {
    regs: UserRegs,
    program: Option<Program>,
}

impl Default for UserContext {
    fn default() -> Self {
        Self {
            regs: UserRegs::default(),
            program: PENDING.take(),
        }
    }
}

impl UserContext {
    /// The registers.
    #[must_use]
    pub fn regs(&self) -> &UserRegs {
        &self.regs
    }

    /// The registers, to be changed.
    pub fn regs_mut(&mut self) -> &mut UserRegs {
        &mut self.regs
    }

    /// Lets the program run until it needs the kernel. Pending interrupts are
    /// taken first, as on a CPU that comes to ring 3 with some.
    pub fn run(&mut self) -> UserEvent {
        if self.regs.rip >= USER_END {
            return UserEvent::Fault {
                vector: 13,
                error: 0,
                addr: 0,
            };
        }
        if irq::is_pending() || cpu::need_resched() {
            irq::deliver();
            return UserEvent::Interrupt;
        }
        if self
            .program
            .as_ref()
            .is_none_or(|program| program.entry != self.regs.rip)
            && let Some(program) = lock(&PROGRAMS).get(&self.regs.rip)
        {
            self.program = Some(program.clone());
        }
        let missing = "no program of the test is installed at the context's RIP";
        let program = self.program.clone().expect(missing);
        if !self.regs.fully {
            // What SYSRET leaves in these.
            (self.regs.rcx, self.regs.r11) = (self.regs.rip, self.regs.rflags);
        }
        let event = lock(&program.body)(&mut self.regs);
        self.regs.fully = event != UserEvent::Syscall;
        event
    }
}

/// The next context made by this thread runs `body`, whatever its RIP.
pub fn next_program(body: impl FnMut(&mut UserRegs) -> UserEvent + Send + 'static) {
    let body: Body = Box::new(body);
    PENDING.set(Some(Program {
        entry: u64::MAX,
        body: Arc::new(Mutex::new(body)),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_starts_where_rip_says_and_goes_on() {
        install(0x40_1000, |regs| {
            regs.rax += 1;
            regs.rip = 0x40_1002;
            UserEvent::Syscall
        });
        let mut context = UserContext::default();
        context.regs_mut().rip = 0x40_1000;
        assert_eq!(context.run(), UserEvent::Syscall);
        assert_eq!(context.run(), UserEvent::Syscall);
        assert_eq!(context.regs().rax, 2);
    }

    #[test]
    fn a_script_ends_in_interrupts() {
        next_program(script([UserEvent::Syscall]));
        let mut context = UserContext::default();
        assert_eq!(
            [context.run(), context.run()],
            [UserEvent::Syscall, UserEvent::Interrupt]
        );
    }
}
