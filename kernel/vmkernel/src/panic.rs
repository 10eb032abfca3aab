//! The end of the kernel: says what happened and where, and stops the machine.

use crate::symbols;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// What the emulated machine's verdict port gets.
const VERDICT: u8 = 0x12;
const DEPTH: usize = 32;

/// The serial console, for text that must come out now.
struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for piece in text.split_inclusive('\n') {
            hal::console::write_now(piece.trim_end_matches('\n').as_bytes());
            if piece.ends_with('\n') {
                hal::console::write_now(b"\r\n");
            }
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static IS_PANICKING: AtomicBool = AtomicBool::new(false);
    if IS_PANICKING.swap(true, Ordering::AcqRel) {
        // A panic within the report: what is out is out.
        hal::power::verdict(VERDICT)
    }
    hal::power::stop_others();
    let _ = writeln!(Serial, "\nVMkernel panic on CPU {}: {}", hal::cpu::id(), info.message());
    if let Some(location) = info.location() {
        let _ = writeln!(Serial, "  in {location}");
    }
    print_backtrace();
    print_world();
    hal::power::verdict(VERDICT)
}

fn print_backtrace() {
    let mut frames = [0; DEPTH];
    let count = hal::backtrace::capture(&mut frames);
    for address in &frames[..count] {
        // A return address may belong to the next function already.
        let _ = match symbols::find(address - 1) {
            Some((name, offset)) => writeln!(Serial, "  {address:#x} {name}+{:#x}", offset + 1),
            None => writeln!(Serial, "  {address:#x}"),
        };
    }
}

/// Which world the CPU worked for.
fn print_world() {
    if let Some(name) = sched::current_name() {
        let _ = writeln!(Serial, "  world: {name}");
    }
}
