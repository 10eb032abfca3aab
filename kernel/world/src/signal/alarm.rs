//! [`Alarm`]: the real-time interval timer of a process (setitimer(2), alarm(2)).

use crate::{Process, registry};
use abi::signal::{SigInfo, number};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;
use wait::{TimerId, TimerTarget};

#[derive(Default)]
struct State {
    /// What the running timer calls; `None` when there is none.
    ring: Option<Arc<Ring>>,
    timer: Option<TimerId>,
    next_ns: u64,
    interval_ns: u64,
}

/// The timer of a process.
#[derive(Default)]
pub struct Alarm(SpinLock<State>);

/// One setting of the timer. A ring that is late finds another in its place, and
/// does nothing.
struct Ring {
    pid: u32,
    number: u64,
}

impl TimerTarget for Ring {
    fn expired(&self, now_ns: u64) {
        let Some(process) = registry::find_process(self.pid) else {
            return;
        };
        if process.alarm.ring_again(self.number, now_ns) {
            let _ = process.signal(SigInfo::kernel(number::SIGALRM));
        }
    }
}

impl Alarm {
    /// Nanoseconds until it rings (0: it does not), and its interval.
    pub fn get(&self, now_ns: u64) -> (u64, u64) {
        let state = self.0.lock();
        match state.ring {
            Some(_) => (
                state.next_ns.saturating_sub(now_ns).max(1),
                state.interval_ns,
            ),
            None => (0, 0),
        }
    }

    /// Sets it to ring after `first_ns` (0: never), then every `interval_ns`.
    pub fn set(&self, process: &Process, first_ns: u64, interval_ns: u64) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.stop();
        if first_ns == 0 {
            return;
        }
        let ring = Arc::new(Ring {
            pid: process.pid(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        });
        let old = {
            let mut state = self.0.lock();
            state.next_ns = wait::now_ns().saturating_add(first_ns);
            state.interval_ns = interval_ns;
            self.start(&mut state, &ring);
            state.ring.replace(ring)
        };
        drop(old);
    }

    /// Stops it.
    pub fn stop(&self) {
        let (ring, timer) = {
            let mut state = self.0.lock();
            (state.ring.take(), state.timer.take())
        };
        if let Some(timer) = timer {
            wait::scheduler().cancel(timer);
        }
        drop(ring);
    }

    fn start(&self, state: &mut State, ring: &Arc<Ring>) {
        let target: Arc<dyn TimerTarget> = ring.clone();
        let timer = wait::scheduler().arm(state.next_ns, Arc::downgrade(&target));
        state.timer = Some(timer);
    }

    /// Prepares the next ring; tells whether this one counts.
    fn ring_again(&self, number: u64, now_ns: u64) -> bool {
        let mut state = self.0.lock();
        let Some(ring) = state.ring.clone().filter(|ring| ring.number == number) else {
            return false;
        };
        let late = now_ns.saturating_sub(state.next_ns);
        let ended = match late.checked_div(state.interval_ns) {
            None => {
                state.timer = None;
                state.ring.take()
            }
            Some(missed) => {
                let ahead = (missed + 1).saturating_mul(state.interval_ns);
                state.next_ns = state.next_ns.saturating_add(ahead);
                self.start(&mut state, &ring);
                None
            }
        };
        drop(state);
        drop((ended, ring));
        true
    }
}
