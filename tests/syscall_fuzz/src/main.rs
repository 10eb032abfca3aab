//! Random system calls with hostile arguments.
//!
//! `syscall_fuzz [CALLS [SEED]]`: children make the calls, a few hundred each,
//! and may die of them. What must hold is that the system stays, and that the
//! children's memory comes back. Ends with 0 if it did. For this system only: on
//! another it would change what it should not (it refuses to run elsewhere).

mod arguments;
mod numbers;

use arguments::Arguments;
use numbers::Numbers;
use std::process::ExitCode;

/// Calls of one child.
const PER_CHILD: u64 = 250;
/// Children that are there at once.
const AT_ONCE: u64 = 3;
/// Pages that may be missing at the end: tables that grew.
const SLACK: u64 = 64;

fn call(number: i64, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the calling process is one that may be harmed.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

fn main() -> ExitCode {
    let mut words = std::env::args()
        .skip(1)
        .map(|word| word.parse::<u64>().unwrap_or(1));
    let calls = words.next().unwrap_or(20_000);
    let seed = words.next().unwrap_or(1);
    if !is_alster() {
        eprintln!("syscall_fuzz: this is not Alster, and the calls would do harm here");
        return ExitCode::from(2);
    }
    println!("syscall_fuzz: {calls} calls, seed {seed}");
    let children = calls.div_ceil(PER_CHILD);
    // The first children fill caches and pools.
    let warm = (children / 4).max(1);
    run(seed ^ 0x5555, warm);
    let before = settled();
    run(seed, children);
    let after = settled();
    let lost = before.saturating_sub(after) / 4096;
    println!("syscall_fuzz: {children} children, {lost} pages not given back");
    if lost > SLACK {
        println!("FAILED syscall_fuzz: {lost} pages are lost, {SLACK} may be");
        return ExitCode::FAILURE;
    }
    println!("ok syscall_fuzz");
    ExitCode::SUCCESS
}

fn is_alster() -> bool {
    let mut names = [0u8; 390];
    call(libc::SYS_uname, [names.as_mut_ptr() as u64, 0, 0, 0, 0, 0]);
    names.windows(6).any(|part| part == b"Alster")
}

fn free() -> u64 {
    let mut words = [0u64; 16];
    call(
        libc::SYS_sysinfo,
        [words.as_mut_ptr() as u64, 0, 0, 0, 0, 0],
    );
    words[5]
}

/// Free memory once what ends has ended.
fn settled() -> u64 {
    let mut last = free();
    for _ in 0..100 {
        // What was left behind: processes, and files in the folder of the calls.
        call(libc::SYS_kill, [u64::MAX, 9, 0, 0, 0, 0]);
        while call(
            libc::SYS_wait4,
            [u64::MAX, 0, libc::WNOHANG as u64, 0, 0, 0],
        ) > 0
        {}
        let _ = std::fs::remove_dir_all(arguments::FOLDER);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = free();
        if now <= last {
            return now;
        }
        last = now;
    }
    last
}

/// Runs `children` children, some at once.
fn run(seed: u64, children: u64) {
    let mut started = 0;
    let mut ended = 0;
    let mut own = Vec::new();
    while ended < children {
        while started < children && started - ended < AT_ONCE {
            own.push(start(seed.wrapping_mul(0x1_0001).wrapping_add(started)));
            started += 1;
        }
        let mut status = 0i32;
        let pid = call(
            libc::SYS_wait4,
            [u64::MAX, &raw mut status as u64, 0, 0, 0, 0],
        ) as i32;
        if let Some(at) = own.iter().position(|&child| child == pid) {
            own.swap_remove(at);
            ended += 1;
            // Its group may hold children of its own, stopped or waiting.
            call(libc::SYS_kill, [-i64::from(pid) as u64, 9, 0, 0, 0, 0]);
            if ended % 50 == 0 {
                println!("syscall_fuzz: {ended} of {children} children");
            }
        }
    }
}

/// Starts a child that makes its calls, at most half a second long.
fn start(seed: u64) -> i32 {
    // SAFETY: there is one thread.
    let child = unsafe { libc::fork() };
    if child != 0 {
        assert!(child > 0, "fork failed");
        return child;
    }
    call(libc::SYS_setpgid, [0; 6]);
    call(libc::SYS_setsid, [0; 6]);
    call(libc::SYS_close, [0; 6]);
    call(libc::SYS_close, [1, 0, 0, 0, 0, 0]);
    call(libc::SYS_close, [2, 0, 0, 0, 0, 0]);
    let _ = std::fs::create_dir_all(arguments::FOLDER);
    let _ = std::env::set_current_dir(arguments::FOLDER);
    let mut numbers = Numbers::new(seed);
    let arguments = Arguments::new(&mut numbers);
    watchdog();
    for _ in 0..PER_CHILD {
        let (number, args) = arguments.choose(&mut numbers);
        call(number as i64, args);
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// A sibling that kills this process's group after a while: calls may wait for
/// what never comes, and the alarm may have been set off.
fn watchdog() {
    let target = std::process::id();
    // SAFETY: there is one thread.
    if unsafe { libc::fork() } == 0 {
        // In a session of its own, which outlives its parent's signals.
        call(libc::SYS_setsid, [0; 6]);
        let parent = || call(libc::SYS_getppid, [0; 6]) as u32;
        for _ in 0..20 {
            if parent() != target {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        if parent() == target {
            call(libc::SYS_kill, [-i64::from(target) as u64, 9, 0, 0, 0, 0]);
            call(libc::SYS_kill, [u64::from(target), 9, 0, 0, 0, 0]);
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
}
