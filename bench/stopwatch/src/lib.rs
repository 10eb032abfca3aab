//! Rounds of something, timed in instructions.
//!
//! Main function: [`measure`]. Under icount the time-stamp counter ticks once an instruction, so that a difference
//! of two readings is the number of instructions that the processor executed between them, whoever's they were.
//! Each round stands between two marks, which the plugin `op_counter` knows, and a third says that the last one
//! counts: the plugin then writes what was executed there.

#![expect(unsafe_code)]
// UNSAFETY: reading the time-stamp counter, and NOPs that are marks.

use std::arch::asm;

/// How many rounds are measured; the median is reported, so that a timer's tick in some of them does not matter.
const ROUNDS: usize = 9;

/// The time-stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: RDTSC reads a counter and has no other effect; the kernels that this runs on leave CR4.TSD clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Tells the plugin that a round begins (1), has ended (2), and that the last one counts (3): a NOP with an address
/// that is used for nothing.
macro_rules! mark {
    ($number:literal) => {
        // SAFETY: a NOP accesses no memory, whatever its operand says.
        unsafe { asm!(".byte 0x0f, 0x1f, 0x80, {}, 0x4c, 0x53, 0x41", const $number, options(nostack)) }
    };
}

/// Runs `round`, which does something `operations` times, often enough, and prints what one operation costs.
///
/// `round` returns how many instructions it took, from [`timed`]; what it does before and after is not counted.
///
/// # Errors
/// Those of `round`.
pub fn measure<E>(
    name: &str,
    operations: u64,
    round: impl FnMut() -> Result<u64, E>,
) -> Result<(), E> {
    measure_above(name, operations, 0, round)
}

/// The same, where each operation stands in `overhead` instructions that are not its own.
///
/// # Errors
/// Those of `round`.
pub fn measure_above<E>(
    name: &str,
    operations: u64,
    overhead: u64,
    mut round: impl FnMut() -> Result<u64, E>,
) -> Result<(), E> {
    // The first one warms up: code and data are mapped, buffers allocated.
    round()?;
    let mut rounds = [0; ROUNDS];
    for each in &mut rounds {
        *each = round()?;
    }
    rounds.sort_unstable();
    let each = (rounds[ROUNDS / 2] as f64 / operations as f64) - overhead as f64;
    println!("BENCH {name} {each:.0} instructions");
    // The order of these lines is that of the plugin's.
    println!("SPAN {name} {operations}");
    mark!(3);
    Ok(())
}

/// Does it, between marks; returns how many instructions it took.
///
/// # Errors
/// Those of `what`.
pub fn timed<E>(what: impl FnOnce() -> Result<(), E>) -> Result<u64, E> {
    mark!(1);
    let start = ticks();
    let result = what();
    let end = ticks();
    mark!(2);
    result.map(|()| end - start)
}

/// Begins a span that is not measured in rounds, for `op_counter` alone.
pub fn begin_span() {
    mark!(1);
}

/// Ends a span that this program, or another one, or the machine's start has begun.
pub fn end_span(name: &str) {
    mark!(2);
    println!("SPAN {name} 1");
    mark!(3);
}
