//! Tests of what only the booted kernel can show, by `selftest=NAME` on the
//! command line. Each ends the machine with a verdict, or must end it in a panic.

mod memory;
mod program;
mod protection;
mod shootdown;

use crate::command_line;
use alloc::format;
use sched::Builder;

const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;

/// The tests by name; each returns when all was well.
const TESTS: [(&str, fn()); 18] = [
    ("boot", || {}),
    ("fault", protection::overflow_stack),
    ("guard_page", protection::guard_page),
    ("write_text", hal::provoke::write_text),
    ("write_text_alias", hal::provoke::write_text_in_direct_map),
    ("execute_data", hal::provoke::execute_data),
    ("execute_stack", hal::provoke::execute_stack),
    ("smap", protection::read_program),
    ("smep", protection::execute_program),
    ("smap_after_trap", protection::read_program_after_trap),
    ("user_copy", memory::user_copy),
    ("boot_frames", memory::boot_frames),
    ("out_of_memory", memory::out_of_memory),
    ("stacks", memory::stacks),
    ("single_step", program::single_step),
    ("segments", program::segments),
    ("nmi", program::nmi),
    ("shootdown", shootdown::run),
];

/// Runs the test that the command line asks for, if any, in a thread of its own
/// on the first CPU.
pub fn run_if_asked() {
    let Some(name) = command_line::value("selftest") else {
        return;
    };
    let Some((_, test)) = TESTS.iter().find(|(other, _)| *other == name) else {
        let known = TESTS.map(|(name, _)| name).join(", ");
        log::error!("selftest={name}: there are {known}");
        hal::power::verdict(FAILURE)
    };
    spawn("selftest", 0, || {
        test();
        log::info!("selftest passed");
        hal::power::verdict(SUCCESS)
    });
    sched::run_cpu()
}

/// Starts a thread on CPU `cpu`.
fn spawn(name: &str, cpu: usize, main: impl FnOnce() + Send + 'static) {
    let thread = Builder::new(format!("{name}/{cpu}"))
        .affinity(1 << cpu)
        .build(main);
    match thread {
        Ok(thread) => thread.start(),
        Err(error) => fail(&format!("no thread: {error}")),
    }
}

/// Ends the test.
fn fail(reason: &str) -> ! {
    log::error!("selftest failed: {reason}");
    hal::power::verdict(FAILURE)
}

/// Ends the test unless `is_good`.
fn expect(is_good: bool, what: &str) {
    if !is_good {
        fail(what);
    }
}
