//! The kernel's one source of random numbers.

use csprng::{Csprng, Source};
use sync::SpinLock;

static GENERATOR: SpinLock<Csprng> = SpinLock::new(Csprng::new());
/// Words taken from the CPU's own source at boot.
const WORDS: usize = 64;

/// Seeds the generator from what the CPU has.
pub fn init() {
    let mut generator = GENERATOR.lock();
    for _ in 0..WORDS {
        if let Some(word) = hal::cpu::random_word() {
            let source = if hal::cpu::features().rdseed {
                Source::Rdseed
            } else {
                Source::Rdrand
            };
            generator.mix(source, &word.to_le_bytes());
        }
        generator.mix_time(hal::time::tsc());
    }
    if !generator.is_seeded() {
        log::warn!("no random numbers yet: the CPU has no source of them, others are awaited");
    }
}

/// Adds the time of an interrupt.
pub fn add_event() {
    if let Some(mut generator) = GENERATOR.try_lock() {
        generator.mix_time(hal::time::tsc());
    }
}

/// Adds bytes from the host's entropy device.
pub fn add_host_bytes(bytes: &[u8]) {
    let mut generator = GENERATOR.lock();
    let was_seeded = generator.is_seeded();
    generator.mix(Source::VirtioRng, bytes);
    let is_new = generator.is_seeded() && !was_seeded;
    drop(generator);
    if is_new {
        crate::device_nodes::seeded();
    }
}

/// Whether its bytes are good for keys.
pub fn is_seeded() -> bool {
    GENERATOR.lock().is_seeded()
}

/// Adds bytes that may be known to somebody.
pub fn stir(bytes: &[u8]) {
    GENERATOR.lock().mix_credited(bytes, 0);
}

/// Fills `bytes`; before there is a seed, with what there is.
pub fn fill(bytes: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    if generator.fill(bytes).is_err() {
        generator.fill_insecure(bytes);
    }
}

/// Fills `bytes` for a program: waits for a seed if it may, or gives `None`.
pub fn fill_for_program(bytes: &mut [u8], block: bool) -> Option<()> {
    loop {
        if GENERATOR.lock().fill(bytes).is_ok() {
            return Some(());
        }
        if !block || wait::interrupted() {
            return None;
        }
        wait::scheduler().park(Some(wait::now_ns() + 10_000_000));
    }
}
