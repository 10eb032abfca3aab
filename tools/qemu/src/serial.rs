//! The operator's end of a serial line.
//!
//! Main type: [`Serial`]. A thread reads all that the guest prints; [`Serial::expect`] waits for text in it,
//! [`Serial::send`] types. Neighbour: [`crate::Running`] owns it.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What the guest printed so far.
#[derive(Debug, Default)]
struct Printed {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    printed: Mutex<Printed>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed
            .lock()
            .expect("invariant: no holder of this lock panics")
    }
}

/// Where a copy of what the guest prints goes.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) to_stdout: bool,
    pub(crate) to_file: Option<File>,
}

/// A serial line to a guest.
#[derive(Debug)]
pub struct Serial {
    line: UnixStream,
    shared: Arc<Shared>,
    /// Up to where `expect` has looked.
    seen: usize,
}

/// Text that was waited for did not come.
#[derive(Clone, Debug)]
pub struct NoMatch {
    /// What was waited for.
    pub wanted: String,
    /// Whether the line was closed (the machine ended), and not the time over.
    pub is_closed: bool,
    /// What came instead.
    pub got: String,
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.is_closed {
            "The machine ended"
        } else {
            "Time ran out"
        };
        write!(f, "{why} while waiting for {:?}", self.wanted)
    }
}

impl std::error::Error for NoMatch {}

impl Serial {
    /// Starts to read `line`.
    pub(crate) fn new(line: UnixStream, copies: Copies) -> Result<Serial> {
        let shared = Arc::new(Shared::default());
        let reader = line
            .try_clone()
            .context("Cannot duplicate the serial line")?;
        let for_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("serial".into())
            .spawn(move || read_all(reader, &for_thread, copies))
            .context("Cannot start the thread that reads the serial line")?;
        Ok(Serial {
            line,
            shared,
            seen: 0,
        })
    }

    /// Waits until the guest prints `text`, behind what an earlier call found. Returns what came up to its end.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> Result<String, NoMatch> {
        self.expect_any(&[text], timeout).map(|(_, before)| before)
    }

    /// Waits until the guest prints one of `texts`; returns which one came first, and what came up to its end.
    pub fn expect_any(
        &mut self,
        texts: &[&str],
        timeout: Duration,
    ) -> Result<(usize, String), NoMatch> {
        let deadline = Instant::now() + timeout;
        let mut printed = self.shared.lock();
        loop {
            let fresh = &printed.bytes[self.seen..];
            if let Some((which, end)) = first_match(fresh, texts) {
                let before = String::from_utf8_lossy(&fresh[..end]).into_owned();
                self.seen += end;
                return Ok((which, before));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if printed.closed || left.is_zero() {
                let got = String::from_utf8_lossy(fresh).into_owned();
                return Err(NoMatch {
                    wanted: texts.join("\" or \""),
                    is_closed: printed.closed,
                    got,
                });
            }
            let waited = self.shared.changed.wait_timeout(printed, left);
            printed = waited.expect("invariant: no holder of this lock panics").0;
        }
    }

    /// Types `text`.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.line
            .write_all(text.as_bytes())
            .context("Cannot type on the serial line")
    }

    /// Everything the guest printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().bytes).into_owned()
    }

    /// The last `count` lines of it.
    pub fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Waits until the line is closed, which is when the machine ended. False if the time ran out.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let printed = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(printed, timeout, |p| !p.closed);
        waited
            .expect("invariant: no holder of this lock panics")
            .0
            .closed
    }
}

/// The match that starts first; where it ends.
fn first_match(text: &[u8], wanted: &[&str]) -> Option<(usize, usize)> {
    let find = |needle: &str| {
        let found = text
            .windows(needle.len())
            .position(|w| w == needle.as_bytes())?;
        Some((found, found + needle.len()))
    };
    let hits = wanted
        .iter()
        .enumerate()
        .filter_map(|(i, needle)| Some((find(needle)?, i)));
    hits.min_by_key(|((start, _), _)| *start)
        .map(|((_, end), which)| (which, end))
}

fn read_all(mut line: UnixStream, shared: &Shared, mut copies: Copies) {
    let mut buffer = [0; 4096];
    loop {
        let count = match line.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(count) => count,
            Err(_) => 0,
        };
        let fresh = &buffer[..count];
        // Copies are for people; a closed terminal or a full disk is no reason to stop the test.
        if copies.to_stdout {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(fresh).and_then(|()| out.flush());
        }
        if let Some(file) = &mut copies.to_file {
            let _ = file.write_all(fresh);
        }
        let mut printed = shared.lock();
        printed.bytes.extend_from_slice(fresh);
        printed.closed = count == 0;
        shared.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    fn pair() -> (Serial, UnixStream) {
        let (ours, guest) = UnixStream::pair().unwrap();
        (Serial::new(ours, Copies::default()).unwrap(), guest)
    }

    #[test]
    fn expect_goes_forward_through_the_text() {
        let (mut serial, mut guest) = pair();
        guest.write_all(b"one two one").unwrap();
        assert_eq!(serial.expect("two", LONG).unwrap(), "one two");
        assert_eq!(serial.expect("one", LONG).unwrap(), " one");
        let error = serial.expect("one", SHORT).unwrap_err();
        assert!(!error.is_closed);
    }

    #[test]
    fn text_in_pieces_is_found() {
        let (mut serial, mut guest) = pair();
        let typist = thread::spawn(move || {
            for piece in ["log", "in", ": "] {
                guest.write_all(piece.as_bytes()).unwrap();
            }
            guest
        });
        serial.expect("login: ", LONG).unwrap();
        typist.join().unwrap();
    }

    #[test]
    fn the_first_of_several_wins() {
        let (mut serial, mut guest) = pair();
        guest.write_all(b"... panic ... ok").unwrap();
        assert_eq!(serial.expect_any(&["ok", "panic"], LONG).unwrap().0, 1);
    }

    #[test]
    fn the_end_of_the_machine_ends_the_wait() {
        let (mut serial, guest) = pair();
        drop(guest);
        let error = serial.expect("never", LONG).unwrap_err();
        assert!(error.is_closed);
        assert!(serial.wait_closed(LONG));
    }

    #[test]
    fn typing_reaches_the_guest() {
        let (mut serial, mut guest) = pair();
        serial.send("ls\n").unwrap();
        let mut got = [0; 3];
        guest.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ls\n");
    }
}
