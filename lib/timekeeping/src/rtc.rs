//! The PC's battery clock (Motorola MC146818A data sheet).
//!
//! [`read`] takes the time of day from CMOS registers, in either of the
//! clock's number formats. The clock is taken to run in UTC.

use core::fmt;

use crate::{DateTime, DateTimeError};

const SECOND: u8 = 0x00;
const MINUTE: u8 = 0x02;
const HOUR: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;

/// In status A: the registers change within 244 us.
const UPDATING: u8 = 0x80;
/// In status B: hours run from 0 to 23.
const IS_24_HOUR: u8 = 0x02;
/// In status B: registers hold binary numbers, not BCD.
const IS_BINARY: u8 = 0x04;
/// In an hour of the 12-hour format: after noon.
const PM: u8 = 0x80;

/// An update takes 2 ms at most, a read at least 1 us.
const ATTEMPTS: u32 = 10_000;

/// Access to CMOS registers by index.
pub trait Cmos {
    /// Reads register `index`, from 0 to 127.
    fn read(&self, index: u8) -> u8;
}

/// Why the battery clock gives no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcError {
    /// It never stopped updating: there is no such clock.
    NeverStable,
    /// Its registers hold no date: the battery was empty.
    Date(DateTimeError),
}

impl fmt::Display for RtcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverStable => f.write_str("The battery clock never stops updating"),
            Self::Date(error) => write!(f, "The battery clock is wrong: {error}"),
        }
    }
}

impl core::error::Error for RtcError {}

/// The registers, as read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Registers {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: Option<u8>,
    status_b: u8,
}

impl Registers {
    fn read(cmos: &impl Cmos, century_index: Option<u8>) -> Self {
        Self {
            second: cmos.read(SECOND),
            minute: cmos.read(MINUTE),
            hour: cmos.read(HOUR),
            day: cmos.read(DAY),
            month: cmos.read(MONTH),
            year: cmos.read(YEAR),
            century: century_index.map(|index| cmos.read(index)),
            status_b: cmos.read(STATUS_B),
        }
    }

    fn number(&self, register: u8) -> u8 {
        if self.status_b & IS_BINARY != 0 {
            register
        } else {
            // Digits above 9 make an impossible date, which is refused later.
            (register >> 4)
                .wrapping_mul(10)
                .wrapping_add(register & 0xf)
        }
    }

    fn hour(&self) -> u8 {
        if self.status_b & IS_24_HOUR != 0 {
            return self.number(self.hour);
        }
        // Twelve comes before one, and the half of the day is a flag.
        let half = if self.hour & PM != 0 { 12 } else { 0 };
        match self.number(self.hour & !PM) {
            hour @ 1..=12 => hour % 12 + half,
            _ => u8::MAX,
        }
    }

    fn year(&self) -> u16 {
        let year = u16::from(self.number(self.year));
        match self.century.map(|century| self.number(century)) {
            Some(century @ 19..=99) => u16::from(century) * 100 + year,
            // Without a century: the years 1970 to 2069.
            _ if year < 70 => 2000 + year,
            _ => 1900 + year,
        }
    }

    fn date_time(&self) -> DateTime {
        DateTime {
            year: self.year(),
            month: self.number(self.month),
            day: self.number(self.day),
            hour: self.hour(),
            minute: self.number(self.minute),
            second: self.number(self.second),
        }
    }
}

/// Seconds since 1970 by registers that were read while the clock did not
/// update: seconds, minutes, hours, day, month, year, status B; and the
/// century where there is such a register.
///
/// # Errors
/// [`RtcError::Date`] if they hold no date.
pub fn decode(registers: [u8; 7], century: Option<u8>) -> Result<u64, RtcError> {
    let [second, minute, hour, day, month, year, status_b] = registers;
    let registers = Registers {
        second,
        minute,
        hour,
        day,
        month,
        year,
        century,
        status_b,
    };
    registers.date_time().to_unix().map_err(RtcError::Date)
}

/// Seconds since 1970 by the battery clock. `century_index` is the register
/// that the FADT names, if it does.
///
/// # Errors
/// [`RtcError`] if the clock is absent or holds no date.
pub fn read(cmos: &impl Cmos, century_index: Option<u8>) -> Result<u64, RtcError> {
    let century_index = century_index.filter(|index| (0x0e..0x80).contains(index));
    let stable = (0..ATTEMPTS).find_map(|_| {
        if cmos.read(STATUS_A) & UPDATING != 0 {
            return None;
        }
        // An update may begin at any time: only two equal readings count.
        let registers = Registers::read(cmos, century_index);
        (registers == Registers::read(cmos, century_index)).then_some(registers)
    });
    let registers = stable.ok_or(RtcError::NeverStable)?;
    registers.date_time().to_unix().map_err(RtcError::Date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// A clock whose registers jump to `later` after some reads.
    struct TestCmos {
        now: [u8; 128],
        later: [u8; 128],
        reads: Cell<u32>,
        jump_at: u32,
    }

    impl Cmos for TestCmos {
        fn read(&self, index: u8) -> u8 {
            let reads = self.reads.replace(self.reads.get() + 1);
            let registers = if reads < self.jump_at {
                &self.now
            } else {
                &self.later
            };
            registers[usize::from(index)]
        }
    }

    fn bcd(value: u8) -> u8 {
        (value / 10) << 4 | (value % 10)
    }

    fn registers(date: &DateTime, status_b: u8) -> [u8; 128] {
        let number = |value: u8| {
            if status_b & IS_BINARY != 0 {
                value
            } else {
                bcd(value)
            }
        };
        let mut raw = [0; 128];
        raw[0x00] = number(date.second);
        raw[0x02] = number(date.minute);
        raw[0x04] = if status_b & IS_24_HOUR != 0 {
            number(date.hour)
        } else {
            let half = if date.hour >= 12 { PM } else { 0 };
            number((date.hour + 11) % 12 + 1) | half
        };
        raw[0x07] = number(date.day);
        raw[0x08] = number(date.month);
        raw[0x09] = number((date.year % 100) as u8);
        raw[0x0b] = status_b;
        raw[0x32] = number((date.year / 100) as u8);
        raw
    }

    fn still(now: [u8; 128]) -> TestCmos {
        TestCmos {
            now,
            later: now,
            reads: Cell::new(0),
            jump_at: 0,
        }
    }

    proptest! {
        #[test]
        fn all_formats_mean_the_same(seconds in 0u64..10_000_000_000, format in 0u8..4) {
            let date = DateTime::from_unix(seconds).unwrap();
            let cmos = still(registers(&date, format << 1));
            prop_assert_eq!(read(&cmos, Some(0x32)), Ok(seconds));
        }

        /// A reading across an update is one of the two times, never a mixture.
        #[test]
        fn updates_do_not_tear(seconds in 1u64..10_000_000_000, jump_at in 0u32..40) {
            let at = |seconds| registers(&DateTime::from_unix(seconds).unwrap(), IS_24_HOUR);
            let cmos = TestCmos { now: at(seconds), later: at(seconds + 1), reads: Cell::new(0), jump_at };
            let found = read(&cmos, Some(0x32)).unwrap();
            prop_assert!(found == seconds || found == seconds + 1, "{}", found);
        }

        #[test]
        fn any_registers_give_an_answer(raw in prop::collection::vec(any::<u8>(), 128), century: u8) {
            let _ = read(&still(raw.try_into().unwrap()), Some(century));
        }
    }

    #[test]
    fn the_century_is_guessed_without_a_register() {
        let date = DateTime {
            year: 2031,
            month: 5,
            day: 6,
            hour: 0,
            minute: 7,
            second: 8,
        };
        let cmos = still(registers(&date, IS_24_HOUR));
        assert_eq!(read(&cmos, None), date.to_unix().map_err(RtcError::Date));
        let mut raw = registers(&date, IS_24_HOUR);
        raw[0x32] = 0xff;
        assert_eq!(
            read(&still(raw), Some(0x32)),
            date.to_unix().map_err(RtcError::Date)
        );
    }

    #[test]
    fn registers_read_by_others_are_decoded() {
        let date = DateTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 13,
            minute: 59,
            second: 58,
        };
        let raw = [0x58, 0x59, 0x13, 0x22, 0x11, 0x26, IS_24_HOUR];
        assert_eq!(decode(raw, None), date.to_unix().map_err(RtcError::Date));
        assert_eq!(decode(raw, Some(0x20)), decode(raw, None));
        assert!(decode([0xff; 7], None).is_err());
    }

    #[test]
    fn absent_and_empty_clocks_are_errors() {
        assert_eq!(read(&still([0xff; 128]), None), Err(RtcError::NeverStable));
        assert!(matches!(
            read(&still([0; 128]), None),
            Err(RtcError::Date(_))
        ));
    }
}
