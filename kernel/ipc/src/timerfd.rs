//! [`TimerFd`]: a timer that is read (timerfd_create(2)).
//!
//! As on Linux a periodic timer that has expired is armed again only when it is
//! read; the expiries in between are counted from the time that has passed.

use abi::Errno;
use abi::event::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, Events, Itimerspec, TFD_TIMER_ABSTIME,
    TFD_TIMER_CANCEL_ON_SET, Timespec,
};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use sync::SpinLock;
use vfs::{File, Io, PollHead, Result, Sink};
use wait::{TimerId, TimerTarget};

/// Which time a timer goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Time since boot.
    Monotonic,
    /// The wall clock, turned into time since boot when the timer is set.
    Realtime,
}

impl Clock {
    /// From a `CLOCK_*` number.
    ///
    /// # Errors
    /// `EINVAL` for clocks that timers cannot go by.
    pub fn from_number(number: u32) -> Result<Self> {
        match number {
            CLOCK_MONOTONIC | CLOCK_BOOTTIME => Ok(Self::Monotonic),
            CLOCK_REALTIME => Ok(Self::Realtime),
            _ => Err(Errno::EINVAL),
        }
    }
}

#[derive(Default)]
struct State {
    /// Next expiry that was not counted yet, monotonic; `None` when disarmed.
    deadline_ns: Option<u64>,
    interval_ns: u64,
    expirations: u64,
    armed: Option<TimerId>,
}

impl State {
    /// Counts the expiries up to `now`.
    fn advance(&mut self, now_ns: u64) {
        let Some(deadline) = self.deadline_ns.filter(|deadline| *deadline <= now_ns) else {
            return;
        };
        if self.interval_ns == 0 {
            self.expirations += 1;
            self.deadline_ns = None;
            return;
        }
        let passed = (now_ns - deadline) / self.interval_ns + 1;
        self.expirations += passed;
        self.deadline_ns = Some(deadline + passed * self.interval_ns);
    }

    fn show(&self, now_ns: u64) -> Itimerspec {
        let left = self
            .deadline_ns
            .map_or(0, |deadline| deadline.saturating_sub(now_ns).max(1));
        Itimerspec {
            interval: Timespec::from_ns(self.interval_ns),
            value: Timespec::from_ns(left),
        }
    }
}

/// A timer that is read.
pub struct TimerFd {
    clock: Clock,
    state: SpinLock<State>,
    head: PollHead,
    me: Weak<TimerFd>,
}

impl TimerFd {
    /// A disarmed timer.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            clock,
            state: SpinLock::new(State::default()),
            head: PollHead::new(),
            me: me.clone(),
        })
    }

    /// Sets or disarms it and returns what it was set to.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags and times out of range.
    pub fn set(&self, flags: u32, spec: &Itimerspec) -> Result<Itimerspec> {
        if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
            return Err(Errno::EINVAL);
        }
        let value = spec.value.to_ns().ok_or(Errno::EINVAL)?;
        let interval_ns = spec.interval.to_ns().ok_or(Errno::EINVAL)?;
        let now = wait::now_ns();
        let deadline_ns = (value != 0).then(|| match (flags & TFD_TIMER_ABSTIME, self.clock) {
            (0, _) => now.saturating_add(value),
            (_, Clock::Monotonic) => value,
            (_, Clock::Realtime) => now.saturating_add(value.saturating_sub(wait::realtime_ns())),
        });
        let mut state = self.state.lock();
        state.advance(now);
        let old = state.show(now);
        let stale = state.armed.take();
        *state = State {
            deadline_ns,
            interval_ns,
            expirations: 0,
            armed: None,
        };
        drop(state);
        if let Some(timer) = stale {
            wait::scheduler().cancel(timer);
        }
        self.arm();
        Ok(old)
    }

    /// What it is set to, and how long until it expires.
    #[must_use]
    pub fn get(&self) -> Itimerspec {
        let now = wait::now_ns();
        let mut state = self.state.lock();
        state.advance(now);
        state.show(now)
    }

    /// Arms the scheduler's timer for the next expiry, unless one is armed.
    fn arm(&self) {
        let scheduler = wait::scheduler();
        let mut state = self.state.lock();
        if let (Some(deadline), None) = (state.deadline_ns, state.armed) {
            let target: Weak<dyn TimerTarget> = self.me.clone();
            state.armed = Some(scheduler.arm(deadline, target));
        }
    }

    fn take(&self) -> Option<u64> {
        let now = wait::now_ns();
        let taken = {
            let mut state = self.state.lock();
            state.advance(now);
            core::mem::take(&mut state.expirations)
        };
        if taken == 0 {
            return None;
        }
        self.arm();
        Some(taken)
    }
}

impl TimerTarget for TimerFd {
    fn expired(&self, now_ns: u64) {
        let due = {
            let mut state = self.state.lock();
            state.armed = None;
            state.advance(now_ns);
            state.expirations > 0
        };
        if due {
            self.head.notify(Events::IN | Events::RDNORM);
        } else {
            // The timer of an earlier setting, or one that came early.
            self.arm();
        }
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        if let Some(timer) = self.state.get_mut().armed.take() {
            wait::scheduler().cancel(timer);
        }
    }
}

impl File for TimerFd {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        if sink.room() < 8 {
            return Err(Errno::EINVAL);
        }
        let expirations = match self.take() {
            Some(expirations) => expirations,
            None if io.nonblock => return Err(Errno::EAGAIN),
            None => self.head.wait(Events::IN, None, || self.take())?,
        };
        sink.put(&expirations.to_ne_bytes())
    }

    fn poll(&self) -> Events {
        let mut events = Events::empty();
        let now = wait::now_ns();
        let mut state = self.state.lock();
        state.advance(now);
        events.set(Events::IN | Events::RDNORM, state.expirations > 0);
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.head)
    }

    fn label(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::SliceSink;

    fn read(file: &TimerFd, nonblock: bool) -> Result<u64> {
        let mut bytes = [0; 8];
        let mut io = Io {
            nonblock,
            ..Io::default()
        };
        file.read(&mut io, &mut SliceSink::new(&mut bytes))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn spec(value_ns: u64, interval_ns: u64) -> Itimerspec {
        Itimerspec {
            interval: Timespec::from_ns(interval_ns),
            value: Timespec::from_ns(value_ns),
        }
    }

    #[test]
    fn one_shot_and_periodic_expiries_are_read() {
        wait_host::install();
        let timer = TimerFd::new(Clock::Monotonic);
        assert_eq!(read(&timer, true), Err(Errno::EAGAIN));
        timer.set(0, &spec(1_000_000, 0)).unwrap();
        assert_eq!(read(&timer, false), Ok(1));
        assert_eq!(timer.get(), Itimerspec::default());
        timer.set(TFD_TIMER_ABSTIME, &spec(1, 1_000_000)).unwrap();
        assert!(read(&timer, false).unwrap() > 100);
        assert!(read(&timer, false).unwrap() >= 1);
    }

    #[test]
    fn disarming_and_bad_times() {
        wait_host::install();
        let timer = TimerFd::new(Clock::Realtime);
        timer.set(0, &spec(3_600_000_000_000, 5)).unwrap();
        let old = timer.set(0, &spec(0, 0)).unwrap();
        assert!(old.value.sec >= 3_590 && old.interval == Timespec::from_ns(5));
        let bad = Itimerspec {
            value: Timespec { sec: 0, nsec: -1 },
            ..Default::default()
        };
        assert_eq!(timer.set(0, &bad), Err(Errno::EINVAL));
        assert_eq!(timer.set(64, &spec(1, 1)), Err(Errno::EINVAL));
    }

    #[test]
    fn expiries_are_counted_from_the_time_passed() {
        let mut state = State {
            deadline_ns: Some(100),
            interval_ns: 10,
            ..State::default()
        };
        state.advance(99);
        assert_eq!(state.expirations, 0);
        state.advance(135);
        assert_eq!((state.expirations, state.deadline_ns), (4, Some(140)));
    }
}
