//! The end of the kernel: says what happened and where, and stops the machine.

use crate::symbols;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What the emulated machine's verdict port gets.
const VERDICT: u8 = 0x12;
/// How many callers are shown of each end.
const INNERMOST: u64 = 24;
const OUTERMOST: u64 = 8;

/// The CPU that reports.
static PANICKING: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;

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
    let this = hal::cpu::id();
    if let Err(first) =
        PANICKING.compare_exchange(NOBODY, this, Ordering::AcqRel, Ordering::Acquire)
    {
        if first != this {
            // Another CPU reports already, and will stop this one.
            hal::cpu::halt();
        }
        // A panic within the report: what is out is out.
        hal::power::verdict(VERDICT)
    }
    hal::power::stop_others();
    let _ = writeln!(Serial, "\nVMkernel panic on CPU {this}: {}", info.message());
    if let Some(location) = info.location() {
        let _ = writeln!(Serial, "  in {location}");
    }
    print_backtrace();
    print_world();
    hal::power::verdict(VERDICT)
}

/// A run of equal return addresses, which is what recursion leaves.
#[derive(Clone, Copy)]
struct Run {
    address: u64,
    times: u64,
}

impl Run {
    fn print(self) {
        let Self { address, times } = self;
        // A return address may belong to the next function already.
        let _ = match symbols::find(address - 1) {
            Some((name, offset)) => write!(Serial, "  {address:#x} {name}+{:#x}", offset + 1),
            None => write!(Serial, "  {address:#x}"),
        };
        let _ = if times > 1 {
            writeln!(Serial, ", {times} times")
        } else {
            writeln!(Serial)
        };
    }
}

fn for_each_run(mut visit: impl FnMut(Run)) {
    let mut run = Run {
        address: 0,
        times: 0,
    };
    hal::backtrace::walk(|address| {
        if address == run.address {
            run.times += 1;
            return;
        }
        if run.times > 0 {
            visit(run);
        }
        run = Run { address, times: 1 };
    });
    if run.times > 0 {
        visit(run);
    }
}

/// The innermost and the outermost callers: where it happened, and on whose behalf.
fn print_backtrace() {
    let mut count = 0;
    for_each_run(|_| count += 1);
    let mut at = 0;
    for_each_run(|run| {
        if at < INNERMOST || at + OUTERMOST >= count {
            run.print();
        } else if at == INNERMOST {
            let _ = writeln!(Serial, "  ... {} more", count - INNERMOST - OUTERMOST);
        }
        at += 1;
    });
}

/// Which world the CPU worked for.
fn print_world() {
    if let Some(name) = sched::current_name() {
        let _ = writeln!(Serial, "  world: {name}");
    }
}
