//! The CPU that runs this code, and the others.

use std::sync::atomic::Ordering;

use crate::machine::{self, CPU};
use crate::{irq, time};

pub use sync::MAX_CPUS;

/// What the simulated CPU can do.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the features' own names")]
pub struct Features {
    pub fsgsbase: bool,
    pub smep: bool,
    pub smap: bool,
    pub umip: bool,
    pub xsave: bool,
    pub xsaveopt: bool,
    pub gib_pages: bool,
    pub rdseed: bool,
    pub rdrand: bool,
    pub x2apic: bool,
    pub invariant_tsc: bool,
}

/// What CPUID leaf 1 has in EDX: what programs are told of the CPU.
#[must_use]
pub fn feature_word() -> u32 {
    0x1789_fbff
}

/// The CPU's features.
#[must_use]
pub fn features() -> &'static Features {
    &Features {
        fsgsbase: true,
        smep: true,
        smap: true,
        umip: false,
        xsave: true,
        xsaveopt: true,
        gib_pages: true,
        rdseed: false,
        rdrand: false,
        x2apic: false,
        invariant_tsc: true,
    }
}

/// This CPU's number, from 0.
#[must_use]
pub fn id() -> usize {
    CPU.get()
}

/// How many CPUs run.
#[must_use]
pub fn count() -> usize {
    machine::current().count.load(Ordering::Relaxed)
}

/// One turn of waiting for another CPU.
pub fn relax() {
    std::thread::yield_now();
}

/// Whether this CPU was asked to choose its thread anew.
#[must_use]
pub fn need_resched() -> bool {
    machine::current().cpu().resched.load(Ordering::Relaxed)
}

/// Takes the request back, because it is being followed.
pub fn clear_need_resched() {
    machine::current()
        .cpu()
        .resched
        .swap(false, Ordering::AcqRel);
}

/// Asks CPU `cpu` to choose its thread anew, wherever it is.
pub fn set_need_resched(cpu: usize) {
    let machine = machine::current();
    if let Some(block) = machine.cpus.get(cpu) {
        block.resched.store(true, Ordering::Release);
        machine.notify();
    }
}

/// Makes CPU `cpu` leave guest or user mode, for it to look at its requests.
pub fn kick(cpu: usize) {
    let machine = machine::current();
    if let Some(block) = machine.cpus.get(cpu) {
        block.kicks.fetch_add(1, Ordering::Release);
        machine.notify();
    }
}

/// Waits for an interrupt and lets it be handled. Returns at once when this CPU
/// has been asked to reschedule. A machine whose clock advances by itself jumps
/// to this CPU's deadline instead of waiting for it.
pub fn idle_wait() {
    let machine = machine::current();
    let cpu = machine.cpu();
    let kicks = cpu.kicks.load(Ordering::Acquire);
    let event = || {
        cpu.resched.load(Ordering::Acquire)
            || irq::is_pending()
            || cpu.kicks.load(Ordering::Acquire) != kicks
    };
    let deadline = cpu.deadline.load(Ordering::Acquire);
    if !event() && deadline != u64::MAX && machine.auto_advance.load(Ordering::Relaxed) {
        time::advance_to(deadline);
    }
    machine.wait_until(event);
    take_interrupts();
}

/// Lets pending interrupts be handled here and now.
pub fn take_interrupts() {
    irq::deliver();
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    panic!("CPU {} halted", id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn a_remote_request_ends_an_idle_wait() {
        let machine = Machine::new(2);
        machine.enter(0);
        let other = std::thread::spawn(move || {
            machine.enter(1);
            idle_wait();
            need_resched()
        });
        set_need_resched(1);
        assert!(other.join().unwrap());
    }
}
