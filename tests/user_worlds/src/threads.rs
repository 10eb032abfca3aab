//! Threads: their own variables, panics, ends, and many of them.

use crate::{Check, call, sys};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

pub const CHECKS: &[Check] = &[
    ("thread_locals_are_their_own", locals),
    ("thread_panic_is_caught_with_backtrace", panics),
    ("thread_many_short_ones", many),
    ("thread_condition_and_barrier", conditions),
    ("thread_channels_and_parking", channels),
    ("thread_timeouts", timeouts),
    ("thread_numbers", numbers),
    ("thread_stack_overflow_kills", overflow),
    ("thread_signal_to_foreign_numbers", foreign_numbers),
];

thread_local!(static OWN: Cell<u32> = const { Cell::new(7) });

fn locals() {
    let threads: Vec<_> = (0..16)
        .map(|number| {
            thread::spawn(move || {
                assert_eq!(OWN.get(), 7);
                OWN.set(number);
                for _ in 0..100 {
                    thread::yield_now();
                    assert_eq!(OWN.get(), number);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("a thread failed"));
    assert_eq!(OWN.get(), 7);
}

fn panics() {
    // The usual hook prints a backtrace, which walks the program's own tables.
    let trace = std::backtrace::Backtrace::force_capture();
    assert_eq!(trace.status(), std::backtrace::BacktraceStatus::Captured);
    let value = std::hint::black_box(1);
    let caught = std::panic::catch_unwind(|| panic!("expected {value}"));
    let message = caught
        .expect_err("no panic")
        .downcast::<String>()
        .expect("a message");
    assert_eq!(*message, "expected 1");
    let joined = thread::spawn(|| panic!("in a thread")).join();
    assert!(joined.is_err());
}

fn many() {
    let counter = AtomicU32::new(0);
    for _ in 0..50 {
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| counter.fetch_add(1, Ordering::Relaxed));
            }
        });
    }
    assert_eq!(counter.into_inner(), 1000);
}

fn conditions() {
    let pair = Arc::new((Mutex::new(0u32), Condvar::new()));
    let barrier = Arc::new(Barrier::new(9));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (pair, barrier) = (pair.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                let (lock, condition) = &*pair;
                for _ in 0..200 {
                    *lock.lock().expect("lock") += 1;
                    condition.notify_all();
                }
            })
        })
        .collect();
    barrier.wait();
    let (lock, condition) = &*pair;
    let mut count = lock.lock().expect("lock");
    while *count < 1600 {
        count = condition.wait(count).expect("wait");
    }
    drop(count);
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("join"));
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    for number in 0..10u64 {
        let sender = sender.clone();
        thread::spawn(move || (0..100).for_each(|_| sender.send(number).expect("send")));
    }
    drop(sender);
    assert_eq!(receiver.iter().sum::<u64>(), 4500);
    let sleeper = thread::spawn(|| {
        for _ in 0..100 {
            thread::park();
        }
    });
    while !sleeper.is_finished() {
        sleeper.thread().unpark();
        thread::yield_now();
    }
}

fn timeouts() {
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(20));
    let pair = (Mutex::new(()), Condvar::new());
    let guard = pair.0.lock().expect("lock");
    let (_guard, result) = pair
        .1
        .wait_timeout(guard, Duration::from_millis(20))
        .expect("wait");
    assert!(result.timed_out());
    let (_sender, receiver) = mpsc::channel::<()>();
    assert!(receiver.recv_timeout(Duration::from_millis(20)).is_err());
    thread::sleep(Duration::from_millis(20));
    let passed = start.elapsed();
    assert!(passed >= Duration::from_millis(60), "only {passed:?}");
}

fn numbers() {
    assert_eq!(sys::gettid(), sys::getpid());
    let (tid, pid) = thread::spawn(|| (sys::gettid(), sys::getpid()))
        .join()
        .expect("join");
    assert_ne!(tid, pid);
    assert_eq!(pid, sys::getpid());
    assert!(thread::available_parallelism().expect("parallelism").get() >= 1);
}

fn overflow() {
    #[inline(never)]
    fn deeper(level: u64) -> u64 {
        let room = std::hint::black_box([level; 64]);
        if level == u64::MAX {
            0
        } else {
            deeper(level + 1) + room[5]
        }
    }
    let status = sys::crash(|| {
        let error = call!(libc::SYS_dup2, 1, 2);
        // What the standard library says about it is not for this output.
        let _ = call!(libc::SYS_close, 2);
        assert!(error.is_ok());
        let _ = thread::spawn(|| deeper(0)).join();
    });
    assert!(libc::WIFSIGNALED(status), "status {status:#x}");
    let signal = libc::WTERMSIG(status);
    assert!(
        signal == libc::SIGABRT || signal == libc::SIGSEGV,
        "signal {signal}"
    );
}

/// Guesses numbers of threads while others come and go.
fn foreign_numbers() {
    let own = sys::getpid();
    let stop = Arc::new(AtomicU32::new(0));
    let guesser = thread::spawn({
        let stop = stop.clone();
        move || {
            while stop.load(Ordering::Relaxed) == 0 {
                for tid in own..own + 200 {
                    let _ = call!(libc::SYS_tgkill, own, tid, 0);
                }
            }
        }
    });
    many();
    stop.store(1, Ordering::Relaxed);
    guesser.join().expect("join");
    assert_eq!(call!(libc::SYS_tgkill, own, 1 << 22, 0), Err(libc::ESRCH));
    assert_eq!(call!(libc::SYS_tgkill, own, own, 65), Err(libc::EINVAL));
}
