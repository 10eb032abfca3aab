//! The console: a terminal over the serial port, or over a virtio console.

use crate::{command_line, devices, interrupts, machine, messages};
use abi::fs::makedev;
use abi::signal::{SIG_IGN, SigInfo};
use alloc::boxed::Box;
use alloc::sync::Arc;
use device::Machine;
use device::virtio::{Console, ConsoleHandler};
use hal::console as serial;
use tty::{JobControl, Tty, TtyDevice, TtyDriver};
use vfs::ProcessIds;

/// Device numbers of /dev/console and /dev/ttyS0.
const CONSOLE: u64 = makedev(5, 1);
/// The first serial port.
pub const SERIAL: u64 = makedev(4, 64);
/// The first virtio console.
pub const VIRTIO: u64 = makedev(229, 0);
/// Received bytes handed on at a time.
const BATCH: usize = 64;

struct SerialPort;

impl TtyDriver for SerialPort {
    fn write(&self, bytes: &[u8]) -> usize {
        serial::write(bytes);
        bytes.len()
    }
}

struct VirtioLine(Arc<Console<Machine>>);

impl TtyDriver for VirtioLine {
    fn write(&self, bytes: &[u8]) -> usize {
        self.0.write(bytes)
    }

    fn is_drained(&self) -> bool {
        self.0.is_drained()
    }
}

/// What the virtio console tells goes to its terminal.
struct VirtioTerminal(Arc<Tty>);

impl ConsoleHandler for VirtioTerminal {
    fn received(&self, bytes: &[u8]) {
        self.0.receive(bytes);
    }

    fn writable(&self) {
        self.0.output_ready();
    }
}

/// Processes, as the terminal sees them.
struct Jobs;

impl JobControl for Jobs {
    fn current(&self) -> Option<ProcessIds> {
        let thread = world::current_thread()?;
        let process = thread.process();
        Some(ProcessIds {
            pid: process.pid(),
            group: process.group(),
            session: process.session().id(),
        })
    }

    fn signal_group(&self, group: u32, signal: u32) {
        let _ = world::job::signal_group(group, SigInfo::kernel(signal));
    }

    fn session_of_group(&self, group: u32) -> Option<u32> {
        world::job::members(group)
            .first()
            .map(|member| member.session().id())
    }

    fn takes_signal(&self, signal: u32) -> bool {
        world::current_thread().is_some_and(|thread| {
            let handler = thread.process().change_action(signal, None).handler;
            !thread.blocked().contains(signal) && handler != SIG_IGN
        })
    }

    fn is_orphaned(&self, group: u32) -> bool {
        world::job::is_orphaned(group)
    }
}

/// Registers the terminals, and has them hear what is typed. `console=hvc0` on
/// the command line makes the virtio console /dev/console.
pub fn init() {
    let terminal = Tty::new(Arc::new(SerialPort), Arc::new(Jobs), SERIAL);
    let register = |number, terminal: &Arc<Tty>| {
        vfs::device::register(false, number, Arc::new(TtyDevice(terminal.clone())));
    };
    register(SERIAL, &terminal);
    let virtio = devices::CONSOLE.get().map(|line| {
        let terminal = Tty::new(Arc::new(VirtioLine(line.clone())), Arc::new(Jobs), VIRTIO);
        register(VIRTIO, &terminal);
        line.set_handler(Box::new(VirtioTerminal(terminal.clone())));
        (line, terminal)
    });
    match (wanted(), virtio) {
        (VIRTIO, Some((line, virtio))) => {
            register(CONSOLE, &virtio);
            messages::show_on(line.clone());
        }
        (VIRTIO, None) => {
            log::warn!("console=hvc0: there is no virtio console; the serial port is taken");
            register(CONSOLE, &terminal);
        }
        _ => register(CONSOLE, &terminal),
    }
    hear_serial(terminal);
}

/// The device number that `console=` on the command line names.
fn wanted() -> u64 {
    match command_line::value("console") {
        None | Some("ttyS0") => SERIAL,
        Some("hvc0") => VIRTIO,
        Some(other) => {
            log::warn!("console={other}: there are ttyS0 and hvc0; the serial port is taken");
            SERIAL
        }
    }
}

fn hear_serial(terminal: Arc<Tty>) {
    let vector = interrupts::register(move || receive(&terminal));
    let is_routed = vector.is_some_and(|vector| machine::route_isa(serial::ISA_IRQ, vector));
    if is_routed {
        serial::enable_receive_interrupt();
    } else {
        log::warn!("the serial port has no interrupt: nothing can be typed there");
    }
}

fn receive(terminal: &Tty) {
    let mut bytes = [0; BATCH];
    loop {
        let mut count = 0;
        while count < BATCH
            && let Some(byte) = serial::read()
        {
            bytes[count] = byte;
            count += 1;
        }
        if count == 0 {
            return;
        }
        terminal.receive(&bytes[..count]);
    }
}
