//! A machine that runs.
//!
//! Main type: [`Running`]. It is killed when dropped. Neighbours: [`crate::Machine`] makes it,
//! [`crate::Serial`] and [`crate::Qmp`] are its lines, `hang` writes the report of one that does not end.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::hang;
use crate::machine;
use crate::qmp::Qmp;
use crate::serial::Serial;
use crate::symbols::Symbols;
use crate::verdict::Verdict;

/// A running machine.
#[derive(Debug)]
pub struct Running {
    child: Child,
    serial: Serial,
    qmp: Qmp,
    complaints: Option<JoinHandle<String>>,
    started: Instant,
}

/// How a machine ended, and what it left.
#[derive(Debug)]
pub struct Ending {
    /// What its exit status says.
    pub verdict: Verdict,
    /// All it printed over the serial line.
    pub serial: String,
    /// What QEMU itself had to say.
    pub complaints: String,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Running {
    pub(crate) fn new(
        mut child: Child,
        serial: Serial,
        connect: impl FnOnce() -> Result<Qmp>,
    ) -> Result<Running> {
        let stderr = child
            .stderr
            .take()
            .context("QEMU was started without stderr")?;
        let collect = move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            lines
                .filter(|line| !machine::is_noise(line))
                .map(|line| line + "\n")
                .collect()
        };
        let complaints = thread::spawn(collect);
        match connect() {
            Ok(qmp) => {
                let complaints = Some(complaints);
                Ok(Running {
                    child,
                    serial,
                    qmp,
                    complaints,
                    started: Instant::now(),
                })
            }
            Err(error) => {
                // It refused its arguments: what it wrote is the reason.
                let _ = child.kill();
                let _ = child.wait();
                let text = complaints.join().unwrap_or_default();
                Err(anyhow!("{error:#}. QEMU says: {}", text.trim()))
            }
        }
    }

    /// Its serial line.
    pub fn serial(&mut self) -> &mut Serial {
        &mut self.serial
    }

    /// Its monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for its end. None if it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        if !self.serial.wait_closed(timeout) {
            return Ok(None);
        }
        let elapsed = self.started.elapsed();
        let status = self.child.wait().context("Cannot learn how QEMU ended")?;
        let reason = self.qmp.shutdown_reason();
        let complaints = self
            .complaints
            .take()
            .and_then(|c| c.join().ok())
            .unwrap_or_default();
        let verdict = Verdict::judge(status.code(), reason.as_deref());
        Ok(Some(Ending {
            verdict,
            serial: self.serial.text(),
            complaints,
            elapsed,
        }))
    }

    /// Says where every CPU is, with names from `symbols`, and what was printed last. The machine stands still
    /// afterwards.
    pub fn hang_report(&mut self, symbols: &Symbols) -> String {
        let cpus = hang::report(&mut self.qmp, symbols)
            .unwrap_or_else(|error| format!("(no registers: {error:#})\n"));
        format!(
            "{cpus}last lines of the serial line:\n{}\n",
            self.serial.last_lines(25)
        )
    }

    /// Ends it at once.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("Cannot kill QEMU")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
