//! What this program does as the child of a check.

use crate::{call, sys};
use std::process::ExitCode;

pub fn play(role: &[String]) -> ExitCode {
    let words: Vec<&str> = role.iter().map(|word| &**word).collect();
    match words[..] {
        ["exit", code] => ExitCode::from(code.parse::<u8>().unwrap_or(255)),
        ["echo", ref rest @ ..] => {
            println!("{}", rest.join(" "));
            ExitCode::SUCCESS
        }
        ["variable", name] => {
            println!("{}", std::env::var(name).unwrap_or_default());
            ExitCode::SUCCESS
        }
        // Descriptors that are open, beside the three.
        ["descriptors"] => {
            let open = (3..64).filter(|&fd| call!(libc::SYS_fcntl, fd, libc::F_GETFD).is_ok());
            println!("{:?}", open.collect::<Vec<i32>>());
            ExitCode::SUCCESS
        }
        // Numbers, ignored and blocked signals: what exec keeps.
        ["identity"] => {
            println!("{} {}", sys::getpid(), sys::gettid());
            ExitCode::SUCCESS
        }
        ["signals"] => {
            let mut blocked = 0u64;
            let _ = call!(libc::SYS_rt_sigprocmask, 0, 0, &raw mut blocked, 8);
            let mut actions = Vec::new();
            for signal in [libc::SIGUSR1, libc::SIGUSR2] {
                let mut action = [0u64; 4];
                let _ = call!(libc::SYS_rt_sigaction, signal, 0, action.as_mut_ptr(), 8);
                actions.push(action[0]);
            }
            println!("{blocked:x} {actions:?}");
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(254),
    }
}
