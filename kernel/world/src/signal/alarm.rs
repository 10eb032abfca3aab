//! [`Alarm`]: the real-time interval timer of a process (setitimer(2), alarm(2)).

use crate::{Process, registry};
use abi::signal::{SigInfo, number};
use alloc::sync::Arc;
use sync::SpinLock;
use wait::{TimerId, TimerTarget};

#[derive(Default)]
struct State {
    armed: Option<(TimerId, Arc<Ring>)>,
    next_ns: u64,
    interval_ns: u64,
}

/// The timer of a process.
#[derive(Default)]
pub struct Alarm(SpinLock<State>);

struct Ring {
    pid: u32,
}

impl TimerTarget for Ring {
    fn expired(&self, now_ns: u64) {
        let Some(process) = registry::find_process(self.pid) else {
            return;
        };
        let _ = process.signal(SigInfo::kernel(number::SIGALRM));
        process.alarm.ring_again(&process, now_ns);
    }
}

impl Alarm {
    /// Nanoseconds until it rings (0: it does not), and its interval.
    pub fn get(&self, now_ns: u64) -> (u64, u64) {
        let state = self.0.lock();
        match state.armed {
            Some(_) => (
                state.next_ns.saturating_sub(now_ns).max(1),
                state.interval_ns,
            ),
            None => (0, 0),
        }
    }

    /// Sets it to ring after `first_ns` (0: never), then every `interval_ns`.
    pub fn set(&self, process: &Process, first_ns: u64, interval_ns: u64) {
        self.stop();
        if first_ns != 0 {
            self.arm(
                process.pid(),
                wait::now_ns().saturating_add(first_ns),
                interval_ns,
            );
        }
    }

    /// Stops it.
    pub fn stop(&self) {
        let armed = self.0.lock().armed.take();
        if let Some((timer, _ring)) = armed {
            wait::scheduler().cancel(timer);
        }
    }

    fn arm(&self, pid: u32, at_ns: u64, interval_ns: u64) {
        let ring = Arc::new(Ring { pid });
        let target: Arc<dyn TimerTarget> = ring.clone();
        let timer = wait::scheduler().arm(at_ns, Arc::downgrade(&target));
        let old = {
            let mut state = self.0.lock();
            state.next_ns = at_ns;
            state.interval_ns = interval_ns;
            state.armed.replace((timer, ring))
        };
        drop(old);
    }

    fn ring_again(&self, process: &Process, now_ns: u64) {
        let (next_ns, interval_ns) = {
            let mut state = self.0.lock();
            if state.interval_ns == 0 {
                state.armed = None;
                return;
            }
            (state.next_ns, state.interval_ns)
        };
        let missed = now_ns.saturating_sub(next_ns) / interval_ns;
        let at_ns = next_ns.saturating_add((missed + 1).saturating_mul(interval_ns));
        self.arm(process.pid(), at_ns, interval_ns);
    }
}
