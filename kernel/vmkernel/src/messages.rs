//! The log: kept in a ring, shown on the serial console.

use alloc::vec::Vec;
use core::fmt::Write;
use kernel_log::{Cursor, Entry, Hooks, Sink};
use log::LevelFilter;

struct Serial;

/// Text for the serial port, whose lines end as terminals want.
struct Lines;

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    hal::console::write(line.as_bytes());
                    hal::console::write(b"\r\n");
                }
                None => hal::console::write(piece.as_bytes()),
            }
        }
        Ok(())
    }
}

impl Sink for Serial {
    fn show(&self, entry: &Entry) {
        let (seconds, micro) = (
            entry.time_ns / 1_000_000_000,
            entry.time_ns % 1_000_000_000 / 1000,
        );
        let _ = writeln!(Lines, "[{seconds:5}.{micro:06}] {}", entry.text.as_str());
    }
}

/// Has `hook` called after each message; it must neither block nor log.
pub fn set_arrival_hook(hook: fn()) {
    kernel_log::set_arrival_hook(hook);
}

/// Connects the log; `quiet` on the command line keeps the console to warnings.
pub fn init() {
    let hooks = Hooks {
        now_ns: hal::time::now_ns,
        world: || 0,
    };
    kernel_log::init(hooks, LevelFilter::Debug);
    let shown = if crate::command_line::has("quiet") {
        LevelFilter::Warn
    } else {
        LevelFilter::Info
    };
    if kernel_log::register_sink(&Serial, shown).is_err() {
        hal::console::write_now(b"the log has no room for the serial console\r\n");
    }
}

/// All messages, as text.
pub fn all() -> Vec<u8> {
    struct Text(Vec<u8>);
    impl Write for Text {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let mut text = Text(Vec::new());
    let mut cursor = Cursor::default();
    while let Some(entry) = kernel_log::read(&mut cursor) {
        let (seconds, micro) = (
            entry.time_ns / 1_000_000_000,
            entry.time_ns % 1_000_000_000 / 1000,
        );
        let _ = writeln!(
            text,
            "<{}>[{seconds:5}.{micro:06}] {}",
            entry.severity(),
            entry.text.as_str()
        );
    }
    text.0
}
