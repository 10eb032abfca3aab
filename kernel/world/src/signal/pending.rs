//! [`Pending`]: signals sent and not yet taken.

use abi::signal::{SigInfo, SignalSet, number};
use alloc::vec::Vec;

/// Most real-time signals that queue up in one place. Ordinary ones always fit.
const QUEUE_LIMIT: usize = 1024;

/// Signals that wait. Ordinary ones are there or not, real-time ones queue.
#[derive(Default)]
pub struct Pending {
    set: SignalSet,
    infos: Vec<SigInfo>,
}

impl Pending {
    /// Which signals wait.
    #[inline]
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Adds one. False where the queue is full.
    pub fn add(&mut self, info: SigInfo) -> bool {
        let is_queued = info.signal >= number::SIGRTMIN;
        if self.set.contains(info.signal) && !is_queued {
            return true;
        }
        if is_queued && self.infos.len() >= QUEUE_LIMIT {
            return false;
        }
        self.set = self.set.union(SignalSet::of(info.signal));
        self.infos.push(info);
        true
    }

    /// Takes the first of the lowest signal in `from`.
    pub fn take(&mut self, from: SignalSet) -> Option<SigInfo> {
        let ready = self.set.0 & from.0;
        if ready == 0 {
            return None;
        }
        let signal = ready.trailing_zeros() + 1;
        let at = self.infos.iter().position(|info| info.signal == signal)?;
        let info = self.infos.remove(at);
        if !self.infos.iter().any(|info| info.signal == signal) {
            self.set = self.set.without(SignalSet::of(signal));
        }
        Some(info)
    }

    /// Forgets the signals in `set`.
    pub fn remove(&mut self, set: SignalSet) {
        self.infos.retain(|info| !set.contains(info.signal));
        self.set = self.set.without(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_signals_are_there_once_and_real_time_ones_queue() {
        let mut pending = Pending::default();
        for signal in [number::SIGTERM, number::SIGTERM, 40, 40] {
            assert!(pending.add(SigInfo::kernel(signal)));
        }
        let all = SignalSet(u64::MAX);
        let taken: Vec<u32> = core::iter::from_fn(|| pending.take(all))
            .map(|info| info.signal)
            .collect();
        assert_eq!(taken, [number::SIGTERM, 40, 40]);
        assert_eq!(pending.set(), SignalSet::default());
    }

    #[test]
    fn a_full_queue_still_takes_ordinary_signals() {
        let mut pending = Pending::default();
        for _ in 0..QUEUE_LIMIT {
            assert!(pending.add(SigInfo::kernel(40)));
        }
        assert!(!pending.add(SigInfo::kernel(40)));
        assert!(pending.add(SigInfo::kernel(number::SIGSEGV)));
        assert!(pending.set().contains(number::SIGSEGV));
    }

    #[test]
    fn a_blocked_signal_stays() {
        let mut pending = Pending::default();
        pending.add(SigInfo::kernel(number::SIGINT));
        assert!(pending.take(SignalSet::of(number::SIGTERM)).is_none());
        assert!(pending.set().contains(number::SIGINT));
    }
}
