//! What to emulate.
//!
//! Main type: [`Machine`], a builder. The defaults are the machine that Alster is developed on: q35, AMD EPYC by
//! TCG, no window, no reboot, the debug-exit device, an entropy device. Neighbour: [`crate::Running`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::qmp::Qmp;
use crate::running::Running;
use crate::serial::{Copies, Serial};
use crate::verdict::Verdict;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: everywhere, SVM included.
    Tcg,
    /// The translator counting instructions: virtual time is instructions executed. One CPU only.
    Icount,
    /// The host's KVM: only with nested SVM.
    Kvm,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    kernel: PathBuf,
    initrd: Option<PathBuf>,
    append: String,
    cpu: String,
    cpus: u32,
    memory_mib: u32,
    accelerator: Accelerator,
    arguments: Vec<OsString>,
    log: Option<PathBuf>,
    echo: bool,
    is_virtio: bool,
}

impl Machine {
    /// A machine that boots `kernel` (an ELF with a PVH note, or a bzImage).
    pub fn new(kernel: &Path) -> Machine {
        Machine {
            kernel: kernel.to_owned(),
            initrd: None,
            append: String::new(),
            cpu: "EPYC".into(),
            cpus: 1,
            memory_mib: 1024,
            accelerator: Accelerator::Tcg,
            arguments: Vec::new(),
            log: None,
            echo: false,
            is_virtio: false,
        }
    }

    /// The boot archive.
    pub fn initrd(mut self, file: &Path) -> Machine {
        self.initrd = Some(file.to_owned());
        self
    }

    /// The kernel's command line.
    pub fn append(mut self, words: &str) -> Machine {
        self.append = words.to_owned();
        self
    }

    /// The processor model, in QEMU's words.
    pub fn cpu(mut self, model: &str) -> Machine {
        self.cpu = model.to_owned();
        self
    }

    /// How many processors.
    pub fn cpus(mut self, count: u32) -> Machine {
        self.cpus = count;
        self
    }

    /// Memory in MiB.
    pub fn memory_mib(mut self, size: u32) -> Machine {
        self.memory_mib = size;
        self
    }

    /// Who executes the guest.
    pub fn accelerator(mut self, accelerator: Accelerator) -> Machine {
        self.accelerator = accelerator;
        self
    }

    /// More arguments for QEMU: devices, drives.
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, more: I) -> Machine {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// A raw disk image as a virtio disk.
    pub fn disk(self, file: &Path) -> Machine {
        let id = format!("disk{}", self.arguments.len());
        let mut drive = OsString::from(format!("if=none,id={id},format=raw,file="));
        // A comma in an option's value is written twice.
        drive.push(file.to_string_lossy().replace(',', ",,"));
        let device = format!("virtio-blk-pci,drive={id},disable-legacy=on");
        self.arguments([
            OsString::from("-drive"),
            drive,
            "-device".into(),
            device.into(),
        ])
    }

    /// Keeps what comes over the serial line in a file, too.
    pub fn log(mut self, file: &Path) -> Machine {
        self.log = Some(file.to_owned());
        self
    }

    /// Makes the serial line a virtio console; there is no other then.
    pub fn virtio_console(mut self) -> Machine {
        self.is_virtio = true;
        self
    }

    /// Shows what comes over the serial line, too.
    pub fn echo(mut self) -> Machine {
        self.echo = true;
        self
    }

    /// Gives this machine to a person, until it ends: the terminal is the serial line. Ctrl-A X ends it, Ctrl-A C
    /// is QEMU's monitor.
    pub fn hand_over(&self) -> Result<Verdict> {
        let mut command = self.command();
        command.args(["-chardev", "stdio,id=serial0,mux=on,signal=off"]);
        command.args(["-mon", "chardev=serial0,mode=readline"]);
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .context("Cannot start qemu-system-x86_64")?;
        let complaints = child
            .stderr
            .take()
            .context("QEMU was started without stderr")?;
        for line in BufReader::new(complaints).lines().map_while(Result::ok) {
            if !is_noise(&line) {
                eprintln!("{line}\r");
            }
        }
        let status = child.wait().context("Cannot learn how QEMU ended")?;
        // Without QMP nobody can tell power-off from reset.
        Ok(Verdict::judge(status.code(), Some("guest-shutdown")))
    }

    /// Starts it, with the serial line and QMP in our hands.
    pub fn start(&self) -> Result<Running> {
        let (serial_ours, serial_its) = UnixStream::pair().context("Cannot make a socket")?;
        let (qmp_ours, qmp_its) = UnixStream::pair().context("Cannot make a socket")?;
        let mut command = self.command();
        command.args(["-chardev", "socket,id=serial0,fd=0"]);
        command.args([
            "-chardev",
            "socket,id=qmp0,fd=1",
            "-mon",
            "chardev=qmp0,mode=control",
        ]);
        command.stdin(Stdio::from(OwnedFd::from(serial_its)));
        command.stdout(Stdio::from(OwnedFd::from(qmp_its)));
        command.stderr(Stdio::piped());
        let to_file = match &self.log {
            Some(path) => Some(create(path)?),
            None => None,
        };
        let child = command.spawn().context("Cannot start qemu-system-x86_64")?;
        // The command holds QEMU's ends of the lines; they must close when QEMU ends.
        drop(command);
        let serial = Serial::new(
            serial_ours,
            Copies {
                to_stdout: self.echo,
                to_file,
            },
        )?;
        Running::new(child, serial, || Qmp::new(qmp_ours))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-M", "q35", "-cpu", &self.cpu]);
        command.args([
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &format!("{}M", self.memory_mib),
        ]);
        match self.accelerator {
            Accelerator::Tcg => command.args(["-accel", "tcg"]),
            Accelerator::Kvm => command.args(["-accel", "kvm"]),
            Accelerator::Icount => command.args([
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-rtc",
                "base=2020-01-01T00:00:00,clock=vm",
                "-seed",
                "1",
            ]),
        };
        command
            .arg("-kernel")
            .arg(&self.kernel)
            .args(["-append", &self.append]);
        if let Some(initrd) = &self.initrd {
            command.arg("-initrd").arg(initrd);
        }
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        command.args(["-device", "virtio-rng-pci,disable-legacy=on"]);
        if self.is_virtio {
            command.args(["-serial", "none"]);
            command.args(["-device", "virtio-serial-pci,disable-legacy=on"]);
            command.args(["-device", "virtconsole,chardev=serial0"]);
        } else {
            command.args(["-serial", "chardev:serial0"]);
        }
        command.args(&self.arguments);
        command
    }
}

/// TCG lists what a processor model has and it has not, at every start.
pub(crate) fn is_noise(line: &str) -> bool {
    line.contains("TCG doesn't support requested feature")
}

fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("Cannot make {}", folder.display()))?;
    }
    File::create(path).with_context(|| format!("Cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(machine: &Machine) -> Vec<String> {
        let command = machine.command();
        command
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn options_reach_the_command_line() {
        let machine = Machine::new(Path::new("/k"))
            .cpus(4)
            .memory_mib(2048)
            .append("a b");
        let words = words(&machine).join(" ");
        for part in [
            "-smp 4",
            "-m 2048M",
            "-kernel /k",
            "-append a b",
            "-accel tcg",
            "-cpu EPYC",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("icount"));
    }

    #[test]
    fn two_disks_have_two_names_and_commas_survive() {
        let machine = Machine::new(Path::new("/k"))
            .disk(Path::new("a,b"))
            .disk(Path::new("c"));
        let words = words(&machine);
        let drives: Vec<_> = words.iter().filter(|w| w.starts_with("if=none")).collect();
        assert_eq!(drives.len(), 2);
        assert!(drives[0].ends_with("file=a,,b"));
        assert_ne!(drives[0].split(',').nth(1), drives[1].split(',').nth(1));
    }
}
