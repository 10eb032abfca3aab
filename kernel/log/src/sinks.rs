//! [`Sink`]: where messages are shown as they are written.

use core::fmt;

use log::LevelFilter;
use sync::SpinLock;

use crate::Entry;

/// Most sinks there can be.
pub const MAX_SINKS: usize = 4;

/// A console. It is called with interrupts disabled and from any CPU, several
/// at a time; it must not block and must not log.
pub trait Sink: Sync {
    /// Shows one message.
    fn show(&self, entry: &Entry);
}

/// All [`MAX_SINKS`] places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkError;

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "There are {MAX_SINKS} log sinks already, which is the most allowed"
        )
    }
}

impl core::error::Error for SinkError {}

type Registered = Option<(&'static dyn Sink, LevelFilter)>;

static SINKS: SpinLock<[Registered; MAX_SINKS]> = SpinLock::new([None; MAX_SINKS]);

/// Shows messages up to `level` on `sink` from now on.
///
/// # Errors
/// [`SinkError`] if there is no place left.
pub fn register_sink(sink: &'static dyn Sink, level: LevelFilter) -> Result<(), SinkError> {
    let mut sinks = SINKS.lock();
    let free = sinks
        .iter_mut()
        .find(|place| place.is_none())
        .ok_or(SinkError)?;
    *free = Some((sink, level));
    Ok(())
}

/// Shows a message on all sinks that want its level. The list is not locked
/// meanwhile: consoles are slow.
pub(crate) fn show(entry: &Entry) {
    let sinks = *SINKS.lock();
    for (sink, level) in sinks.into_iter().flatten() {
        if entry.level <= level {
            sink.show(entry);
        }
    }
}
