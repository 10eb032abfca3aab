//! What programs may rely on: processes, threads, signals, memory, descriptors,
//! sockets, as Linux has them. The same program runs on Linux, which defines
//! right and wrong, and as process 1 here.
//!
//! `user_worlds [PART...]` runs the checks whose names contain a PART, each in a
//! process group of its own; prints `ok NAME` or `FAILED NAME: why`, and ends
//! with 0 if none failed.

mod bad_pointers;
mod descriptors;
mod files;
mod futexes;
mod leaks;
mod memory;
mod processes;
mod programs;
mod registers;
mod roles;
mod server;
mod shell;
mod signals;
mod sockets;
mod sys;
mod threads;
mod waiting;

use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;

/// One thing to be checked; it panics where it does not hold.
type Check = (&'static str, fn());

/// How long a check may take, in seconds.
const LIMIT_S: i64 = 300;

static WHY: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, role @ ..] = &arguments[..]
        && flag == "--role"
    {
        return roles::play(role);
    }
    panic::set_hook(Box::new(|info| {
        *WHY.lock().unwrap_or_else(|bad| bad.into_inner()) = info.to_string().replace('\n', " ");
    }));
    let wanted = &arguments[1..];
    let lists = [
        processes::CHECKS,
        programs::CHECKS,
        threads::CHECKS,
        signals::CHECKS,
        waiting::CHECKS,
        futexes::CHECKS,
        registers::CHECKS,
        memory::CHECKS,
        bad_pointers::CHECKS,
        files::CHECKS,
        descriptors::CHECKS,
        sockets::CHECKS,
        server::CHECKS,
        shell::CHECKS,
        leaks::CHECKS,
    ];
    let all = lists.concat();
    let chosen = all
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(&**part)));
    let (mut passed, mut failed) = (0, 0);
    for check in chosen {
        if run(check) {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("user_worlds: {passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}

/// Runs a check in a child; whether it held.
fn run((name, check): &Check) -> bool {
    let set = sys::signal_set(&[libc::SIGCHLD]);
    sys::block(&set);
    let child = sys::fork(|| {
        sys::unblock(&set);
        sys::setpgid(0, 0);
        match panic::catch_unwind(check) {
            Ok(()) => {
                println!("ok {name}");
                0
            }
            Err(_) => {
                let why = WHY.lock().map(|why| why.clone()).unwrap_or_default();
                println!("FAILED {name}: {why}");
                1
            }
        }
    });
    // Also from here: whoever comes second finds it done.
    sys::setpgid(child, child);
    let ended = sys::wait_timeout(child, LIMIT_S, &set);
    if ended.is_none() {
        println!("FAILED {name}: it took longer than {LIMIT_S} s");
    }
    // What it left behind.
    sys::kill(-child, libc::SIGKILL);
    let status = ended.unwrap_or_else(|| sys::wait(child));
    sys::reap_all();
    if libc::WIFSIGNALED(status) && ended.is_some() {
        println!("FAILED {name}: killed by signal {}", libc::WTERMSIG(status));
    }
    status == 0
}
