//! The monitors: one `vmx` for each configuration.
//!
//! Main type: [`Monitors`]. A VM is named after its file. What a monitor has to say goes to a log in `/run`, since
//! the console belongs to a person.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Event;
use crate::children::{Children, Ended};

/// Where configurations lie.
pub const CONFIGURATIONS: &str = "/etc/vms";
/// Where each running VM has a folder with its sockets.
const RUNNING: &str = "/run/alster/vms";
const LOGS: &str = "/run/alster/log";
const MONITOR: &str = "/bin/vmx";

/// How long a monitor may take to open its console, and VMs to end at power-off.
const PATIENCE: Duration = Duration::from_secs(20);

/// All monitors, by process number.
#[derive(Debug, Default)]
pub struct Monitors {
    running: BTreeMap<u32, String>,
    first: Option<String>,
}

impl Monitors {
    /// Starts one for each configuration, in the order of their names.
    pub fn start_all(children: &Children) -> Result<Monitors> {
        for folder in [RUNNING, LOGS] {
            fs::create_dir_all(folder).with_context(|| format!("Cannot make {folder}"))?;
        }
        let mut monitors = Monitors::default();
        for (name, file) in configurations(Path::new(CONFIGURATIONS))? {
            let log = log_file(&name);
            let out =
                File::create(&log).with_context(|| format!("Cannot write {}", log.display()))?;
            let errors = out.try_clone().context("Cannot duplicate a log file")?;
            let mut command = Command::new(MONITOR);
            command
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(errors);
            let pid = children.start(&mut command)?;
            monitors.first.get_or_insert_with(|| name.clone());
            monitors.running.insert(pid, name);
        }
        Ok(monitors)
    }

    /// The VM that a person is put through to.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// The VM of a monitor.
    pub fn name_of(&self, pid: u32) -> Option<&str> {
        self.running.get(&pid).map(String::as_str)
    }

    /// Takes note of a process that ended; a line for the operator if it was a monitor.
    pub fn ended(&mut self, ended: &Ended) -> Option<String> {
        let name = self.running.remove(&ended.pid)?;
        Some(format!("the VM {name} ended ({})", ended.how))
    }

    /// Asks all monitors to end, and gives them some time.
    pub fn stop_all(&mut self, events: &Receiver<Event>) {
        for pid in self.running.keys() {
            // One that is gone already needs no signal.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(Event::Ended(ended)) => drop(self.ended(&ended)),
                Ok(Event::PowerOff) => {}
                Err(_) => return,
            }
        }
    }
}

/// Connects to a VM's console as soon as its monitor has opened it.
pub fn connect_to_console(name: &str) -> Result<UnixStream> {
    let socket = Path::new(RUNNING).join(name).join("console");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                let place = socket.display();
                return Err(error).with_context(|| format!("There is no console at {place}"));
            }
            // Another process makes the socket and tells nobody: looking again is all that can be done.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether a VM's console can be had; says why if not.
pub fn wait_for_console(name: &str) -> bool {
    match connect_to_console(name) {
        Ok(_) => true,
        Err(error) => {
            println!(
                "init: the VM {name} has no console. {error:#}{}",
                log_of(name)
            );
            false
        }
    }
}

/// What a VM's monitor said, as text to append to a message.
pub fn log_of(name: &str) -> String {
    let text = fs::read_to_string(log_file(name)).unwrap_or_default();
    let text = text.trim();
    if text.is_empty() {
        String::new()
    } else {
        format!("\nIts monitor says:\n{text}")
    }
}

fn log_file(name: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{name}.log"))
}

/// Names and files of all configurations in a folder. A folder that is not there has none.
fn configurations(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("Cannot list {}", folder.display()));
        }
    };
    let mut found = BTreeMap::new();
    for entry in listing {
        let file = entry
            .with_context(|| format!("Cannot list {}", folder.display()))?
            .path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            found.insert(name, file);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_found_by_their_ending() {
        let folder = std::env::temp_dir().join(format!("alster-init-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["b.toml", "a.toml", "notes.txt"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let names: Vec<_> = configurations(&folder).unwrap().into_keys().collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert!(configurations(&folder).unwrap().is_empty());
    }

    #[test]
    fn only_monitors_are_reported() {
        let mut monitors = Monitors {
            running: [(9, "demo".to_owned())].into(),
            first: Some("demo".into()),
        };
        let ended = |pid| Ended {
            pid,
            is_success: true,
            how: "exit status 0".into(),
        };
        assert_eq!(monitors.ended(&ended(8)), None);
        let line = monitors.ended(&ended(9)).unwrap();
        assert_eq!(line, "the VM demo ended (exit status 0)");
        assert_eq!(monitors.ended(&ended(9)), None);
    }
}
