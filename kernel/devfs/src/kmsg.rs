//! [`Kmsg`]: the kernel's log as programs read and write it: one record a read,
//! `priority,sequence,microseconds,-;text`.

use abi::Errno;
use abi::event::Events;
use abi::fs::OpenFlags;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sync::SpinLock;
use vfs::{Caller, Device, File, Io, PollHead, Result, Sink, Source};

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number; they count up from 0.
    pub sequence: u64,
    /// Severity, 0 (worst) to 7.
    pub level: u8,
    /// When, in microseconds since boot.
    pub time_us: u64,
    /// What, without a newline.
    pub text: String,
}

/// The kernel's log.
pub trait KernelLog: Send + Sync {
    /// The first record with at least this number that is still kept.
    fn record(&self, sequence: u64) -> Option<Record>;
    /// Adds a line of a program.
    fn add(&self, level: u8, text: &str);
    /// Notified with `IN` when a record was added.
    fn head(&self) -> &PollHead;
}

/// The log as a device; each open reads from the start.
pub struct Kmsg {
    log: Arc<dyn KernelLog>,
}

impl Kmsg {
    /// Over `log`.
    #[must_use]
    pub fn new(log: Arc<dyn KernelLog>) -> Self {
        Self { log }
    }
}

impl Device for Kmsg {
    fn open(&self, _flags: OpenFlags, _caller: Option<&dyn Caller>) -> Result<Arc<dyn File>> {
        Ok(Arc::new(Reader {
            log: self.log.clone(),
            next: SpinLock::new(0),
        }))
    }
}

struct Reader {
    log: Arc<dyn KernelLog>,
    next: SpinLock<u64>,
}

/// Longest line that a program may add.
const MAX_LINE: usize = 1000;
/// Severity of lines that name none.
const DEFAULT_LEVEL: u8 = 6;

impl Reader {
    fn peek(&self) -> Option<Record> {
        let next = *self.next.lock();
        self.log.record(next)
    }
}

impl File for Reader {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        let record = match self.peek() {
            Some(record) => record,
            None if io.nonblock => return Err(Errno::EAGAIN),
            None => self.log.head().wait(Events::IN, None, || self.peek())?,
        };
        let Record {
            sequence,
            level,
            time_us,
            text,
        } = record;
        let line = format!("{level},{sequence},{time_us},-;{text}\n");
        if line.len() > sink.room() {
            return Err(Errno::EINVAL);
        }
        *self.next.lock() = sequence + 1;
        sink.put(line.as_bytes())
    }

    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let len = source.left();
        if len > MAX_LINE {
            return Err(Errno::EINVAL);
        }
        let mut bytes: Vec<u8> = alloc::vec![0; len];
        source.take(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let (level, text) = split_level(text.trim_end_matches('\n'));
        self.log.add(level, text);
        Ok(len)
    }

    fn poll(&self) -> Events {
        let mut events = Events::OUT | Events::WRNORM;
        events.set(Events::IN | Events::RDNORM, self.peek().is_some());
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(self.log.head())
    }

    fn label(&self) -> String {
        String::from("/dev/kmsg")
    }
}

/// Splits `<N>` off the front; N is a severity and a facility, of which only the
/// severity counts.
fn split_level(text: &str) -> (u8, &str) {
    let split = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match split.and_then(|(number, rest)| Some((number.parse::<u32>().ok()?, rest))) {
        Some((number, rest)) => ((number & 7) as u8, rest),
        None => (DEFAULT_LEVEL, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::{SliceSource, VecSink};

    #[derive(Default)]
    struct Lines {
        lines: SpinLock<Vec<Record>>,
        head: PollHead,
    }
    impl KernelLog for Lines {
        fn record(&self, sequence: u64) -> Option<Record> {
            self.lines
                .lock()
                .iter()
                .find(|record| record.sequence >= sequence)
                .cloned()
        }
        fn add(&self, level: u8, text: &str) {
            let mut lines = self.lines.lock();
            let sequence = lines.len() as u64;
            lines.push(Record {
                sequence,
                level,
                time_us: 5,
                text: text.into(),
            });
        }
        fn head(&self) -> &PollHead {
            &self.head
        }
    }

    #[test]
    fn lines_come_back_as_records() {
        let file = Kmsg::new(Arc::new(Lines::default()))
            .open(OpenFlags::RDWR, None)
            .unwrap();
        let mut io = Io {
            nonblock: true,
            ..Io::default()
        };
        for line in ["<3>bad\n", "<x>plain"] {
            file.write(&mut io, &mut SliceSource::new(line.as_bytes()))
                .unwrap();
        }
        let mut next = || {
            let mut sink = VecSink::new(100);
            file.read(&mut io, &mut sink)
                .map(|_| String::from_utf8(sink.bytes).unwrap())
        };
        assert_eq!(next().unwrap(), "3,0,5,-;bad\n");
        assert_eq!(next().unwrap(), "6,1,5,-;<x>plain\n");
        assert_eq!(next(), Err(Errno::EAGAIN));
    }
}
