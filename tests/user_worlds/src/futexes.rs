//! Futexes: the operations, between threads and processes, and robust ones.

use crate::sys::{self, Region, fork, wait_exit};
use crate::{Check, call};
use std::sync::atomic::{AtomicU32, Ordering};

pub const CHECKS: &[Check] = &[
    ("futex_wait_and_wake", wait_and_wake),
    ("futex_between_processes", processes),
    ("futex_bit_sets", bit_sets),
    ("futex_requeue", requeue),
    ("futex_wake_op", wake_op),
    ("futex_robust", robust),
    ("futex_thread_end", thread_end),
    ("futex_ping_pong", ping_pong),
];

const WAIT: i32 = libc::FUTEX_WAIT;
const WAKE: i32 = libc::FUTEX_WAKE;
const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;

fn futex(word: &AtomicU32, operation: i32, value: u32, rest: [u64; 3]) -> Result<u64, i32> {
    call!(
        libc::SYS_futex,
        word.as_ptr(),
        operation,
        value,
        rest[0],
        rest[1],
        rest[2]
    )
}

/// Wakes until `count` waiters were woken.
fn wake_all(word: &AtomicU32, operation: i32, count: u64, rest: [u64; 3]) {
    let mut woken = 0;
    while woken < count {
        woken += futex(word, operation, 1, rest).expect("wake");
        std::thread::yield_now();
    }
}

fn wait_and_wake() {
    let word = AtomicU32::new(1);
    assert_eq!(futex(&word, WAIT, 2, [0; 3]), Err(libc::EAGAIN));
    assert_eq!(futex(&word, WAKE, 1, [0; 3]), Ok(0));
    let time = [0u64, 20_000_000];
    let start = sys::now_ms();
    assert_eq!(
        futex(&word, WAIT, 1, [time.as_ptr() as u64, 0, 0]),
        Err(libc::ETIMEDOUT)
    );
    assert!(sys::now_ms() - start >= 19);
    let late = [0u64, 1];
    let absolute = libc::FUTEX_WAIT_BITSET;
    for flag in [0, libc::FUTEX_CLOCK_REALTIME] {
        let rest = [late.as_ptr() as u64, 0, u64::from(u32::MAX)];
        assert_eq!(futex(&word, absolute | flag, 1, rest), Err(libc::ETIMEDOUT));
    }
    let wrong = [0u64, 1_000_000_000];
    assert_eq!(
        futex(&word, WAIT, 1, [wrong.as_ptr() as u64, 0, 0]),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_futex, word.as_ptr() as u64 + 1, WAIT, 1),
        Err(libc::EINVAL)
    );
    assert_eq!(call!(libc::SYS_futex, 4096, WAIT, 1), Err(libc::EFAULT));
    assert_eq!(futex(&word, absolute, 1, [0; 3]), Err(libc::EINVAL));
    assert_eq!(futex(&word, 99, 1, [0; 3]), Err(libc::ENOSYS));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(futex(&word, WAIT | PRIVATE, 1, [0; 3]), Ok(0)));
        }
        wake_all(&word, WAKE | PRIVATE, 8, [0; 3]);
    });
}

fn processes() {
    let shared = Region::shared(1);
    let child = fork(|| i32::from(futex(shared.word(0), WAIT, 0, [0; 3]).is_err()));
    wake_all(shared.word(0), WAKE, 1, [0; 3]);
    assert_eq!(wait_exit(child), 0);
    // A word of a file, mapped twice.
    let fd = call!(libc::SYS_memfd_create, c"futex".as_ptr(), 0).expect("memfd") as i32;
    call!(libc::SYS_ftruncate, fd, 4096).expect("ftruncate");
    let map = || Region::of(1, sys::READ_WRITE, libc::MAP_SHARED, fd).expect("mmap");
    let (one, two) = (map(), map());
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(futex(one.word(3), WAIT, 0, [0; 3]), Ok(0)));
        wake_all(two.word(3), WAKE, 1, [0; 3]);
    });
}

fn bit_sets() {
    let word = AtomicU32::new(0);
    let (wait, wake) = (libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAKE_BITSET);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| futex(&word, wait, 0, [0, 0, 1]));
        let second = scope.spawn(|| futex(&word, wait, 0, [0, 0, 2]));
        wake_all(&word, wake, 1, [0, 0, 2]);
        assert_eq!(second.join().expect("join"), Ok(0));
        assert_eq!(futex(&word, wake, 9, [0, 0, 4]), Ok(0));
        wake_all(&word, wake, 1, [0, 0, 1]);
        assert_eq!(first.join().expect("join"), Ok(0));
    });
    assert_eq!(futex(&word, wake, 1, [0; 3]), Err(libc::EINVAL));
}

fn requeue() {
    let (from, to) = (AtomicU32::new(5), AtomicU32::new(0));
    let compare = libc::FUTEX_CMP_REQUEUE;
    let target = to.as_ptr() as u64;
    assert_eq!(futex(&from, compare, 1, [1, target, 6]), Err(libc::EAGAIN));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(futex(&from, WAIT, 5, [0; 3]), Ok(0)));
        }
        // Two are woken, four moved.
        let (mut woken, mut affected) = (0, 0);
        while affected < 6 {
            let wake = u64::from(woken < 2);
            let count = futex(&from, compare, wake as u32, [1, target, 5]).expect("requeue");
            woken += count.min(wake);
            affected += count;
            std::thread::yield_now();
        }
        assert_eq!(futex(&from, WAKE, 9, [0; 3]), Ok(0));
        wake_all(&to, WAKE, 6 - woken, [0; 3]);
    });
}

fn wake_op() {
    let (one, two) = (AtomicU32::new(0), AtomicU32::new(10));
    let target = two.as_ptr() as u64;
    // Adds 5 to the second word; wakes there if it was 10.
    let code = |old: u64| 1 << 28 | 5 << 12 | old;
    assert_eq!(
        futex(&one, libc::FUTEX_WAKE_OP, 1, [1, target, code(10)]),
        Ok(0)
    );
    assert_eq!(two.load(Ordering::SeqCst), 15);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while two.load(Ordering::SeqCst) != 0 {
                let now = two.load(Ordering::SeqCst);
                let _ = futex(&two, WAIT, now, [0; 3]);
            }
        });
        sys::sleep_ms(10);
        // Stores 0, and wakes if it was above 0.
        let code = 4u64 << 24;
        assert!(futex(&one, libc::FUTEX_WAKE_OP, 1, [1, target, code]).is_ok());
    });
}

fn robust() {
    let shared = Region::shared(1);
    // The list: head, offset, pending; its only entry is right behind.
    let child = fork(|| {
        let head = shared.at + 64;
        let entry = shared.at + 128;
        let words = [(head, entry), (head + 8, 32), (head + 16, 0), (entry, head)];
        for (at, value) in words {
            // SAFETY: inside the shared page.
            unsafe { (at as *mut u64).write_volatile(value) };
        }
        let lock = shared.word((128 + 32) / 4);
        lock.store(sys::gettid() as u32 | 0x8000_0000, Ordering::SeqCst);
        i32::from(call!(libc::SYS_set_robust_list, head, 24).is_err())
    });
    let lock = shared.word((128 + 32) / 4);
    let died = loop {
        let value = lock.load(Ordering::SeqCst);
        if value & 0x4000_0000 != 0 {
            break value;
        }
        if value != 0 {
            let _ = futex(lock, WAIT, value, [0; 3]);
        }
        std::thread::yield_now();
    };
    assert_eq!(died, 0xc000_0000);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(call!(libc::SYS_set_robust_list, 0, 23), Err(libc::EINVAL));
    // A list that is no list, or without an end.
    for words in [[8u64, 0, 0], [u64::MAX - 7, 0, 0], [1 << 63, 5, 9]] {
        let child = fork(|| {
            let _ = call!(libc::SYS_set_robust_list, words.as_ptr(), 24);
            0
        });
        assert_eq!(wait_exit(child), 0);
        let child = fork(|| {
            let _ = call!(libc::SYS_set_robust_list, words[0], 24);
            0
        });
        assert_eq!(wait_exit(child), 0);
    }
}

/// pthread_join rests on the word that is cleared at a thread's end.
fn thread_end() {
    for _ in 0..200 {
        let thread = std::thread::spawn(sys::gettid);
        assert!(thread.join().expect("join") > 0);
    }
}

fn ping_pong() {
    let shared = Region::shared(1);
    let turn = |own: u32| {
        for round in 0..500 {
            loop {
                let now = shared.word(0).load(Ordering::SeqCst);
                if now == 2 * round + own {
                    break;
                }
                let _ = futex(shared.word(0), WAIT, now, [0; 3]);
            }
            shared.word(0).fetch_add(1, Ordering::SeqCst);
            futex(shared.word(0), WAKE, 1, [0; 3]).expect("wake");
        }
    };
    let child = fork(|| {
        turn(1);
        0
    });
    turn(0);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(shared.word(0).load(Ordering::SeqCst), 1000);
}
