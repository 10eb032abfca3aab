//! [`OffsetCheck`]: how far the counters of two CPUs are apart.
//!
//! One CPU asks, the other answers with its counter. The answer's moment lies
//! between question and receipt, so every round encloses the difference of the
//! counters in an interval. Counters that run alike leave an intersection of
//! all intervals, and every value in it contradicts no message that was sent.

/// The rounds so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetCheck {
    low: i64,
    high: i64,
    rounds: u32,
}

/// What the rounds tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// No message showed a difference; it is at most this many counts.
    Equal(u64),
    /// The other counter is ahead by a constant.
    Shifted {
        /// What must be added to this CPU's counter, modulo 2^64.
        offset: u64,
        /// How wrong that may be, in counts.
        error: u64,
    },
    /// The difference changed while it was measured.
    Unstable,
    /// There was no answer.
    Unknown,
}

impl Default for OffsetCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl OffsetCheck {
    /// A check of no rounds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            low: i64::MIN,
            high: i64::MAX,
            rounds: 0,
        }
    }

    /// Adds a round: this CPU's counter at the question, the other's at the
    /// answer, this CPU's at the receipt.
    pub fn add(&mut self, asked: u64, answer: u64, received: u64) {
        self.low = self.low.max(answer.wrapping_sub(received).cast_signed());
        self.high = self.high.min(answer.wrapping_sub(asked).cast_signed());
        self.rounds += 1;
    }

    /// What the rounds tell.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        if self.rounds == 0 {
            return Agreement::Unknown;
        }
        if self.low > self.high {
            return Agreement::Unstable;
        }
        if self.low <= 0 && self.high >= 0 {
            return Agreement::Equal(self.low.unsigned_abs().max(self.high.unsigned_abs()));
        }
        let width = self.high.abs_diff(self.low);
        let middle = self.low.wrapping_add((width / 2).cast_signed());
        Agreement::Shifted {
            offset: middle.cast_unsigned(),
            error: width.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn no_answer_tells_nothing() {
        assert_eq!(OffsetCheck::new().agreement(), Agreement::Unknown);
    }

    #[test]
    fn a_counter_that_jumps_is_unstable() {
        let mut check = OffsetCheck::new();
        check.add(1_000, 1_050, 1_100);
        assert_eq!(check.agreement(), Agreement::Equal(50));
        check.add(2_000, 2_400, 2_100);
        assert_eq!(check.agreement(), Agreement::Unstable);
    }

    /// Rounds between counters of which the other is ahead by `ahead`, with
    /// the way there and back of each.
    fn rounds(ahead: i64, ways: &[(u64, u64)]) -> (OffsetCheck, Vec<(u64, u64, u64)>) {
        let (mut check, mut now, mut sent) = (OffsetCheck::new(), 1_000_000u64, Vec::new());
        for (there, back) in ways {
            let (asked, answered, received) = (now, now + there, now + there + back);
            let answer = answered.wrapping_add_signed(ahead);
            check.add(asked, answer, received);
            sent.push((asked, answer, received));
            now = received + 10;
        }
        (check, sent)
    }

    proptest! {
        /// With the correction no message arrives before it was sent, and the
        /// true difference is within the error.
        #[test]
        fn a_constant_difference_is_found(
            ahead in any::<i32>(),
            ways in proptest::collection::vec((0u64..5_000, 0u64..5_000), 1..50),
        ) {
            let ahead = i64::from(ahead);
            let (check, sent) = rounds(ahead, &ways);
            let offset = match check.agreement() {
                Agreement::Equal(error) => {
                    prop_assert!(ahead.unsigned_abs() <= error);
                    0
                }
                Agreement::Shifted { offset, error } => {
                    prop_assert!(offset.cast_signed().abs_diff(ahead) <= error);
                    offset
                }
                other => return Err(TestCaseError::fail(std::format!("{other:?}"))),
            };
            for (asked, answer, received) in sent {
                prop_assert!(asked.wrapping_add(offset).wrapping_sub(answer).cast_signed() <= 0);
                prop_assert!(received.wrapping_add(offset).wrapping_sub(answer).cast_signed() >= 0);
            }
        }

        #[test]
        fn any_rounds_give_an_answer(rounds in proptest::collection::vec(any::<(u64, u64, u64)>(), 0..9)) {
            let mut check = OffsetCheck::new();
            rounds.into_iter().for_each(|(a, b, c)| check.add(a, b, c));
            let _ = check.agreement();
        }
    }
}
