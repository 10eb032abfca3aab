//! [`DateTime`]: the proleptic Gregorian calendar, UTC.

use core::fmt;

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_400_YEARS: u64 = 146_097;
/// From 1600-03-01, where a cycle of 400 years begins, to 1970-01-01.
const DAYS_1600_TO_1970: u64 = 135_080;

/// A date and time of day, UTC. Fields are in range once checked by
/// [`DateTime::to_unix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// From 1970.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// A field that no calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTimeError(pub DateTime);

impl fmt::Display for DateTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a date and time from 1970 on", self.0)
    }
}

impl core::error::Error for DateTimeError {}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1 March to the first of the month that is `index` months later:
/// months from March on have lengths 31, 30, 31, 30, 31, repeating.
fn days_before(index: u64) -> u64 {
    (153 * index + 2) / 5
}

impl DateTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    ///
    /// # Errors
    /// [`DateTimeError`] if a field is out of range.
    pub fn to_unix(&self) -> Result<u64, DateTimeError> {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = *self;
        let is_time = hour < 24 && minute < 60 && second < 60;
        let is_month = year >= 1970 && (1..=12).contains(&month);
        if !is_time || !is_month || day < 1 || day > days_in_month(year.into(), month) {
            return Err(DateTimeError(*self));
        }
        // Years that begin in March have their leap day at the end.
        let index = (u64::from(month) + 9) % 12;
        let years = u64::from(year) - 1600 - u64::from(month < 3);
        let leaps = years / 4 - years / 100 + years / 400;
        let days = years * 365 + leaps + days_before(index) + u64::from(day) - 1;
        let clock = (u64::from(hour) * 60 + u64::from(minute)) * 60 + u64::from(second);
        Ok((days - DAYS_1600_TO_1970) * SECONDS_PER_DAY + clock)
    }

    /// The date and time `seconds` after 1970; `None` beyond the year 65535.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Option<Self> {
        let days = seconds / SECONDS_PER_DAY + DAYS_1600_TO_1970;
        let clock = seconds % SECONDS_PER_DAY;
        let (cycle, day) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
        // The last day of a cycle, of a century's and of four years' is the leap day.
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (year * 365 + year / 4 - year / 100);
        let index = (5 * day + 2) / 153;
        let month = (index + 2) % 12 + 1;
        let year = 1600 + cycle * 400 + year + u64::from(month < 3);
        Some(Self {
            year: u16::try_from(year).ok()?,
            month: month as u8,
            day: (day - days_before(index)) as u8 + 1,
            hour: (clock / 3600) as u8,
            minute: (clock / 60 % 60) as u8,
            second: (clock % 60) as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(year: u16, month: u8, day: u8) -> DateTime {
        DateTime {
            year,
            month,
            day,
            hour: 0,
            minute: 0,
            second: 0,
        }
    }

    #[test]
    fn known_dates() {
        for (date, seconds) in [
            (date(1970, 1, 1), 0),
            (date(1972, 2, 29), 68_169_600),
            (date(2000, 3, 1), 951_868_800),
            (date(2020, 1, 1), 1_577_836_800),
            (date(2100, 2, 28), 4_107_456_000),
        ] {
            assert_eq!(date.to_unix(), Ok(seconds), "{date}");
            assert_eq!(DateTime::from_unix(seconds), Some(date));
        }
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut expected = date(1970, 1, 1);
        for day in 0..200_000 {
            assert_eq!(DateTime::from_unix(day * 86_400), Some(expected));
            assert_eq!(expected.to_unix(), Ok(day * 86_400));
            expected.day += 1;
            if expected.day > days_in_month(expected.year.into(), expected.month) {
                expected.day = 1;
                expected.month += 1;
            }
            if expected.month > 12 {
                expected.month = 1;
                expected.year += 1;
            }
        }
    }

    #[test]
    fn impossible_fields_are_refused() {
        let good = date(2023, 4, 30);
        for bad in [
            date(1969, 12, 31),
            date(2023, 2, 29),
            date(2100, 2, 29),
            date(2023, 0, 1),
            date(2023, 13, 1),
            date(2023, 4, 31),
            date(2023, 4, 0),
            DateTime { hour: 24, ..good },
            DateTime { minute: 60, ..good },
            DateTime { second: 60, ..good },
        ] {
            assert_eq!(bad.to_unix(), Err(DateTimeError(bad)));
        }
    }

    proptest! {
        #[test]
        fn there_and_back(seconds in 0u64..2_000_000_000_000) {
            if let Some(date) = DateTime::from_unix(seconds) {
                prop_assert_eq!(date.to_unix(), Ok(seconds));
            }
        }
    }
}
