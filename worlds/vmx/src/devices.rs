//! Attachments of the board's own chips: a lock around each chip, its
//! interrupt line, its clock, and what its effects mean to the machine.

use crate::console::{ConsoleInput, ConsoleOutput, RoomSignal};
use crate::interrupts::{EdgeLine, Interrupts};
use crate::outcome::Outcome;
use crate::stop::StopSignal;
use board::BusDevice;
use board::address_map::{I8042_RESET_COMMAND, SCI_IRQ};
use chipset::{Cmos, PowerEffect, PowerManagement};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vm_superio::Serial;
use vm_superio::serial::SerialEvents;

/// The system control interrupt's source number of the power management block.
const SCI_SOURCE: u32 = 63;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// COM1.
pub struct SerialPort {
    chip: Mutex<Serial<EdgeLine, RoomHook, ConsoleOutput>>,
}

/// Tells the event loop when the guest has read all input.
struct RoomHook(Arc<RoomSignal>);

impl SerialEvents for RoomHook {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        self.0.raise();
    }
}

impl SerialPort {
    /// A port that prints to `output`.
    pub fn new(irq: EdgeLine, room: Arc<RoomSignal>, output: ConsoleOutput) -> Self {
        Self {
            chip: Mutex::new(Serial::with_events(irq, RoomHook(room), output)),
        }
    }
}

impl ConsoleInput for SerialPort {
    fn offer(&self, input: &[u8]) -> usize {
        // An error is a full FIFO: nothing taken.
        lock(&self.chip).enqueue_raw_bytes(input).unwrap_or(0)
    }
}

impl BusDevice for SerialPort {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let mut chip = lock(&self.chip);
        for (byte, offset) in data.iter_mut().zip(offset..) {
            *byte = chip.read(offset as u8);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut chip = lock(&self.chip);
        for (byte, offset) in data.iter().zip(offset..) {
            // Output that nobody takes is lost, as on a port without a cable.
            let _ = chip.write(offset as u8, *byte);
        }
    }
}

/// The keyboard controller's one use: its command that resets the machine.
pub struct KeyboardController {
    stop: Arc<StopSignal>,
}

impl KeyboardController {
    /// Resets by asking for a stop.
    pub fn new(stop: Arc<StopSignal>) -> Self {
        Self { stop }
    }
}

impl BusDevice for KeyboardController {
    fn read(&self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == 4 && data.first() == Some(&I8042_RESET_COMMAND) {
            self.stop.request(Outcome::Reset);
        }
    }
}

/// The power management block with its interrupt and the machine's switch.
pub struct PowerBlock {
    chip: Mutex<PowerManagement>,
    started: Instant,
    interrupts: Arc<Interrupts>,
    stop: Arc<StopSignal>,
}

impl PowerBlock {
    /// The block of a machine that is switched on now.
    pub fn new(interrupts: Arc<Interrupts>, stop: Arc<StopSignal>) -> Self {
        Self {
            chip: Mutex::default(),
            started: Instant::now(),
            interrupts,
            stop,
        }
    }

    /// Presses the power button; says whether the guest listens to it.
    pub fn press_power_button(&self) -> bool {
        let mut chip = lock(&self.chip);
        chip.press_power_button();
        self.update_interrupt(&chip);
        chip.power_button_enabled()
    }

    fn update_interrupt(&self, chip: &PowerManagement) {
        let level = chip.interrupt();
        if let Err(error) = self.interrupts.set_level(SCI_IRQ, SCI_SOURCE, level) {
            let message = format!("the system control interrupt cannot be raised: {error}");
            self.stop.request(Outcome::HostError(message));
        }
    }
}

impl BusDevice for PowerBlock {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let now = self.started.elapsed().as_nanos() as u64;
        lock(&self.chip).read(offset, data, now);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut chip = lock(&self.chip);
        let effect = chip.write(offset, data);
        self.update_interrupt(&chip);
        if effect == PowerEffect::PowerOff {
            self.stop.request(Outcome::PowerOff);
        }
    }
}

/// The CMOS clock on the host's time.
#[derive(Default)]
pub struct Clock {
    chip: Mutex<Cmos>,
}

fn unix_now() -> chipset::cmos::UnixSeconds {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs() as i64)
}

impl BusDevice for Clock {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let mut chip = lock(&self.chip);
        for (byte, offset) in data.iter_mut().zip(offset..) {
            *byte = chip.read(offset, unix_now());
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut chip = lock(&self.chip);
        for (byte, offset) in data.iter().zip(offset..) {
            chip.write(offset, *byte, unix_now());
        }
    }
}
