//! The configuration file of a VM: [`VmConfig::parse`] turns TOML text into a
//! checked [`VmConfig`], or says in one sentence which line is wrong and what
//! is allowed there.
//!
//! Three lines make a VM:
//!
//! ```toml
//! kernel = "vmlinuz"
//! initrd = "initrd.img"
//! memory = "256 MiB"
//! ```
//!
//! All keys are in [`KEYS`] and [`DISK_KEYS`]; `worlds/vmx/README.md` explains
//! them. Whether files exist is not checked here.
#![forbid(unsafe_code)]

mod reader;
mod size;

use reader::{Reader, Table};
use std::fmt;
use std::path::{Path, PathBuf};

/// Every key at the top of the file.
pub const KEYS: &[&str] = &[
    "name",
    "kernel",
    "initrd",
    "cmdline",
    "memory",
    "cpus",
    "console",
    "console_device",
    "rng",
    "on_reboot",
    "disk",
];
/// Every key of a `[[disk]]` section.
pub const DISK_KEYS: &[&str] = &["path", "readonly", "serial"];
/// Least memory of a VM, in bytes.
pub const MEMORY_MIN: u64 = 16 << 20;
/// Most memory of a VM, in bytes.
pub const MEMORY_MAX: u64 = 1 << 40;
/// Most vCPUs of a VM.
pub const CPUS_MAX: u8 = 64;
/// Most disks of a VM.
pub const DISKS_MAX: usize = 24;
/// Longest disk serial number, in bytes (virtio's limit).
pub const SERIAL_MAX: usize = 20;
/// Longest name of a VM, in bytes.
pub const NAME_MAX: usize = 64;

const DEFAULT_MEMORY: u64 = 256 << 20;

/// Where the guest's console goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Console {
    /// The monitor's own standard input and output.
    #[default]
    Stdio,
    /// A Unix socket in the VM's runtime directory.
    Socket,
}

/// Which of the guest's devices takes the console's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ConsoleDevice {
    /// The 16550 at COM1, Linux's ttyS0.
    #[default]
    Serial,
    /// The virtio console, Linux's hvc0.
    Virtio,
}

/// What happens when the guest resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnReboot {
    /// It starts again.
    #[default]
    Restart,
    /// The monitor ends.
    Stop,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// A raw file or a block node.
    pub path: PathBuf,
    /// The guest cannot write.
    pub readonly: bool,
    /// Serial number that the guest sees.
    pub serial: String,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmConfig {
    /// Name of the VM; by default that of the file.
    pub name: String,
    /// Kernel file.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Command line of the kernel.
    pub cmdline: String,
    /// Guest memory in bytes.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u8,
    /// Where the console goes.
    pub console: Console,
    /// Which device takes console input.
    pub console_device: ConsoleDevice,
    /// Whether the guest gets an entropy device.
    pub rng: bool,
    /// What a reset of the guest does.
    pub on_reboot: OnReboot,
    /// Disks in the order of their PCI slots.
    pub disks: Vec<Disk>,
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong, the value, and what is allowed.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ConfigError {}

impl VmConfig {
    /// Parses the text of the configuration file at `path`. Relative paths in
    /// it are relative to its folder.
    ///
    /// # Errors
    /// The first thing wrong, with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let reader = Reader::new(text);
        let document = reader.parse()?;
        let root = reader.root(&document);
        root.only(KEYS)?;
        let file = |key: &str| -> Result<Option<PathBuf>, ConfigError> {
            Ok(root.text(key)?.map(|name| folder.join(name)))
        };
        let default_cmdline = match console_device(&root)? {
            ConsoleDevice::Serial => "console=ttyS0",
            ConsoleDevice::Virtio => "console=ttyS0 console=hvc0",
        };
        Ok(Self {
            name: name(&root, path)?,
            kernel: file("kernel")?
                .ok_or_else(|| root.missing("kernel", "the kernel's file name"))?,
            initrd: file("initrd")?,
            cmdline: root.text("cmdline")?.unwrap_or(default_cmdline).to_owned(),
            memory: memory(&root)?,
            cpus: root.integer("cpus", 1, CPUS_MAX.into())?.unwrap_or(1) as u8,
            console: console(&root)?,
            console_device: console_device(&root)?,
            rng: root.boolean("rng")?.unwrap_or(true),
            on_reboot: on_reboot(&root)?,
            disks: disks(&root, folder)?,
        })
    }
}

fn name(root: &Table<'_>, path: &Path) -> Result<String, ConfigError> {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let (name, given) = match root.text("name")? {
        Some(name) => (name.to_owned(), true),
        None => (stem.unwrap_or_default(), false),
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = (1..=NAME_MAX).contains(&name.len());
    if fits && name.chars().all(is_allowed) && !name.starts_with('.') {
        return Ok(name);
    }
    let what = if given {
        "name"
    } else {
        "the name taken from the file, set `name`:"
    };
    Err(root.wrong(
        "name",
        format!(
            "{what} \"{name}\" is not allowed; use 1 to {NAME_MAX} letters, digits, '.', '_' and '-', not starting with '.'"
        ),
    ))
}

fn memory(root: &Table<'_>) -> Result<u64, ConfigError> {
    let Some(value) = root.size("memory")? else {
        return Ok(DEFAULT_MEMORY);
    };
    if !(MEMORY_MIN..=MEMORY_MAX).contains(&value) || value % (1 << 20) != 0 {
        let message = format!(
            "memory is {value} bytes; whole MiB from {} MiB to {} GiB are allowed",
            MEMORY_MIN >> 20,
            MEMORY_MAX >> 30
        );
        return Err(root.wrong("memory", message));
    }
    Ok(value)
}

fn console(root: &Table<'_>) -> Result<Console, ConfigError> {
    let choices = [("stdio", Console::Stdio), ("socket", Console::Socket)];
    Ok(root.choice("console", &choices)?.unwrap_or_default())
}

fn console_device(root: &Table<'_>) -> Result<ConsoleDevice, ConfigError> {
    let choices = [
        ("serial", ConsoleDevice::Serial),
        ("virtio", ConsoleDevice::Virtio),
    ];
    Ok(root.choice("console_device", &choices)?.unwrap_or_default())
}

fn on_reboot(root: &Table<'_>) -> Result<OnReboot, ConfigError> {
    let choices = [("restart", OnReboot::Restart), ("stop", OnReboot::Stop)];
    Ok(root.choice("on_reboot", &choices)?.unwrap_or_default())
}

fn disks(root: &Table<'_>, folder: &Path) -> Result<Vec<Disk>, ConfigError> {
    let tables = root.tables("disk")?;
    if tables.len() > DISKS_MAX {
        let message = format!(
            "there are {} disks; at most {DISKS_MAX} are allowed",
            tables.len()
        );
        return Err(root.wrong("disk", message));
    }
    tables
        .iter()
        .enumerate()
        .map(|(index, table)| disk(table, index, folder))
        .collect()
}

fn disk(table: &Table<'_>, index: usize, folder: &Path) -> Result<Disk, ConfigError> {
    table.only(DISK_KEYS)?;
    let path = table
        .text("path")?
        .ok_or_else(|| table.missing("path", "the disk's file name"))?;
    let serial = match table.text("serial")? {
        Some(serial)
            if serial.len() > SERIAL_MAX || !serial.chars().all(|c| c.is_ascii_graphic()) =>
        {
            let message = format!(
                "serial \"{serial}\" is not allowed; use up to {SERIAL_MAX} printable ASCII characters without blanks"
            );
            return Err(table.wrong("serial", message));
        }
        Some(serial) => serial.to_owned(),
        None => format!("disk{index}"),
    };
    let readonly = table.boolean("readonly")?.unwrap_or(false);
    Ok(Disk {
        path: folder.join(path),
        readonly,
        serial,
    })
}

#[cfg(test)]
mod tests;
