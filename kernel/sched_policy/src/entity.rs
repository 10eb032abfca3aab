//! A thread's account with the scheduler.

use crate::slots::{NO_SLOT, Slot};
use crate::{
    DEBT_MAX, LIMIT_CREDIT, PERIOD_RESERVED, Params, ParamsError, WEIGHT_DEFAULT, WHOLE_CPU,
};

/// Fraction bits of the factors below.
const SHIFT: u32 = 32;

/// A thread's account. The thread owns it; queues read and change it. Times
/// are in ns; virtual times wrap and are compared by their difference.
#[derive(Clone, Debug)]
pub struct Entity {
    params: Params,
    /// Virtual time per real time, with [`SHIFT`] fraction bits.
    pub(crate) weight_factor: u64,
    /// Progress of `reserve_at` per time used; 0 without a reservation.
    reserve_factor: u64,
    /// Progress of `limit_at` per time used; 0 without a limit.
    limit_factor: u64,
    /// Virtual time at which it has received what it was given.
    pub(crate) vruntime: u64,
    /// The queue's virtual time when it left a queue.
    pub(crate) left_at: u64,
    /// When it is next due under its reservation.
    pub(crate) reserve_at: u64,
    /// When it may next run under its limit.
    pub(crate) limit_at: u64,
    /// When it came to its queue from another one.
    pub(crate) came_at: u64,
    /// Real time used.
    used: u64,
    /// Where it waits, while it does.
    pub(crate) slot: Slot,
    /// The queue that `vruntime` and `left_at` refer to.
    pub(crate) queue: u32,
}

impl Entity {
    /// An account for a thread that has not run yet.
    ///
    /// # Errors
    /// See [`Params::check`].
    pub fn new(params: Params) -> Result<Self, ParamsError> {
        let mut entity = Self {
            params,
            weight_factor: 0,
            reserve_factor: 0,
            limit_factor: 0,
            vruntime: 0,
            left_at: 0,
            reserve_at: 0,
            limit_at: 0,
            came_at: 0,
            used: 0,
            slot: NO_SLOT,
            queue: u32::MAX,
        };
        entity.set_params(params, 0)?;
        Ok(entity)
    }

    /// Changes the entitlement. The thread must not be in a queue; one that
    /// is, is taken out first with [`crate::RunQueue::remove`].
    ///
    /// # Errors
    /// See [`Params::check`]; nothing has changed then.
    pub fn set_params(&mut self, params: Params, now: u64) -> Result<(), ParamsError> {
        params.check()?;
        self.params = params;
        self.weight_factor = factor(u64::from(WEIGHT_DEFAULT), params.weight);
        self.reserve_factor = match params.reservation {
            0 => 0,
            ppm => factor(u64::from(WHOLE_CPU), ppm),
        };
        self.limit_factor = match params.limit {
            WHOLE_CPU => 0,
            ppm => factor(u64::from(WHOLE_CPU), ppm),
        };
        self.reserve_at = now;
        self.limit_at = now;
        Ok(())
    }

    /// The entitlement.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// CPU time used, in ns.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Whether it waits in a queue.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.slot != NO_SLOT
    }

    /// Adds time used up to `now`.
    ///
    /// Neither tag strays far from `now`, so that both hold in every second
    /// and not on average: what a thread got beyond its reservation postpones
    /// by little when it is next due, and what it missed, under its limit or
    /// a reservation that others crowd out, is soon forgotten.
    #[inline(always)]
    pub(crate) fn advance(&mut self, ns: u64, now: u64) {
        self.used += ns;
        self.vruntime = self.vruntime.wrapping_add(scale(ns, self.weight_factor));
        if self.reserve_factor != 0 {
            let next = self
                .reserve_at
                .saturating_add(scale(ns, self.reserve_factor));
            let (least, most) = (now.saturating_sub(DEBT_MAX), now + PERIOD_RESERVED * 5 / 4);
            self.reserve_at = next.clamp(least, most);
        }
        if self.limit_factor != 0 {
            let least = now.saturating_sub(ns + LIMIT_CREDIT);
            self.limit_at = self
                .limit_at
                .max(least)
                .saturating_add(scale(ns, self.limit_factor));
        }
    }

    /// Drops what a reservation must not save up while asleep.
    #[inline]
    pub(crate) fn forget_credit(&mut self, now: u64) {
        if self.reserve_factor != 0 {
            self.reserve_at = self.reserve_at.max(now);
        }
    }

    #[inline]
    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserve_factor != 0
    }

    #[inline]
    pub(crate) const fn is_limited(&self) -> bool {
        self.limit_factor != 0
    }

    /// Whether its limit makes it wait.
    #[inline]
    pub(crate) const fn is_throttled(&self, now: u64) -> bool {
        self.limit_factor != 0 && self.limit_at > now
    }

    /// Whether it is behind its reservation.
    #[inline]
    pub(crate) const fn is_due(&self, now: u64) -> bool {
        self.reserve_factor != 0 && self.reserve_at <= now
    }
}

const fn factor(whole: u64, part: u32) -> u64 {
    (whole << SHIFT) / part as u64
}

/// `ns` times a factor.
#[inline]
pub(crate) const fn scale(ns: u64, factor: u64) -> u64 {
    ((ns as u128 * factor as u128) >> SHIFT) as u64
}
