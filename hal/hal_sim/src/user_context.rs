//! [`UserContext`]: ring 3, played by closures of the test.
//!
//! A program is a closure that gets the registers and says what happens next.
//! It is bound to the address at which it is entered: [`install`] it there, and a
//! context whose RIP comes to that address runs it from then on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::machine::lock;

/// The general registers of a program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct UserRegs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

/// Why a program came back to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserEvent {
    /// SYSCALL; number and arguments are in the registers.
    Syscall,
    /// An exception.
    Fault {
        /// Its vector (14 is a page fault).
        vector: u8,
        /// Its error code, or 0.
        error: u64,
        /// CR2 of a page fault.
        addr: u64,
    },
    /// An interrupt was taken.
    Interrupt,
}

type Body = Box<dyn FnMut(&mut UserRegs) -> UserEvent + Send>;

/// A program; clones (as after fork) share one body.
#[derive(Clone)]
struct Program {
    entry: u64,
    body: Arc<Mutex<Body>>,
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

/// What runs in ring 3 for one thread.
#[derive(Clone, Default)]
pub struct UserContext {
    regs: UserRegs,
    program: Option<Program>,
}

impl UserContext {
    /// All registers zero, interrupts enabled.
    #[must_use]
    pub fn new() -> Self {
        let regs = UserRegs {
            rflags: 0x202,
            ..UserRegs::default()
        };
        Self {
            regs,
            program: PENDING.take(),
        }
    }

    /// The registers that the program goes on with.
    pub fn regs(&mut self) -> &mut UserRegs {
        &mut self.regs
    }

    /// Runs the program until it comes back.
    pub fn run(&mut self) -> UserEvent {
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
        let mut body = lock(&program.body);
        body(&mut self.regs)
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
        let mut context = UserContext::new();
        context.regs().rip = 0x40_1000;
        assert_eq!(context.run(), UserEvent::Syscall);
        assert_eq!(context.run(), UserEvent::Syscall);
        assert_eq!(context.regs().rax, 2);
    }

    #[test]
    fn a_script_ends_in_interrupts() {
        next_program(script([UserEvent::Syscall]));
        let mut context = UserContext::new();
        assert_eq!(
            [context.run(), context.run()],
            [UserEvent::Syscall, UserEvent::Interrupt]
        );
    }
}
