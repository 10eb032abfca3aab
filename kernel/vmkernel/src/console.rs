//! The console: a terminal over the serial port.

use crate::{interrupts, machine};
use abi::fs::makedev;
use abi::signal::{SIG_IGN, SigInfo};
use alloc::sync::Arc;
use hal::console as serial;
use tty::{JobControl, Tty, TtyDevice, TtyDriver};
use vfs::ProcessIds;

/// Device numbers of /dev/console and /dev/ttyS0.
const CONSOLE: u64 = makedev(5, 1);
/// The first serial port.
pub const SERIAL: u64 = makedev(4, 64);
/// Received bytes handed on at a time.
const BATCH: usize = 64;

struct SerialPort;

impl TtyDriver for SerialPort {
    fn write(&self, bytes: &[u8]) -> usize {
        serial::write(bytes);
        bytes.len()
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

/// Registers the console, and has it hear what is typed.
pub fn init() {
    let terminal = Tty::new(Arc::new(SerialPort), Arc::new(Jobs), SERIAL);
    for number in [CONSOLE, SERIAL] {
        vfs::device::register(false, number, Arc::new(TtyDevice(terminal.clone())));
    }
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
