//! The end of the kernel: says what happened, where, and stops the machine.

use core::fmt::Write;
use core::panic::PanicInfo;

/// The serial console, for text that must come out now.
pub struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        hal::console::write_now(text.as_bytes());
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hal::power::stop_others();
    let _ = writeln!(Serial, "\nVMkernel panic on CPU {}: {}", hal::cpu::id(), info.message());
    if let Some(location) = info.location() {
        let _ = writeln!(Serial, "  at {location}");
    }
    let mut frames = [0; 32];
    let count = hal::backtrace::capture(&mut frames);
    for address in &frames[..count] {
        let _ = writeln!(Serial, "  {address:#x}");
    }
    hal::power::verdict(0x12)
}
