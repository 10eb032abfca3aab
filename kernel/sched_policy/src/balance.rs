//! When a CPU takes work from another.
//!
//! Work is pulled, never pushed: a CPU that runs out of it asks at once, and
//! every CPU with a timer running asks each [`INTERVAL`]. The plan names a
//! queue and what to take; [`crate::RunQueue::steal`] finds a thread for it.

use crate::{CpuLoad, CpuSet};

/// How often a busy CPU asks for balance, in ns.
pub const INTERVAL: u64 = 16_000_000;

/// Why a CPU asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has nothing to run.
    Idle,
    /// The interval is over.
    Periodic,
}

/// Take one thread from another CPU's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The CPU to take it from.
    pub from: usize,
    /// The largest weight to take.
    pub max_weight: u64,
    /// The largest reservation to take, in parts per million.
    pub room: u32,
}

/// Decides for `cpu`; none if it should take nothing. After a pull that found
/// nothing, `online` without that CPU can be asked again.
///
/// An idle CPU takes from the CPU with the most weight of those where someone
/// waits. A busy one takes what leaves it no heavier than the other was: two
/// unequal CPUs then swap places instead of staying unequal, so that threads
/// that do not divide evenly take turns.
pub fn plan(
    cpu: usize,
    reason: Reason,
    online: CpuSet,
    load: impl Fn(usize) -> CpuLoad,
) -> Option<Pull> {
    let own = load(cpu);
    let mut others = online;
    others.remove(cpu);
    // Of equals the one before this CPU: turns then go around all CPUs.
    let (from, busiest) = others
        .iter_from(cpu)
        .map(|other| (other, load(other)))
        .filter(|(_, load)| load.waiting > 0)
        .max_by_key(|(_, load)| load.weight)?;
    let max_weight = match reason {
        Reason::Idle => u64::MAX,
        Reason::Periodic => busiest
            .weight
            .checked_sub(own.weight)
            .filter(|more| *more > 0)?,
    };
    Some(Pull {
        from,
        max_weight,
        room: own.room(),
    })
}

/// Chooses an idle CPU to be told that `cpu`, loaded so, has a thread
/// waiting, if there is one of both. For use after a wake-up that is not
/// `yielding`, a tick and a pick, again after each success: an idle CPU has no
/// timer to find out itself.
#[must_use]
#[inline]
pub fn kick(cpu: usize, load: &CpuLoad, idle: CpuSet) -> Option<usize> {
    if load.waiting == 0 || load.runnable < 2 {
        None
    } else {
        idle.next_from(cpu)
    }
}
