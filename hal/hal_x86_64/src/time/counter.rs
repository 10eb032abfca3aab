//! The machine's counters of known rate: HPET (IA-PC HPET 1.0a), the ACPI
//! timer (ACPI 6.4, 4.8.2.1), the PIT (8254 data sheet).

use super::raw_tsc;
use crate::mem::DeviceMemory;
use crate::port;
use sync::Once;
use timekeeping::{CounterWidth, Rate, Sample};

const HPET_PERIOD: usize = 0x04;
const HPET_CONFIG: usize = 0x10;
const HPET_COUNTER: usize = 0xf0;
const HPET_LENGTH: usize = 0x400;
/// In the configuration: the counter runs.
const HPET_RUNS: u32 = 1;
/// In the configuration: interrupts go the old timers' ways.
const HPET_LEGACY: u32 = 2;
/// 100 ns, the longest period that the specification allows, in fs.
const HPET_LONGEST_PERIOD: u32 = 100_000_000;

const PIT_CHANNEL_2: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
const PIT_GATE: u16 = 0x61;

/// Where the high precision event timer is.
#[derive(Clone, Copy, Debug)]
pub struct Hpet {
    /// Physical address of its registers.
    pub address: u64,
}

/// Where the ACPI timer is.
#[derive(Clone, Copy, Debug)]
pub struct PmTimer {
    /// Its I/O port.
    pub port: u16,
    /// Its width, 24 or 32 bits.
    pub bits: u8,
}

/// The timers that the firmware describes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    /// The high precision event timer.
    pub hpet: Option<Hpet>,
    /// The ACPI timer.
    pub pm_timer: Option<PmTimer>,
}

/// A counter of known rate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    Hpet { period_fs: u32 },
    PmTimer(PmTimer),
    Pit,
}

/// The counters that are there; the PIT always is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) hpet: Option<Counter>,
    pub(super) pm_timer: Option<Counter>,
}

static HPET: Once<DeviceMemory> = Once::new();

/// Maps what `timers` name and has it count.
pub(super) fn find(timers: &Timers) -> Counters {
    Counters {
        hpet: timers.hpet.and_then(start_hpet),
        pm_timer: timers
            .pm_timer
            .filter(|timer| timer.port != 0)
            .map(Counter::PmTimer),
    }
}

fn start_hpet(hpet: Hpet) -> Option<Counter> {
    let registers = DeviceMemory::map(hpet.address, HPET_LENGTH)?;
    let period_fs = registers.read_u32(HPET_PERIOD);
    if period_fs == 0 || period_fs > HPET_LONGEST_PERIOD {
        return None;
    }
    let config = registers.read_u32(HPET_CONFIG) & !HPET_LEGACY;
    registers.write_u32(HPET_CONFIG, config | HPET_RUNS);
    HPET.set(registers).ok()?;
    Some(Counter::Hpet { period_fs })
}

impl Counter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hpet { .. } => "HPET",
            Self::PmTimer(_) => "ACPI timer",
            Self::Pit => "PIT",
        }
    }

    pub(super) fn rate(self) -> Rate {
        match self {
            Self::Hpet { period_fs } => Rate::from_period_fs(period_fs),
            Self::PmTimer(_) => Rate::PM_TIMER,
            Self::Pit => Rate::PIT,
        }
    }

    /// Of a 64-bit HPET the lower half is used, too: the upper one would cost
    /// two more reads of a slow device each time.
    pub(super) fn width(self) -> CounterWidth {
        match self {
            Self::Hpet { .. } => CounterWidth::bits(32),
            Self::PmTimer(timer) => CounterWidth::bits(timer.bits.into()),
            Self::Pit => CounterWidth::bits(16),
        }
    }

    /// Has it count, where it does not anyway.
    pub(super) fn start(self) {
        if let Self::Pit = self {
            let gate = port::in8(PIT_GATE);
            port::out8(PIT_GATE, gate & !3);
            // Channel 2, both bytes, mode 0: one turn down from the top.
            port::out8(PIT_COMMAND, 0xb0);
            port::out8(PIT_CHANNEL_2, 0xff);
            port::out8(PIT_CHANNEL_2, 0xff);
            port::out8(PIT_GATE, gate & !2 | 1);
        }
    }

    /// Undoes [`Counter::start`].
    pub(super) fn stop(self) {
        if let Self::Pit = self {
            port::out8(PIT_GATE, port::in8(PIT_GATE) & !3);
        }
    }

    /// Its value; it counts upwards.
    pub(super) fn read(self) -> u64 {
        match self {
            Self::Hpet { .. } => HPET
                .get()
                .map_or(0, |registers| registers.read_u32(HPET_COUNTER))
                .into(),
            Self::PmTimer(timer) => port::in32(timer.port).into(),
            Self::Pit => {
                latch_pit();
                read_pit()
            }
        }
    }

    /// Its value between two of the time stamp counter.
    pub(super) fn sample(self) -> Sample {
        let before = raw_tsc();
        if let Self::Pit = self {
            // The latch is the moment; the reads may take their time.
            latch_pit();
            let after = raw_tsc();
            return Sample {
                before,
                reference: read_pit(),
                after,
            };
        }
        let reference = self.read();
        Sample {
            before,
            reference,
            after: raw_tsc(),
        }
    }
}

fn latch_pit() {
    port::out8(PIT_COMMAND, 0x80);
}

fn read_pit() -> u64 {
    let low = port::in8(PIT_CHANNEL_2);
    let high = port::in8(PIT_CHANNEL_2);
    u64::from(!u16::from_le_bytes([low, high]))
}
