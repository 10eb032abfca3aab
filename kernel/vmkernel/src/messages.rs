//! The log: kept in a ring, shown on the serial console or on a virtio console.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use device::Machine;
use device::virtio::Console;
use kernel_log::{Cursor, Entry, Hooks, Sink};
use log::LevelFilter;
use sync::Once;

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

/// Where messages go instead of the serial port, if anywhere.
static VIRTIO: Once<Arc<Console<Machine>>> = Once::new();

impl Sink for Serial {
    fn show(&self, entry: &Entry) {
        if VIRTIO.get().is_some() {
            return;
        }
        let (seconds, micro) = (entry.time_ns / 1_000_000_000, entry.time_ns % 1_000_000_000 / 1000);
        let _ = writeln!(Lines, "[{seconds:5}.{micro:06}] {}", entry.text.as_str());
    }
}

struct Virtio;

impl Sink for Virtio {
    fn show(&self, entry: &Entry) {
        let Some(line) = VIRTIO.get().filter(|_| entry.level <= shown()) else { return };
        let (seconds, micro) = (entry.time_ns / 1_000_000_000, entry.time_ns % 1_000_000_000 / 1000);
        let text = format!("[{seconds:5}.{micro:06}] {}\r\n", entry.text.as_str());
        // What finds no room is lost here, and still in the log.
        let _ = line.write(text.as_bytes());
    }
}

/// Shows all messages so far on `line`, and from now on there only.
pub fn show_on(line: Arc<Console<Machine>>) {
    if VIRTIO.set(line).is_err() {
        return;
    }
    kernel_log::flush_to(&Virtio);
    if kernel_log::register_sink(&Virtio, shown()).is_err() {
        hal::console::write_now(b"the log has no room for the virtio console\r\n");
    }
}

/// `quiet` on the command line keeps the console to warnings.
fn shown() -> LevelFilter {
    if crate::command_line::has("quiet") { LevelFilter::Warn } else { LevelFilter::Info }
}

/// Has `hook` called after each message; it must neither block nor log.
pub fn set_arrival_hook(hook: fn()) {
    kernel_log::set_arrival_hook(hook);
}

/// Connects the log to the serial port.
pub fn init() {
    let hooks = Hooks {
        now_ns: hal::time::now_ns,
        world: || 0,
    };
    kernel_log::init(hooks, LevelFilter::Debug);
    if kernel_log::register_sink(&Serial, shown()).is_err() {
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
