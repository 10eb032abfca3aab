//! QEMU's machine protocol: commands to a running machine, and events from it.
//!
//! Main type: [`Qmp`]. One line of JSON a message (QEMU Machine Protocol specification, part 2). A thread reads;
//! answers and events are told apart there. Neighbour: [`crate::Running`] owns it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer. Its main loop can wait for a busy CPU.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to a machine's monitor.
#[derive(Debug)]
pub struct Qmp {
    line: UnixStream,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<Value>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Qmp {
    /// Starts to read `line`, and leaves the negotiation mode.
    pub(crate) fn new(line: UnixStream) -> Result<Qmp> {
        let (sender, answers) = channel();
        let events = Arc::new(Mutex::new(Vec::new()));
        let reader = BufReader::new(line.try_clone().context("Cannot duplicate the QMP line")?);
        let for_thread = Arc::clone(&events);
        let sort = move || {
            for text in reader.lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&text) else {
                    continue;
                };
                if message.get("event").is_some() {
                    lock(&for_thread).push(message);
                } else if message.get("QMP").is_none() && sender.send(message).is_err() {
                    return;
                }
            }
        };
        let reader = thread::Builder::new()
            .name("qmp".into())
            .spawn(sort)
            .context("Cannot start the thread that reads QMP")?;
        let mut qmp = Qmp {
            line,
            answers,
            events,
            reader: Some(reader),
        };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns what it returns.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut message = json!({ "execute": command, "arguments": arguments }).to_string();
        message.push('\n');
        self.line
            .write_all(message.as_bytes())
            .with_context(|| format!("QEMU does not take the command {command}"))?;
        let answer = self
            .answers
            .recv_timeout(ANSWER)
            .with_context(|| format!("QEMU does not answer the command {command}"))?;
        if let Some(error) = answer.get("error") {
            bail!(
                "QEMU refuses {command}: {}",
                error["desc"].as_str().unwrap_or("no reason given")
            );
        }
        Ok(answer["return"].clone())
    }

    /// Runs a command of the human monitor, seen from CPU `cpu`, and returns the text it prints.
    pub fn human(&mut self, command: &str, cpu: usize) -> Result<String> {
        let arguments = json!({ "command-line": command, "cpu-index": cpu });
        let text = self.execute("human-monitor-command", arguments)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The events that came so far.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.events).clone()
    }

    /// Why the machine shut down, by the last SHUTDOWN event. Call it when the machine has ended: it reads on
    /// until the line is closed.
    pub(crate) fn shutdown_reason(&mut self) -> Option<String> {
        if let Some(reader) = self.reader.take() {
            // A reader that panicked leaves the events that it had.
            let _ = reader.join();
        }
        let events = lock(&self.events);
        let last = events.iter().rev().find(|e| e["event"] == "SHUTDOWN")?;
        last["data"]["reason"].as_str().map(str::to_owned)
    }
}

fn lock(events: &Mutex<Vec<Value>>) -> std::sync::MutexGuard<'_, Vec<Value>> {
    events
        .lock()
        .expect("invariant: no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays QEMU: greets, then gives `answers` in turn, one for each command.
    fn fake(answers: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut line = theirs;
            line.write_all(b"{\"QMP\": {}}\n").unwrap();
            for answer in answers {
                commands.next().unwrap().unwrap();
                line.write_all(answer.as_bytes()).unwrap();
            }
        });
        ours
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let shutdown = "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n\
                        {\"return\": \"text\"}\n";
        let mut qmp = Qmp::new(fake(vec_leak(["{\"return\": {}}\n", shutdown]))).unwrap();
        assert_eq!(qmp.human("info registers", 0).unwrap(), "text");
        assert_eq!(qmp.shutdown_reason().as_deref(), Some("guest-reset"));
    }

    #[test]
    fn a_refusal_gives_the_reason() {
        let refusal = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such disk\"}}\n";
        let mut qmp = Qmp::new(fake(vec_leak(["{\"return\": {}}\n", refusal]))).unwrap();
        let error = qmp
            .execute("device_del", json!({}))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "QEMU refuses device_del: no such disk");
    }

    fn vec_leak(answers: [&'static str; 2]) -> &'static [&'static str] {
        Box::leak(Box::new(answers))
    }
}
