//! Text to the serial port, and the end of a panic.

use core::fmt::Write;
use core::panic::PanicInfo;

/// The serial port.
pub struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        hal::console::write_now(text.as_bytes());
        Ok(())
    }
}

/// Prints a line.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::console::Serial, $($argument)*);
    }};
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("FAILED: {}", info.message());
    if let Some(location) = info.location() {
        say!("  at {location}");
    }
    let mut frames = [0; 32];
    let count = hal::backtrace::capture(&mut frames);
    for address in &frames[..count] {
        say!("  {address:#x}");
    }
    hal::power::verdict(0x12)
}
