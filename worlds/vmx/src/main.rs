//! `vmx`: the monitor of one virtual machine, one process per VM.
//!
//! Reads the configuration, claims the VM's name, files and disks, then runs
//! machines: one, or a new one after each reboot of the guest. The library
//! crates under `vmm/` are the devices; this program attaches them to KVM and
//! to the operator. Start reading at [`machine::Machine::build`] for the
//! machine, at [`session::Session`] for the event loop.

mod arguments;
mod backlog;
mod clients;
mod console;
mod control;
mod devices;
mod interrupts;
mod machine;
mod memory;
mod outcome;
mod pci_device;
mod poller;
mod raw;
mod runtime_dir;
mod session;
mod signals;
mod stop;
mod typing;
mod vcpu;

use arguments::{Arguments, Command};
use machine::{Machine, Parts};
use outcome::{EXIT_REFUSED, Outcome};
use runtime_dir::RuntimeDir;
use session::Session;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use virtio_block::FileStorage;
use vm_config::{Console, Disk, OnReboot, VmConfig};

fn main() -> ExitCode {
    let refused = |message: String| {
        eprintln!("vmx: {message}");
        ExitCode::from(EXIT_REFUSED)
    };
    let arguments = match Command::parse(std::env::args_os()) {
        Ok(Command::Run(arguments)) => arguments,
        Ok(Command::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(message) => return refused(message),
    };
    match run(&arguments) {
        Ok(Some(outcome)) => {
            eprintln!("vmx: {outcome}");
            ExitCode::from(outcome.exit_status())
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(message) => refused(message),
    }
}

/// Runs the VM to its end; nothing to tell if it was only checked.
///
/// # Errors
/// A sentence: why nothing was started.
fn run(arguments: &Arguments) -> Result<Option<Outcome>, String> {
    let config = read_config(&arguments.config)?;
    let mut kernel = open(&config.kernel, "kernel")?;
    guest_boot::image::identify(&mut kernel)
        .map_err(|error| format!("kernel {}: {error}", config.kernel.display()))?;
    let initrd = config
        .initrd
        .as_deref()
        .map(|path| open(path, "initrd"))
        .transpose()?;
    let disks = config
        .disks
        .iter()
        .map(open_disk)
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.is_check {
        println!(
            "{}: the configuration of VM \"{}\" is good",
            arguments.config.display(),
            config.name
        );
        return Ok(None);
    }
    let kvm = machine::open_kvm()?;
    let signals = signals::install()
        .and_then(|signals| vcpu::install_kick_handler().map(|()| signals))
        .map_err(|error| format!("signals cannot be handled: {error}"))?;
    let runtime = claim_runtime_dir(arguments, &config)?;
    let mut session = Session::new(runtime, config.console == Console::Socket, signals)?;
    let (output, room) = (session.output(), session.room());
    let mut parts = Parts {
        config,
        kvm,
        kernel,
        initrd,
        disks,
        output,
        room,
    };
    let mut is_first = true;
    loop {
        let machine = match Machine::build(&mut parts) {
            Ok(machine) => machine,
            Err(message) if is_first => return Err(message),
            Err(message) => return Ok(Some(Outcome::HostError(message))),
        };
        let outcome = session.serve(&machine);
        drop(machine);
        if outcome != Outcome::Reset || parts.config.on_reboot == OnReboot::Stop {
            return Ok(Some(outcome));
        }
        is_first = false;
    }
}

fn read_config(path: &Path) -> Result<VmConfig, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("configuration {}: {error}", path.display()))?;
    VmConfig::parse(&text, path).map_err(|error| format!("{}, {error}", path.display()))
}

fn open(path: &Path, what: &str) -> Result<File, String> {
    File::open(path).map_err(|error| format!("{what} {}: {error}", path.display()))
}

fn open_disk(disk: &Disk) -> Result<FileStorage, String> {
    FileStorage::open(&disk.path, disk.readonly)
        .map_err(|error| format!("disk {}: {error}", disk.path.display()))
}

/// With the console on a socket the folder is vital; otherwise only the
/// control socket is lost without it.
fn claim_runtime_dir(
    arguments: &Arguments,
    config: &VmConfig,
) -> Result<Option<RuntimeDir>, String> {
    match RuntimeDir::claim(&arguments.runtime_root, &config.name) {
        Ok(dir) => Ok(Some(dir)),
        Err(message) if config.console == Console::Socket => {
            Err(format!("the VM's runtime folder cannot be had: {message}"))
        }
        Err(message) => {
            eprintln!("vmx: no control socket: {message}");
            Ok(None)
        }
    }
}
