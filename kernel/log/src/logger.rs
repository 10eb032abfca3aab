//! The one log of the kernel, and its connection to the crate `log`.

use log::{Level, LevelFilter, Log, Metadata, Record};
use sync::{Once, SpinLock};

use crate::{Cursor, Entry, Line, Ring, Sink, sinks};

/// Bytes of messages that are kept.
const CAPACITY: usize = 128 << 10;

static RING: SpinLock<Ring<CAPACITY>> = SpinLock::new(Ring::new());
static HOOKS: Once<Hooks> = Once::new();
static ARRIVAL: Once<fn()> = Once::new();
static LOGGER: Logger = Logger;

/// What the log asks of the rest of the kernel.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Monotonic time in ns.
    pub now_ns: fn() -> u64,
    /// The world that this CPU works for now; 0 for none.
    pub world: fn() -> u64,
}

/// Connects the macros of the crate `log` to this log and keeps messages up
/// to `level`. Later calls only change the level.
pub fn init(hooks: Hooks, level: LevelFilter) {
    if HOOKS.set(hooks).is_ok() {
        // Fails only if another logger was set before, which then stays.
        let _ = log::set_logger(&LOGGER);
    }
    log::set_max_level(level);
}

/// Sets what is called after each message, for readers that wait; it must not
/// block and must not log. The first call counts.
pub fn set_arrival_hook(hook: fn()) {
    let _ = ARRIVAL.set(hook);
}

/// Writes one message.
pub fn write(level: Level, text: Line) {
    let (time_ns, world) = HOOKS
        .get()
        .map_or((0, 0), |hooks| ((hooks.now_ns)(), (hooks.world)()));
    let sequence = RING.lock().append(level, time_ns, world, &text);
    sinks::show(&Entry {
        sequence,
        time_ns,
        world,
        level,
        text,
    });
    if let Some(arrival) = ARRIVAL.get() {
        arrival();
    }
}

/// Copies the message at `cursor` and moves the cursor on; see [`Ring::read`].
/// A default cursor starts at the oldest message.
pub fn read(cursor: &mut Cursor) -> Option<Entry> {
    RING.lock().read(cursor)
}

/// The oldest message's place and the place behind the newest.
pub fn bounds() -> (Cursor, Cursor) {
    let ring = RING.lock();
    (ring.oldest(), ring.end())
}

/// Shows what is in the ring on `sink`: for a console that comes late, and
/// for the text of a panic. Gives up if another CPU keeps the ring locked.
pub fn flush_to(sink: &dyn Sink) {
    let mut cursor = Cursor::default();
    loop {
        let Some(ring) = RING.try_lock() else { return };
        let Some(entry) = ring.read(&mut cursor) else {
            return;
        };
        drop(ring);
        sink.show(&entry);
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // A message bears the name of the crate that wrote it.
            let source = record.target().split("::").next().unwrap_or_default();
            write(
                record.level(),
                Line::format(format_args!("{source}: {}", record.args())),
            );
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register_sink;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::string::{String, ToString};
    use std::sync::Mutex;
    use std::vec::Vec;

    struct Console(Mutex<Vec<String>>);

    impl Sink for Console {
        fn show(&self, entry: &Entry) {
            self.0.lock().unwrap().push(entry.to_string());
        }
    }

    static CONSOLE: Console = Console(Mutex::new(Vec::new()));
    static LATE: Console = Console(Mutex::new(Vec::new()));
    static ARRIVALS: AtomicUsize = AtomicUsize::new(0);

    /// One test for all of it: the log is one per process.
    #[test]
    fn macros_reach_ring_sinks_and_waiters() {
        init(
            Hooks {
                now_ns: || 1_500_000_000,
                world: || 3,
            },
            LevelFilter::Debug,
        );
        set_arrival_hook(|| {
            ARRIVALS.fetch_add(1, Ordering::Relaxed);
        });
        register_sink(&CONSOLE, LevelFilter::Info).unwrap();
        log::info!(target: "block::queue", "hello {}", 1);
        log::debug!("not on the console");
        log::trace!("nowhere");
        assert_eq!(
            *CONSOLE.0.lock().unwrap(),
            ["[    1.500000] world 3: block: hello 1"]
        );
        assert_eq!(ARRIVALS.load(Ordering::Relaxed), 2);
        let mut cursor = Cursor::default();
        assert_eq!(read(&mut cursor).unwrap().text.as_str(), "block: hello 1");
        let second = read(&mut cursor).unwrap();
        assert_eq!(second.text.as_str(), "kernel_log: not on the console");
        assert!(read(&mut cursor).is_none());
        assert_eq!(bounds().1, cursor);
        flush_to(&LATE);
        assert_eq!(LATE.0.lock().unwrap().len(), 2);
    }
}
