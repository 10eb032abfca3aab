//! The CMOS clock: time of day behind an index and a data port.
//!
//! Main type: [`Cmos`], after the MC146818's registers. It keeps no time of
//! its own: it stores how far the guest's clock is from the host's, so that a
//! guest can set it. There is no alarm, no periodic interrupt, and the update
//! cycle takes no time (register A's busy bit is never set).

/// Seconds since 1970-01-01 00:00:00 UTC.
pub type UnixSeconds = i64;

const REGISTERS: usize = 128;
const REGISTER_A: usize = 10;
const REGISTER_B: usize = 11;
const REGISTER_C: usize = 12;
const REGISTER_D: usize = 13;
const CENTURY: usize = 50;
const A_DEFAULT: u8 = 0x26;
const B_24_HOURS: u8 = 1 << 1;
const B_BINARY: u8 = 1 << 2;
const B_SET: u8 = 1 << 7;
const D_VALID: u8 = 1 << 7;
const DAY: i64 = 86_400;

/// Registers of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmos {
    index: u8,
    registers: [u8; REGISTERS],
    /// What the guest's clock adds to the host's, in seconds.
    offset: i64,
}

impl Default for Cmos {
    fn default() -> Self {
        Self::new()
    }
}

impl Cmos {
    /// A clock that shows the host's time.
    pub fn new() -> Self {
        let mut registers = [0; REGISTERS];
        registers[REGISTER_A] = A_DEFAULT;
        registers[REGISTER_B] = B_24_HOURS;
        registers[REGISTER_D] = D_VALID;
        Self {
            index: 0,
            registers,
            offset: 0,
        }
    }

    /// Reads port `offset` (0: index, 1: data) at host time `now`.
    pub fn read(&mut self, offset: u64, now: UnixSeconds) -> u8 {
        if offset != 1 {
            return 0xFF;
        }
        let index = usize::from(self.index);
        match index {
            0 | 2 | 4 | 6..=9 | CENTURY if !self.is_being_set() => self.time_register(index, now),
            // Interrupt flags: there is never one.
            REGISTER_C => 0,
            _ => self.registers[index],
        }
    }

    /// Writes port `offset` (0: index, 1: data) at host time `now`.
    pub fn write(&mut self, offset: u64, value: u8, now: UnixSeconds) {
        if offset == 0 {
            self.index = value & 0x7F;
            return;
        }
        let index = usize::from(self.index);
        match index {
            REGISTER_C | REGISTER_D => {}
            REGISTER_A => self.registers[index] = value & 0x7F,
            REGISTER_B => self.write_b(value, now),
            0 | 2 | 4 | 6..=9 | CENTURY => {
                let was_set = self.is_being_set();
                if !was_set {
                    self.latch(now);
                }
                self.registers[index] = value;
                if !was_set {
                    self.adopt(now);
                }
            }
            _ => self.registers[index] = value,
        }
    }

    fn is_being_set(&self) -> bool {
        self.registers[REGISTER_B] & B_SET != 0
    }

    fn write_b(&mut self, value: u8, now: UnixSeconds) {
        let (was, is) = (self.is_being_set(), value & B_SET != 0);
        if !was && is {
            self.latch(now);
        }
        self.registers[REGISTER_B] = value;
        if was && !is {
            self.adopt(now);
        }
    }

    /// Copies the running time into the registers.
    fn latch(&mut self, now: UnixSeconds) {
        for index in [0, 2, 4, 6, 7, 8, 9, CENTURY] {
            self.registers[index] = self.time_register(index, now);
        }
    }

    /// Takes the registers as the time from now on. Nonsense is ignored.
    fn adopt(&mut self, now: UnixSeconds) {
        let value = |index: usize| i64::from(self.decode(self.registers[index]));
        let year = value(CENTURY) * 100 + value(9);
        let (month, day) = (value(8), value(7));
        let seconds = self.decode_hour(self.registers[4]) * 3600 + value(2) * 60 + value(0);
        if (1..=12).contains(&month) && (1..=31).contains(&day) && (0..DAY).contains(&seconds) {
            let shown = days_from_civil(year, month, day) * DAY + seconds;
            self.offset = shown.saturating_sub(now);
        }
    }

    fn time_register(&self, index: usize, now: UnixSeconds) -> u8 {
        let time = now.saturating_add(self.offset).clamp(0, 253_402_300_799);
        let (days, seconds) = (time.div_euclid(DAY), time.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let value = match index {
            0 => seconds % 60,
            2 => seconds / 60 % 60,
            4 => return self.encode_hour((seconds / 3600) as u8),
            6 => (days + 4).rem_euclid(7) + 1,
            7 => day,
            8 => month,
            9 => year % 100,
            _ => year / 100,
        };
        self.encode(value as u8)
    }

    fn encode(&self, value: u8) -> u8 {
        if self.registers[REGISTER_B] & B_BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, value: u8) -> u8 {
        if self.registers[REGISTER_B] & B_BINARY != 0 {
            return value;
        }
        (value >> 4).saturating_mul(10).saturating_add(value & 0xF)
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.registers[REGISTER_B] & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { 0x80 } else { 0 };
        let hour = if hour.is_multiple_of(12) {
            12
        } else {
            hour % 12
        };
        self.encode(hour) | afternoon
    }

    fn decode_hour(&self, value: u8) -> i64 {
        if self.registers[REGISTER_B] & B_24_HOURS != 0 {
            return i64::from(self.decode(value));
        }
        let afternoon = if value & 0x80 != 0 { 12 } else { 0 };
        i64::from(self.decode(value & 0x7F)) % 12 + afternoon
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, by counting in
/// years that start on 1 March so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + leap_days + day_of_year - 719_468
}

/// The date that is `days` after 1970-01-01: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // The estimate is at most one year too late.
    let mut year = 1970 + days.div_euclid(365) + 1;
    while days_from_civil(year, 1, 1) > days {
        year -= 1;
    }
    let mut month = 12;
    while days_from_civil(year, month, 1) > days {
        month -= 1;
    }
    (year, month, days - days_from_civil(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: UnixSeconds = 1_709_210_096; // 2024-02-29 12:34:56, a Thursday

    fn get(cmos: &mut Cmos, index: u8, now: UnixSeconds) -> u8 {
        cmos.write(0, index, now);
        cmos.read(1, now)
    }

    fn set(cmos: &mut Cmos, index: u8, value: u8, now: UnixSeconds) {
        cmos.write(0, index, now);
        cmos.write(1, value, now);
    }

    #[test]
    fn shows_the_time_in_bcd() {
        let mut cmos = Cmos::new();
        let shown = [0, 2, 4, 6, 7, 8, 9, 50].map(|i| get(&mut cmos, i, TIME));
        assert_eq!(shown, [0x56, 0x34, 0x12, 5, 0x29, 0x02, 0x24, 0x20]);
    }

    #[test]
    fn shows_binary_and_12_hours_when_asked() {
        let mut cmos = Cmos::new();
        set(&mut cmos, 11, B_BINARY, TIME);
        assert_eq!(get(&mut cmos, 0, TIME), 56);
        assert_eq!(get(&mut cmos, 4, TIME), 0x80 | 12);
        assert_eq!(get(&mut cmos, 4, TIME - 12 * 3600), 12);
    }

    #[test]
    fn keeps_the_time_that_a_guest_sets() {
        let mut cmos = Cmos::new();
        set(&mut cmos, 11, B_24_HOURS | B_SET, TIME);
        set(&mut cmos, 9, 0x30, TIME);
        set(&mut cmos, 7, 0x01, TIME);
        set(&mut cmos, 11, B_24_HOURS, TIME);
        let shown = [0, 7, 8, 9].map(|i| get(&mut cmos, i, TIME + 1));
        assert_eq!(shown, [0x57, 0x01, 0x02, 0x30]);
    }

    #[test]
    fn is_valid_and_never_busy() {
        let mut cmos = Cmos::new();
        assert_eq!(get(&mut cmos, 13, TIME), 0x80);
        set(&mut cmos, 10, 0xFF, TIME);
        assert_eq!(get(&mut cmos, 10, TIME) & 0x80, 0);
    }

    proptest! {
        #[test]
        fn calendar_round_trips(days in 0i64..2_932_896) {
            let (year, month, day) = civil_from_days(days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            prop_assert_eq!(days_from_civil(year, month, day), days);
        }

        #[test]
        fn no_access_panics(
            accesses in prop::collection::vec((0u64..3, any::<u8>(), any::<i64>()), 0..256),
        ) {
            let mut cmos = Cmos::new();
            for (offset, value, now) in accesses {
                cmos.write(offset, value, now);
                cmos.read(offset, now);
            }
        }
    }
}
