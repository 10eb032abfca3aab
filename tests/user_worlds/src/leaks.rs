//! Ends give back what lives took.

use crate::sys::{self, Region, fork, wait};
use crate::{Check, call};

pub const CHECKS: &[Check] = &[
    ("leak_of_ten_thousand_lives", lives),
    ("leak_of_killed_processes", killed),
    ("leak_of_threads_and_files", threads_and_files),
];

/// Free memory in bytes; `None` on Linux, where others take and give as well.
fn free() -> Option<u64> {
    let mut names = [0u8; 390];
    call!(libc::SYS_uname, names.as_mut_ptr()).expect("uname");
    let is_ours = names.windows(6).any(|part| part == b"Alster");
    let mut words = [0u64; 16];
    call!(libc::SYS_sysinfo, words.as_mut_ptr()).expect("sysinfo");
    is_ours.then_some(words[5])
}

/// Runs `work` to warm up, then again, and compares what is free before and
/// after. `slack` pages may be missing: caches that grow with their first use.
fn stays_free(name: &str, slack: u64, mut work: impl FnMut(u32), warm: u32, rounds: u32) {
    work(warm);
    let before = settled();
    work(rounds);
    let after = settled();
    if let (Some(before), Some(after)) = (before, after) {
        let lost = before.saturating_sub(after) / sys::PAGE as u64;
        assert!(
            lost <= slack,
            "{name}: {lost} pages are lost after {rounds} rounds"
        );
    }
}

/// What is free once the last ends are through: it does not grow any more.
fn settled() -> Option<u64> {
    let mut last = free()?;
    for _ in 0..200 {
        sys::sleep_ms(5);
        let now = free()?;
        if now <= last {
            return Some(now);
        }
        last = now;
    }
    Some(last)
}

fn lives() {
    let work = |rounds| {
        for _ in 0..rounds {
            assert_eq!(wait(fork(|| 0)), 0);
        }
    };
    stays_free("fork", 16, work, 500, 10_000);
}

fn killed() {
    let work = |rounds| {
        for _ in 0..rounds {
            let ends = sys::pipe();
            let child = fork(|| {
                let region = Region::private(50);
                (0..50).for_each(|page| region.put(page * sys::PAGE, 1));
                let _thread = std::thread::spawn(|| {
                    loop {
                        let _ = call!(libc::SYS_pause);
                    }
                });
                let _ = call!(libc::SYS_memfd_create, c"leak".as_ptr(), 0);
                let _ = sys::write(ends[1], b"x");
                loop {
                    let _ = call!(libc::SYS_pause);
                }
            });
            assert_eq!(sys::read(ends[0], &mut [0]), Ok(1));
            sys::kill(child, libc::SIGKILL);
            assert_eq!(libc::WTERMSIG(wait(child)), libc::SIGKILL);
            sys::close(ends[0]);
            sys::close(ends[1]);
        }
    };
    stays_free("kill", 16, work, 50, 500);
}

fn threads_and_files() {
    let work = |rounds| {
        for _ in 0..rounds {
            let thread = std::thread::spawn(|| {
                let fd = call!(libc::SYS_memfd_create, c"leak".as_ptr(), 0).expect("memfd") as i32;
                sys::write(fd, &[1; 20_000]).expect("write");
                let set = call!(libc::SYS_epoll_create1, 0).expect("epoll") as i32;
                let timer = call!(libc::SYS_timerfd_create, 1, 0).expect("timerfd") as i32;
                let event = libc::epoll_event { events: 1, u64: 0 };
                call!(libc::SYS_epoll_ctl, set, 1, timer, &raw const event).expect("add");
                let spec = [0u64, 1000, 0, 1000];
                call!(libc::SYS_timerfd_settime, timer, 0, spec.as_ptr(), 0).expect("settime");
                [fd, timer, set].into_iter().for_each(sys::close);
            });
            thread.join().expect("join");
        }
    };
    stays_free("threads", 16, work, 50, 500);
}
