//! Timers: what is called when, and the alarm of each CPU.

use alloc::collections::BTreeMap;
use alloc::sync::Weak;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::{cpu, time};
use sync::{PerCpu, SpinLock, per_cpu};
use wait::{TimerId, TimerTarget};

struct Timers {
    by_time: BTreeMap<(u64, u64), Weak<dyn TimerTarget>>,
    deadlines: BTreeMap<u64, u64>,
}

struct Cpu {
    timers: SpinLock<Timers>,
    /// When the current slice ends.
    slice_ns: AtomicU64,
    /// What the hardware is set to.
    armed_ns: AtomicU64,
}

static CPUS: PerCpu<Cpu> = per_cpu!(Cpu {
    timers: SpinLock::new(Timers {
        by_time: BTreeMap::new(),
        deadlines: BTreeMap::new()
    }),
    slice_ns: AtomicU64::new(u64::MAX),
    armed_ns: AtomicU64::new(u64::MAX),
});
static NEXT: AtomicU64 = AtomicU64::new(1);
/// An id's low bits name the CPU whose list it is in.
const CPU_BITS: u32 = 6;

/// Calls `target` at `deadline_ns`, from this CPU.
pub(crate) fn insert(deadline_ns: u64, target: Weak<dyn TimerTarget>) -> TimerId {
    let own = cpu::id();
    let id = NEXT.fetch_add(1, Ordering::Relaxed) << CPU_BITS | own as u64;
    let this = CPUS.get(own);
    {
        let mut timers = this.timers.lock();
        timers.by_time.insert((deadline_ns, id), target);
        timers.deadlines.insert(id, deadline_ns);
    }
    set_hardware(this, deadline_ns.min(this.armed_ns.load(Ordering::Relaxed)));
    TimerId(id)
}

/// Takes a timer back, if it has not rung.
pub(crate) fn cancel(timer: TimerId) {
    let cpu = CPUS.get((timer.0 & ((1 << CPU_BITS) - 1)) as usize);
    let mut timers = cpu.timers.lock();
    if let Some(deadline) = timers.deadlines.remove(&timer.0) {
        timers.by_time.remove(&(deadline, timer.0));
    }
}

/// Sets the end of the slice; the alarm is at this or the first timer.
pub(crate) fn arm(slice_ns: u64) {
    let this = CPUS.get(cpu::id());
    this.slice_ns.store(slice_ns, Ordering::Relaxed);
    let first = first(this);
    set_hardware(this, first.min(slice_ns));
}

fn first(cpu: &Cpu) -> u64 {
    cpu.timers
        .lock()
        .by_time
        .first_key_value()
        .map_or(u64::MAX, |((deadline, _), _)| *deadline)
}

fn set_hardware(cpu: &Cpu, deadline_ns: u64) {
    if cpu.armed_ns.swap(deadline_ns, Ordering::Relaxed) != deadline_ns {
        time::arm_timer(deadline_ns);
    }
}

/// Calls what is due. The caller arms anew.
pub(crate) fn expire(now_ns: u64) {
    let this = CPUS.get(cpu::id());
    // The alarm has rung, or is about to be set again.
    this.armed_ns.store(0, Ordering::Relaxed);
    loop {
        let due = {
            let mut timers = this.timers.lock();
            match timers.by_time.first_key_value() {
                Some((&(deadline, id), _)) if deadline <= now_ns => {
                    timers.deadlines.remove(&id);
                    timers.by_time.remove(&(deadline, id))
                }
                _ => None,
            }
        };
        let Some(target) = due else { return };
        if let Some(target) = target.upgrade() {
            target.expired(now_ns);
        }
    }
}
