//! What the kernel itself must not be able to do. Each of these ends in a panic;
//! what returns has gone through.

use super::program::{CODE, DATA, Program};
use super::{expect, fail};
use hal::user_context::UserEvent;

/// Runs off the end of the stack, into what is below: the backtrace must name these
/// functions.
pub fn overflow_stack() {
    log::info!("depth {}", descend(0));
}

#[expect(unconditional_recursion, reason = "that is the test")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let room = core::hint::black_box([depth; 64]);
    descend(depth + 1) + room[(depth % 64) as usize]
}

/// Below this thread's stack nothing is mapped, for as far as the next one.
pub fn guard_page() {
    let here = 0u8;
    let inside = (&raw const here) as u64 & !0xfff;
    let mut page = inside;
    while hal::mem::is_mapped(page) {
        expect(inside - page < 32 << 10, "the stack has no end");
        page -= 4096;
    }
    for guard in 0..8 {
        expect(
            !hal::mem::is_mapped(page - guard * 4096),
            "the guard is eight pages",
        );
    }
}

/// Without the window of `hal::user`, a program's memory is closed.
pub fn read_program() {
    let _program = Program::new(&[0xcc]);
    let mut bytes = [1];
    expect(
        hal::user::copy_in(DATA, &mut bytes).is_ok(),
        "the page is there",
    );
    log::info!("read {}", hal::provoke::read_program(DATA));
}

/// A program that sets AC and traps does not open it either.
pub fn read_program_after_trap() {
    // pushfq; or qword ptr [rsp], 0x40000; popfq; int3
    let mut program = Program::new(&[0x9c, 0x48, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0xcc]);
    if !matches!(program.run(), UserEvent::Fault { vector: 3, .. }) {
        fail("the program reaches its breakpoint");
    }
    log::info!("read {}", hal::provoke::read_program(DATA));
}

/// The kernel does not run a program's code.
pub fn execute_program() {
    let _program = Program::new(&[0xc3]);
    hal::provoke::execute_program(CODE);
}
