//! What this crate is to `wait`: the scheduler that lower layers know.

use crate::{clock, cpu, switch, timers};
use alloc::sync::Weak;
use core::task::Waker;
use wait::{Deadline, Scheduler, TimerId, TimerTarget};

struct Interface;

impl Scheduler for Interface {
    fn current(&self) -> Waker {
        Waker::from(cpu::current())
    }

    fn park(&self, deadline: Deadline) {
        switch::park(deadline);
    }

    fn interrupted(&self) -> bool {
        cpu::with_current(|thread| thread.is_interrupted())
    }

    fn now_ns(&self) -> u64 {
        hal::time::now_ns()
    }

    fn realtime_ns(&self) -> u64 {
        clock::realtime_ns()
    }

    fn arm(&self, deadline_ns: u64, target: Weak<dyn TimerTarget>) -> TimerId {
        timers::insert(deadline_ns, timers::Target::Other(target))
    }

    fn cancel(&self, timer: TimerId) {
        timers::cancel(timer);
    }
}

/// Registers the scheduler with those that wait. Once, before the first thread.
pub fn init() {
    cpu::init();
    wait::set_scheduler(&Interface);
    hal::task::set_exit_hook(switch::exit);
}
