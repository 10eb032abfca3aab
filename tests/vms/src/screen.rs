//! What a guest prints: [`Screen`]. It is copied to our own output, line by
//! line with the VM's name before it, so that a hang shows where the guest is.

use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// What was expected and found lies before this.
    read: usize,
    /// What was copied lies before this.
    copied: usize,
    is_closed: bool,
}

/// The text that came so far.
#[derive(Debug, Default)]
pub struct Screen {
    state: Mutex<State>,
    news: Condvar,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in all that comes from `source`.
    pub fn fill(&self, name: &str, mut source: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            let count = source.read(&mut buffer).unwrap_or(0);
            let mut state = self.lock();
            state.text.extend_from_slice(&buffer[..count]);
            state.is_closed = count == 0;
            copy_lines(name, &mut state);
            self.news.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    /// Waits for one of `texts`, after those that were found before; which one.
    ///
    /// # Errors
    /// The console is closed without.
    pub fn expect(&self, texts: &[&str]) -> Result<usize> {
        let mut state = self.lock();
        loop {
            let fresh = &state.text[state.read..];
            let found = texts.iter().enumerate().filter_map(|(which, text)| {
                let at = find(fresh, text.as_bytes())?;
                Some((at + text.len(), which))
            });
            if let Some((end, which)) = found.min() {
                state.read += end;
                return Ok(which);
            }
            if state.is_closed {
                bail!("the console was closed before it showed {texts:?}");
            }
            state = self
                .news
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

fn copy_lines(name: &str, state: &mut State) {
    let mut output = std::io::stdout().lock();
    while let Some(end) = state.text[state.copied..]
        .iter()
        .position(|byte| *byte == b'\n')
    {
        let line = &state.text[state.copied..state.copied + end];
        // The copy is for a person; the test goes on without.
        let _ = writeln!(
            output,
            "[{name}] {}",
            String::from_utf8_lossy(line).trim_end()
        );
        state.copied += end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_order_and_once() {
        let screen = Screen::default();
        screen.fill("vm", &b"one\ntwo one\n"[..]);
        assert_eq!(screen.expect(&["two", "one"]).unwrap(), 1);
        assert_eq!(screen.expect(&["one"]).unwrap(), 0);
        assert!(screen.expect(&["two"]).is_err());
    }
}
