//! Interrupt vectors, and who is told of each.
//!
//! The kernel above registers one [`Handlers`] at boot. Device vectors are
//! handed out by [`alloc_vector`]; a message-signalled interrupt is an address
//! and a value that name vector and CPU (APM 2, 16.11).

use crate::{apic, cpu, mem};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use sync::Once;

/// The local APIC's timer.
pub(crate) const TIMER: u8 = 0xf0;
/// Another CPU asks for a new choice of thread.
pub(crate) const RESCHEDULE: u8 = 0xf1;
/// Another CPU asks for a flush of translations.
pub(crate) const FLUSH: u8 = 0xf2;
/// Another CPU wants this one out of user or guest mode.
pub(crate) const KICK: u8 = 0xf3;
/// The APIC's spurious vector.
pub(crate) const SPURIOUS: u8 = 0xff;

const FIRST_DEVICE: u8 = 0x30;
const LAST_DEVICE: u8 = 0xef;

/// What the kernel does at interrupts. Called with interrupts off, between two
/// steps of whatever the CPU was doing in ring 3, guest mode or idle.
pub trait Handlers: Sync {
    /// This CPU's timer reached its deadline.
    fn timer(&self);
    /// A device interrupt on `vector`.
    fn device(&self, vector: u8);
}

static HANDLERS: Once<&'static dyn Handlers> = Once::new();
static NEXT_DEVICE: AtomicU8 = AtomicU8::new(FIRST_DEVICE);
static STRAY: AtomicU64 = AtomicU64::new(0);

/// Registers the kernel's handlers; once, at boot.
pub fn set_handlers(handlers: &'static dyn Handlers) {
    let _ = HANDLERS.set(handlers);
}

/// A vector for a device, or nothing when all are in use.
pub fn alloc_vector() -> Option<u8> {
    NEXT_DEVICE
        .try_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (next <= LAST_DEVICE).then(|| next + 1)
        })
        .ok()
}

/// Where and what a device writes to raise `vector` on CPU `cpu`.
pub fn message(vector: u8, cpu: usize) -> (u64, u32) {
    let id_of = |cpu| cpu::block(cpu).map(|block| block.apic_id.load(Ordering::Relaxed));
    // The message has eight bits for the CPU; one beyond them cannot be named.
    let apic_id = id_of(cpu)
        .filter(|id| *id <= 0xff)
        .or_else(|| id_of(0))
        .unwrap_or(0)
        & 0xff;
    (0xfee0_0000 | u64::from(apic_id) << 12, u32::from(vector))
}

/// Interrupts that nobody expected, since boot.
pub fn stray_count() -> u64 {
    STRAY.load(Ordering::Relaxed)
}

/// Handles the interrupt that came on `vector`.
pub(crate) fn dispatch(vector: u8) {
    match vector {
        SPURIOUS => return,
        FLUSH => mem::serve_flush_request(),
        RESCHEDULE | KICK => {}
        _ => match HANDLERS.get() {
            Some(handlers) if vector == TIMER => handlers.timer(),
            Some(handlers) if (FIRST_DEVICE..=LAST_DEVICE).contains(&vector) => {
                handlers.device(vector)
            }
            _ => {
                STRAY.fetch_add(1, Ordering::Relaxed);
            }
        },
    }
    apic::end_of_interrupt();
}

/// A non-maskable interrupt.
pub(crate) fn nmi() {
    // Sent by a panicking CPU to stop the others.
    if crate::power::stopping() {
        cpu::halt();
    }
    STRAY.fetch_add(1, Ordering::Relaxed);
}
