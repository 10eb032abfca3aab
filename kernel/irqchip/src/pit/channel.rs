//! One counter of the 8254: [`Channel`].

use super::{nanos, ticks};
use abi::kvm_irqchip::PitChannelState;

/// What the counter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A control word or nothing came, no count yet.
    Empty,
    /// Modes 1 and 5: loaded, the gate has not risen yet.
    Armed,
    /// Counting since this nanosecond.
    Counting(u64),
    /// The gate is low; so many ticks have been counted.
    Stopped(u64),
}

/// Which byte the next read or write is about. The numbers are those of the
/// control word's access field and of the KVM ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Low = 1,
    High = 2,
    WordLow = 3,
    WordHigh = 4,
}

impl Byte {
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Low,
            2 => Self::High,
            4 => Self::WordHigh,
            _ => Self::WordLow,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Channel {
    phase: Phase,
    /// 1 to 65,536 (10,000 in BCD).
    count: u32,
    mode: u8,
    bcd: bool,
    gate: bool,
    access: Byte,
    read_next: Byte,
    write_next: Byte,
    write_low: u8,
    latched: Option<(u16, Byte)>,
    status: Option<u8>,
}

impl Channel {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            phase: Phase::Empty,
            count: 0x1_0000,
            mode: 3,
            bcd: false,
            gate,
            access: Byte::WordLow,
            read_next: Byte::WordLow,
            write_next: Byte::WordLow,
            write_low: 0,
            latched: None,
            status: None,
        }
    }

    pub(super) fn gate(&self) -> bool {
        self.gate
    }

    /// When counting began, if it counts.
    pub(super) fn since(&self) -> Option<u64> {
        match self.phase {
            Phase::Counting(since) => Some(since),
            _ => None,
        }
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn elapsed(&self, now: u64) -> u64 {
        match self.phase {
            Phase::Counting(since) => ticks(now.saturating_sub(since)),
            Phase::Stopped(ticks) => ticks,
            Phase::Empty | Phase::Armed => 0,
        }
    }

    /// The output pin.
    pub(super) fn output(&self, now: u64) -> bool {
        let count = u64::from(self.count);
        let elapsed = self.elapsed(now);
        match (self.phase, self.mode) {
            (Phase::Empty, 0) => false,
            (Phase::Empty | Phase::Armed, _) | (Phase::Stopped(_), 2 | 3) => true,
            (_, 0 | 1) => elapsed >= count,
            (_, 2) => elapsed % count != count - 1,
            (_, 3) => elapsed % count < count.div_ceil(2),
            _ => elapsed != count,
        }
    }

    /// The tick of the first rise of the output after `now`.
    pub(super) fn edge_after(&self, now: u64) -> Option<u64> {
        self.since()?;
        let count = u64::from(self.count);
        let elapsed = self.elapsed(now);
        if self.is_periodic() {
            return Some((elapsed / count + 1) * count);
        }
        // The strobe of modes 4 and 5 is low for one tick.
        let rise = if self.mode <= 1 { count } else { count + 1 };
        (elapsed < rise).then_some(rise)
    }

    /// The counter as a program reads it.
    fn value(&self, now: u64) -> u16 {
        if self.phase == Phase::Empty {
            return 0;
        }
        let count = u64::from(self.count);
        let elapsed = self.elapsed(now);
        let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
        let left = match self.mode {
            2 => count - elapsed % count,
            3 => count - elapsed * 2 % count,
            _ => count + modulus - elapsed % modulus,
        };
        let value = (left % modulus) as u16;
        if self.bcd { to_bcd(value) } else { value }
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        if let Some((value, byte)) = self.latched {
            let [low, high] = value.to_le_bytes();
            let (result, next) = match byte {
                Byte::Low => (low, None),
                Byte::High | Byte::WordHigh => (high, None),
                Byte::WordLow => (low, Some((value, Byte::High))),
            };
            self.latched = next;
            return result;
        }
        let [low, high] = self.value(now).to_le_bytes();
        let (result, next) = match self.read_next {
            Byte::WordLow => (low, Byte::WordHigh),
            Byte::WordHigh => (high, Byte::WordLow),
            Byte::Low => (low, Byte::Low),
            Byte::High => (high, Byte::High),
        };
        self.read_next = next;
        result
    }

    pub(super) fn write(&mut self, value: u8, now: u64) {
        match self.write_next {
            Byte::Low => self.load(u16::from(value), now),
            Byte::High => self.load(u16::from(value) << 8, now),
            Byte::WordLow => {
                self.write_low = value;
                self.write_next = Byte::WordHigh;
            }
            Byte::WordHigh => {
                self.write_next = Byte::WordLow;
                self.load(u16::from_le_bytes([self.write_low, value]), now);
            }
        }
    }

    fn load(&mut self, raw: u16, now: u64) {
        self.count = match (raw, self.bcd) {
            (0, false) => 0x1_0000,
            (0, true) => 10_000,
            (_, false) => u32::from(raw),
            (_, true) => from_bcd(raw),
        };
        self.phase = match (self.mode, self.phase) {
            // A shot that is under way goes on with the old start.
            (1 | 5, Phase::Counting(since)) => Phase::Counting(since),
            (1 | 5, _) => Phase::Armed,
            _ if self.gate => Phase::Counting(now),
            _ => Phase::Stopped(0),
        };
    }

    /// A control word for this channel: access, mode, BCD; or a latch.
    pub(super) fn control(&mut self, value: u8, now: u64) {
        let access = value >> 4 & 3;
        if access == 0 {
            return self.latch_count(now);
        }
        self.access = Byte::from_number(access);
        self.read_next = self.access;
        self.write_next = self.access;
        self.latched = None;
        self.status = None;
        // Modes 2 and 3 ignore the highest of the three bits.
        self.mode = match value >> 1 & 7 {
            mode @ 6..=7 => mode - 4,
            mode => mode,
        };
        self.bcd = value & 1 != 0;
        self.phase = Phase::Empty;
    }

    /// Latches the count, unless one is latched and not read yet.
    pub(super) fn latch_count(&mut self, now: u64) {
        if self.latched.is_none() {
            self.latched = Some((self.value(now), self.access));
        }
    }

    /// Latches output, null count, access, mode and BCD.
    pub(super) fn latch_status(&mut self, now: u64) {
        if self.status.is_none() {
            let null_count = self.phase == Phase::Empty;
            self.status = Some(
                u8::from(self.output(now)) << 7
                    | u8::from(null_count) << 6
                    | (self.access as u8) << 4
                    | self.mode << 1
                    | u8::from(self.bcd),
            );
        }
    }

    /// Low stops the counter, except in modes 1 and 5; a rise resumes it in
    /// modes 0 and 4 and starts it anew in the others.
    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        let triggered = matches!(self.mode, 1 | 5);
        self.phase = match (self.phase, gate) {
            (Phase::Empty, _) => Phase::Empty,
            (phase, false) if triggered => phase,
            (_, false) => Phase::Stopped(self.elapsed(now)),
            (Phase::Stopped(ticks), true) if !self.is_periodic() => {
                Phase::Counting(now.saturating_sub(nanos(ticks)))
            }
            (_, true) => Phase::Counting(now),
        };
    }

    pub(super) fn state(&self) -> PitChannelState {
        let empty = self.phase == Phase::Empty;
        PitChannelState {
            count: if empty { 0 } else { self.count },
            latched_count: self.latched.map_or(0, |(value, _)| value),
            count_latched: self.latched.map_or(0, |(_, byte)| byte as u8),
            status_latched: self.status.is_some().into(),
            status: self.status.unwrap_or(0),
            read_state: self.read_next as u8,
            write_state: self.write_next as u8,
            write_latch: self.write_low,
            rw_mode: self.access as u8,
            mode: self.mode,
            bcd: self.bcd.into(),
            gate: self.gate.into(),
            count_load_time: self.since().unwrap_or(0) as i64,
        }
    }

    pub(super) fn set_state(&mut self, state: &PitChannelState, now: u64) {
        let access = match state.rw_mode {
            1 => Byte::Low,
            2 => Byte::High,
            _ => Byte::WordLow,
        };
        let latched = (state.latched_count, Byte::from_number(state.count_latched));
        *self = Self {
            phase: Phase::Empty,
            count: state.count.clamp(1, 0x1_0000),
            mode: state.mode,
            bcd: state.bcd != 0,
            gate: state.gate != 0,
            access,
            read_next: Byte::from_number(state.read_state),
            write_next: Byte::from_number(state.write_state),
            write_low: state.write_latch,
            latched: (state.count_latched != 0).then_some(latched),
            status: (state.status_latched != 0).then_some(state.status),
        };
        if state.mode > 5 {
            // What KVM reports for a channel that was never programmed.
            self.mode = 3;
        } else if state.count != 0 {
            let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
            self.count = self.count.min(modulus);
            self.phase = match (self.mode, self.gate) {
                (1 | 5, _) => Phase::Armed,
                (_, true) => Phase::Counting(now),
                (_, false) => Phase::Stopped(0),
            };
        }
    }
}

/// Four decimal digits; a nibble above 9 counts for its value.
fn from_bcd(raw: u16) -> u32 {
    let digits = [12, 8, 4, 0].map(|shift| u32::from(raw >> shift & 0xf));
    let value = digits.into_iter().fold(0, |sum, digit| sum * 10 + digit);
    value.clamp(1, 10_000)
}

fn to_bcd(value: u16) -> u16 {
    (value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | (value % 10)
}
