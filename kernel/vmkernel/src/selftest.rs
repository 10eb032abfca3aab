//! Tests of what only the booted kernel can show, by `selftest=NAME` on the
//! command line. Each ends the machine with a verdict.

use crate::command_line;

/// Runs the test that the command line asks for, if any.
pub fn run_if_asked() {
    match command_line::value("selftest") {
        None => {}
        Some("fault") => fault(),
        Some("boot") => hal::power::verdict(0x10),
        Some(other) => {
            log::error!("selftest={other}: there are boot and fault");
            hal::power::verdict(0x11)
        }
    }
}

/// Runs off the end of the stack, into its guard page: the backtrace must name
/// these functions.
fn fault() {
    log::info!("depth {}", descend(0));
}

#[expect(unconditional_recursion, reason = "that is the test")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let room = core::hint::black_box([depth; 64]);
    descend(depth + 1) + room[(depth % 64) as usize]
}
