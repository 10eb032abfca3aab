//! The interval timer of a PC: [`Pit`], with port 0x61.
//!
//! Intel 8254 data sheet: "Programming the 8254", "Mode Definitions",
//! "Counter Latch Command", "Read-Back Command". Channel 0 drives GSI 0,
//! channel 2 is gated and read through port 0x61, which operating systems use
//! to calibrate other clocks.
//!
//! Nothing counts here: the state is when counting began, and every reading
//! is computed from the time that the caller passes (nanoseconds of the VM's
//! clock). Two deviations, both without effect on programs that write a
//! control word first: a new count starts at once, not at the end of the
//! period, and an odd count in mode 3 is high and low for equal shares of it.
//! Interrupts that were missed collapse into one.

mod channel;

use abi::kvm_irqchip::{PIT_FLAGS_HPET_LEGACY, PIT_FLAGS_SPEAKER_DATA_ON, PitState2};
use channel::Channel;

/// Input clock of the counters.
pub const PIT_HZ: u64 = 1_193_182;

const NANOS: u64 = 1_000_000_000;
/// Bit 4 of port 0x61 changes at every refresh of memory, which channel 1
/// requested every 18 ticks.
const REFRESH_NANOS: u64 = 15_085;

/// Whole ticks in `nanos`. Seconds and the rest apart, so that nothing
/// overflows and no 128-bit division is needed.
fn ticks(nanos: u64) -> u64 {
    nanos / NANOS * PIT_HZ + nanos % NANOS * PIT_HZ / NANOS
}

/// The first nanosecond at which [`ticks`] gives `ticks`.
fn nanos(ticks: u64) -> u64 {
    (ticks / PIT_HZ)
        .saturating_mul(NANOS)
        .saturating_add((ticks % PIT_HZ * NANOS).div_ceil(PIT_HZ))
}

/// The timer.
#[derive(Clone, Debug)]
pub struct Pit {
    channels: [Channel; 3],
    speaker_data: bool,
    hpet_legacy: bool,
    /// Tick, counted from the start of channel 0, of its next rising edge.
    next_edge: Option<u64>,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// As after power-up: no channel counts; the gate of channel 2 is closed.
    pub fn new() -> Self {
        Self {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            speaker_data: false,
            hpet_legacy: false,
            next_edge: None,
        }
    }

    /// Reads port 0x40 to 0x43 or 0x61.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].read(now),
            0x61 => self.read_system_port(now),
            // The control port is write-only.
            _ => 0,
        }
    }

    fn read_system_port(&self, now: u64) -> u8 {
        let channel = &self.channels[2];
        u8::from(channel.gate())
            | u8::from(self.speaker_data) << 1
            | ((now / REFRESH_NANOS) as u8 & 1) << 4
            | u8::from(channel.output(now)) << 5
    }

    /// Writes port 0x40 to 0x43 or 0x61. After the first four,
    /// [`Pit::deadline`] may be another.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].write(value, now),
            0x43 => self.control(value, now),
            0x61 => {
                self.speaker_data = value & 2 != 0;
                self.channels[2].set_gate(value & 1 != 0, now);
                return;
            }
            _ => return,
        }
        if port == 0x40 || port == 0x43 {
            self.next_edge = self.channels[0].edge_after(now);
        }
    }

    fn control(&mut self, value: u8, now: u64) {
        if let Some(channel) = self.channels.get_mut(usize::from(value >> 6)) {
            return channel.control(value, now);
        }
        // Read-back: the two latch bits are active when 0.
        for (number, channel) in self.channels.iter_mut().enumerate() {
            if value & 2 << number == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch_count(now);
            }
            if value & 0x10 == 0 {
                channel.latch_status(now);
            }
        }
    }

    /// When channel 0 raises GSI 0 next, in nanoseconds.
    pub fn deadline(&self) -> Option<u64> {
        if self.hpet_legacy {
            return None;
        }
        let since = self.channels[0].since()?;
        Some(since.saturating_add(nanos(self.next_edge?)))
    }

    /// Whether channel 0 has risen since the last call: pulse GSI 0.
    pub fn expire(&mut self, now: u64) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        if due {
            self.next_edge = self.channels[0].edge_after(now);
        }
        due
    }

    /// The state as `KVM_GET_PIT2` gives it.
    pub fn state(&self) -> PitState2 {
        let mut flags = 0;
        if self.hpet_legacy {
            flags |= PIT_FLAGS_HPET_LEGACY;
        }
        if self.speaker_data {
            flags |= PIT_FLAGS_SPEAKER_DATA_ON;
        }
        let [a, b, c] = &self.channels;
        PitState2 {
            channels: [a.state(), b.state(), c.state()],
            flags,
            reserved: [0; 9],
        }
    }

    /// Takes a state over as `KVM_SET_PIT2` does. Counting starts anew at
    /// `now`: the time in the state is that of another clock.
    pub fn set_state(&mut self, state: &PitState2, now: u64) {
        for (channel, state) in self.channels.iter_mut().zip(&state.channels) {
            channel.set_state(state, now);
        }
        // Channels 0 and 1 have their gates tied high.
        self.channels[0].set_gate(true, now);
        self.channels[1].set_gate(true, now);
        self.hpet_legacy = state.flags & PIT_FLAGS_HPET_LEGACY != 0;
        self.speaker_data = state.flags & PIT_FLAGS_SPEAKER_DATA_ON != 0;
        self.next_edge = self.channels[0].edge_after(now);
    }
}

#[cfg(test)]
mod tests;
