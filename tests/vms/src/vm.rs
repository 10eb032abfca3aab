//! A running VM with its console in our hands: [`Vm`].

use crate::screen::Screen;
use anyhow::{Context, Result, bail, ensure};
use initramfs::{Alignment, Archive};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The monitor.
const MONITOR: &str = "/bin/vmx";
/// Where configurations are written.
const FOLDER: &str = "/tmp";
/// What the guest prints before its shell starts.
const BANNER: &str = "in a VM of Alster";
const PROMPT: &str = "# ";

/// What is in a VM's configuration beside Debian's kernel.
#[derive(Clone, Debug)]
pub struct Config {
    name: String,
    cpus: u32,
    memory_mib: u32,
    initrd: PathBuf,
    disks: Vec<PathBuf>,
}

impl Config {
    /// One vCPU, 128 MiB.
    #[must_use]
    pub fn new(name: &str) -> Config {
        Config {
            name: name.to_owned(),
            cpus: 1,
            memory_mib: 128,
            initrd: "/vm/initrd".into(),
            disks: Vec::new(),
        }
    }

    /// So many vCPUs.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Config {
        Config { cpus, ..self }
    }

    /// One more disk.
    #[must_use]
    pub fn disk(mut self, path: &Path) -> Config {
        self.disks.push(path.to_owned());
        self
    }

    /// Another file in the guest, readable and executable.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn guest_file(mut self, path: &str, content: &[u8]) -> Result<Config> {
        let mut initrd = fs::read(&self.initrd).context("the initrd")?;
        // Linux takes any number of archives behind each other.
        let mut more = Archive::new(Alignment::Word);
        more.file(path, 0o755, content);
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend_from_slice(&more.finish());
        self.initrd = Path::new(FOLDER).join(format!("{}.initrd", self.name));
        fs::write(&self.initrd, initrd).context("the new initrd")?;
        Ok(self)
    }

    /// The command that runs this VM.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn command(&self) -> Result<Command> {
        let disks = self.disks.iter();
        let disks = disks.map(|path| {
            format!(
                "[[disk]]\npath = \"{}\"\nserial = \"alster-test\"\n",
                path.display()
            )
        });
        let text = format!(
            "name = \"{}\"\nkernel = \"/vm/vmlinuz\"\ninitrd = \"{}\"\ncpus = {}\nmemory = {}\n{}",
            self.name,
            self.initrd.display(),
            self.cpus,
            self.memory_mib,
            disks.collect::<String>()
        );
        let file = Path::new(FOLDER).join(format!("{}.toml", self.name));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(MONITOR);
        command.arg(file);
        Ok(command)
    }

    /// Starts it.
    ///
    /// # Errors
    /// The monitor cannot be started.
    pub fn start(&self) -> Result<Vm> {
        let mut command = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut monitor = command.spawn().context(MONITOR)?;
        let output = monitor.stdout.take().context("no output")?;
        let screen = Arc::new(Screen::default());
        let (name, filled) = (self.name.clone(), screen.clone());
        Ok(Vm {
            name: self.name.clone(),
            keys: monitor.stdin.take().context("no input")?,
            monitor,
            screen,
            reader: Some(thread::spawn(move || filled.fill(&name, output))),
        })
    }
}

/// A running VM. Dropping it kills its monitor.
#[derive(Debug)]
pub struct Vm {
    name: String,
    monitor: Child,
    keys: ChildStdin,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
}

impl Vm {
    /// Waits until the guest's shell waits for a command.
    ///
    /// # Errors
    /// The VM ends before.
    pub fn wait_for_shell(&self) -> Result<()> {
        self.expect(BANNER)?;
        self.expect(PROMPT)
    }

    /// Waits until the guest prints this.
    ///
    /// # Errors
    /// The VM ends before.
    pub fn expect(&self, text: &str) -> Result<()> {
        self.expect_one_of(&[text]).map(drop)
    }

    /// Waits until the guest prints one of these; which one.
    ///
    /// # Errors
    /// The VM ends before.
    pub fn expect_one_of(&self, texts: &[&str]) -> Result<usize> {
        let found = self.screen.expect(texts);
        found.with_context(|| format!("VM {}", self.name))
    }

    /// Types a line.
    ///
    /// # Errors
    /// The VM has ended.
    pub fn enter(&mut self, line: &str) -> Result<()> {
        let typed = self.keys.write_all(format!("{line}\n").as_bytes());
        typed.with_context(|| format!("typing {line:?} into VM {}", self.name))
    }

    /// Types a line and waits until the shell is back.
    ///
    /// # Errors
    /// The VM ends.
    pub fn command(&mut self, line: &str, answer: &str) -> Result<()> {
        self.enter(line)?;
        self.expect(answer)?;
        self.expect(PROMPT)
    }

    /// Presses the power button, as an operator does.
    ///
    /// # Errors
    /// The VM does not answer.
    pub fn press_power_button(&mut self) -> Result<()> {
        // The guest's daemon says so when it listens.
        self.command(
            "while [ ! -e /run/acpid.pid ]; do sleep 0.1; done; echo it-$((40 + 2))",
            "it-42",
        )?;
        let stop = Command::new("/bin/alster")
            .args(["vm", "stop", &self.name])
            .output()?;
        let told = String::from_utf8_lossy(&stop.stdout);
        ensure!(
            stop.status.success() && told.contains("power button pressed"),
            "alster vm stop {}: {}: {told}{}",
            self.name,
            stop.status,
            String::from_utf8_lossy(&stop.stderr)
        );
        Ok(())
    }

    /// Waits for its end, which must have this exit status.
    ///
    /// # Errors
    /// It has another.
    pub fn wait(mut self, status: i32) -> Result<()> {
        let found = self.monitor.wait()?;
        ensure!(
            found.code() == Some(status),
            "the monitor of VM {} ended: {found}",
            self.name
        );
        Ok(())
    }

    /// Ends it by SIGKILL, which must be what ends it.
    ///
    /// # Errors
    /// It ended before.
    pub fn kill(mut self) -> Result<ExitStatus> {
        if let Some(status) = self.monitor.try_wait()? {
            bail!("the monitor of VM {} ended by itself: {status}", self.name);
        }
        self.monitor.kill()?;
        Ok(self.monitor.wait()?)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // If it has ended already there is nothing to kill.
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
        if let Some(reader) = self.reader.take() {
            // The reader ends when the last writer of the pipe has ended.
            let _ = reader.join();
        }
    }
}
