//! Interrupts that tests raise. They are delivered where the machine would take
//! them: in idle, in ring 3, and where the kernel asks for pending ones.

use std::sync::atomic::Ordering;

use crate::machine::{self, lock};
use crate::time;

/// What the kernel does about interrupts.
pub trait Handlers: Sync {
    /// This CPU's timer fired.
    fn timer(&self);
    /// A device's interrupt with the vector that was allocated for it.
    fn device(&self, vector: u8);
}

/// Registers the kernel's handlers.
pub fn set_handlers(handlers: &'static dyn Handlers) {
    *lock(&machine::current().handlers) = Some(handlers);
}

/// A vector for a device, or `None` when all are taken.
#[must_use]
pub fn alloc_vector() -> Option<u8> {
    let next = &machine::current().next_vector;
    next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
        (v < 0xf0).then_some(v + 1)
    })
    .ok()
    .map(|vector| vector as u8)
}

/// Where and what a device writes to raise `vector` on CPU `cpu`.
#[must_use]
pub fn message(vector: u8, cpu: usize) -> (u64, u32) {
    (0xfee0_0000 | (cpu as u64) << 12, u32::from(vector))
}

/// Interrupts that nobody expected: the simulation raises none.
#[must_use]
pub fn stray_count() -> u64 {
    0
}

/// A device interrupts CPU `cpu`.
pub fn raise(cpu: usize, vector: u8) {
    let machine = machine::current();
    lock(&machine.cpus[cpu].pending).push(vector);
    machine.notify();
}

/// Whether this CPU has an interrupt to take.
pub(crate) fn is_pending() -> bool {
    let machine = machine::current();
    let cpu = machine.cpu();
    time::now_ns() >= cpu.deadline.load(Ordering::Acquire) || !lock(&cpu.pending).is_empty()
}

/// Hands this CPU's interrupts to the handlers.
pub(crate) fn deliver() {
    let machine = machine::current();
    let cpu = machine.cpu();
    let handlers = *lock(&machine.handlers);
    if time::now_ns() >= cpu.deadline.load(Ordering::Acquire) {
        cpu.deadline.store(u64::MAX, Ordering::Release);
        if let Some(handlers) = handlers {
            handlers.timer();
        }
    }
    let vectors = std::mem::take(&mut *lock(&cpu.pending));
    if let Some(handlers) = handlers {
        vectors
            .into_iter()
            .for_each(|vector| handlers.device(vector));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use std::sync::atomic::AtomicU64;

    struct Seen(AtomicU64);
    impl Handlers for Seen {
        fn timer(&self) {
            self.0.fetch_add(1000, Ordering::Relaxed);
        }
        fn device(&self, vector: u8) {
            self.0.fetch_add(u64::from(vector), Ordering::Relaxed);
        }
    }

    #[test]
    fn idle_takes_the_timer_and_devices() {
        static SEEN: Seen = Seen(AtomicU64::new(0));
        set_handlers(&SEEN);
        let vector = alloc_vector().unwrap();
        raise(0, vector);
        cpu::idle_wait();
        assert_eq!(SEEN.0.load(Ordering::Relaxed), u64::from(vector));
        let start = time::now_ns();
        time::arm_timer(start + 500);
        cpu::idle_wait();
        assert_eq!(time::now_ns(), start + 500);
        assert_eq!(SEEN.0.load(Ordering::Relaxed), 1000 + u64::from(vector));
    }
}
