//! What an operator grants a thread.

use crate::WHOLE_CPU;

/// The weight of a thread that nobody set.
pub const WEIGHT_DEFAULT: u32 = 1024;
/// The largest weight.
pub const WEIGHT_MAX: u32 = 1 << 20;

/// A thread's entitlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Share of contended time relative to others', 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Guaranteed time in parts per million of one CPU; 0 guarantees nothing.
    pub reservation: u32,
    /// The most time it gets in parts per million of one CPU, at least the
    /// reservation and above 0; [`WHOLE_CPU`] limits nothing.
    pub limit: u32,
}

impl Params {
    /// The usual thread: the default weight, nothing reserved, no limit.
    pub const DEFAULT: Self = Self {
        weight: WEIGHT_DEFAULT,
        reservation: 0,
        limit: WHOLE_CPU,
    };

    /// Checks the ranges that the fields name.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub const fn check(&self) -> Result<(), ParamsError> {
        if self.weight == 0 || self.weight > WEIGHT_MAX {
            Err(ParamsError::Weight(self.weight))
        } else if self.limit == 0 || self.limit > WHOLE_CPU {
            Err(ParamsError::Limit(self.limit))
        } else if self.reservation > self.limit {
            Err(ParamsError::Reservation(self.reservation))
        } else {
            Ok(())
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A value that [`Params::check`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsError {
    /// The weight.
    Weight(u32),
    /// The limit.
    Limit(u32),
    /// The reservation.
    Reservation(u32),
}

impl core::fmt::Display for ParamsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Weight(value) => {
                write!(f, "a weight of {value}: 1 to {WEIGHT_MAX} are allowed")
            }
            Self::Limit(value) => {
                write!(f, "a limit of {value} ppm: 1 to {WHOLE_CPU} are allowed")
            }
            Self::Reservation(value) => {
                write!(
                    f,
                    "a reservation of {value} ppm: at most the limit is allowed"
                )
            }
        }
    }
}
