//! Whether the clock ever goes back from CPU to CPU: one thread on each CPU,
//! and a token with a time that goes around. Whoever gets it reads the clock,
//! and no time may be before the one that came with the token.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How often the token goes around at most,
const ROUNDS: usize = 20_000;
/// and for how long.
const LONGEST_NS: u64 = 2_000_000_000;
/// Turns of a loop after which a waiting thread sleeps for a moment: there may
/// be fewer real CPUs than this machine has.
const SPINS: u32 = 500;

static HOLDER: AtomicUsize = AtomicUsize::new(0);
static STAMP: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
static IS_BACKWARDS: AtomicBool = AtomicBool::new(false);

fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure lives for the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC: {}", io::Error::last_os_error());
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps this thread on one CPU.
fn stay_on(cpu: usize) -> io::Result<()> {
    let mask = 1u64 << cpu;
    // SAFETY: the kernel reads eight bytes of a word that lives for the call.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of_val(&mask), std::ptr::from_ref(&mask).cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Passes the token on each time that it comes, until `end`; how often.
fn pass(own: usize, all: usize, end: u64) -> usize {
    let mut rounds = 0;
    loop {
        let mut spins = 0;
        while HOLDER.load(Ordering::Acquire) != own {
            if IS_OVER.load(Ordering::Acquire) {
                return rounds;
            }
            std::hint::spin_loop();
            spins += 1;
            if spins % SPINS == 0 {
                thread::sleep(Duration::from_micros(50));
            }
        }
        let before = STAMP.load(Ordering::Relaxed);
        let time = now();
        if time < before {
            IS_BACKWARDS.store(true, Ordering::Relaxed);
            WORST.fetch_max(before - time, Ordering::Relaxed);
        }
        STAMP.store(time, Ordering::Relaxed);
        rounds += 1;
        if rounds == ROUNDS || time > end {
            IS_OVER.store(true, Ordering::Release);
        }
        HOLDER.store((own + 1) % all, Ordering::Release);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cpus = thread::available_parallelism()?.get();
    let start = now();
    let threads: Vec<_> = (0..cpus)
        .map(|cpu| {
            thread::spawn(move || {
                let stays = stay_on(cpu);
                // The others wait for this thread, so it goes on in any case.
                let rounds = pass(cpu, cpus, start + LONGEST_NS);
                stays.map(|()| rounds)
            })
        })
        .collect();
    let mut rounds = usize::MAX;
    for thread in threads {
        rounds = rounds.min(thread.join().map_err(|_| "a thread panicked")??);
    }
    let micros = (now() - start) / 1000;
    println!("{cpus} CPUs, {rounds} rounds in {micros} us");
    if IS_BACKWARDS.load(Ordering::Relaxed) {
        let worst = WORST.load(Ordering::Relaxed);
        return Err(format!("the clock went back by up to {worst} ns from CPU to CPU").into());
    }
    if micros == 0 || rounds == 0 {
        return Err("the clock stands still, or the token".into());
    }
    Ok(())
}
