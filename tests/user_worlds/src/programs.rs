//! exec: what is refused and how, scripts, and what a new program keeps.

use crate::sys::{self, fork, wait_exit};
use crate::{Check, call};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

pub const CHECKS: &[Check] = &[
    ("exec_errors", errors),
    ("exec_malformed_files", malformed),
    ("exec_scripts", scripts),
    ("exec_too_many_arguments", too_many),
    ("exec_large_arguments", large_arguments),
    ("exec_keeps_ignored_and_blocked_signals", keeps_signals),
    ("exec_from_a_thread", from_thread),
    ("exec_from_two_threads", from_two_threads),
    ("exec_own_file", own_file),
];

/// The errno of executing `path`; 0 where it runs.
fn execute(path: &str) -> i32 {
    let name = CString::new(path).expect("no zero");
    let arguments = [name.as_ptr() as u64, 0];
    let child = fork(
        || match call!(libc::SYS_execve, name.as_ptr(), arguments.as_ptr(), 0) {
            Ok(_) => 0,
            Err(error) => error,
        },
    );
    let status = sys::wait(child);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        0
    }
}

fn file(folder: &str, name: &str, bytes: &[u8], mode: u32) -> String {
    let path = format!("{folder}/{name}");
    fs::write(&path, bytes).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

fn errors() {
    let folder = sys::folder("exec");
    assert_eq!(execute("/does/not/exist"), libc::ENOENT);
    assert_eq!(execute(""), libc::ENOENT);
    assert_eq!(execute(&folder), libc::EACCES);
    assert_eq!(
        execute(&file(&folder, "plain", b"\x7fELF", 0o644)),
        libc::EACCES
    );
    assert_eq!(
        execute(&file(&folder, "text", b"hello\n", 0o755)),
        libc::ENOEXEC
    );
    assert_eq!(execute(&file(&folder, "empty", b"", 0o755)), libc::ENOEXEC);
    assert_eq!(
        execute(&file(&folder, "lost", b"#!/does/not/exist\n", 0o755)),
        libc::ENOENT
    );
    assert_eq!(execute(&format!("{folder}/text/below")), libc::ENOTDIR);
    let circle = format!("{folder}/circle");
    symlink(&circle, &circle).expect("symlink");
    assert_eq!(execute(&circle), libc::ELOOP);
    let own = format!("{folder}/own");
    let itself = format!("#!{own}\n");
    assert_eq!(
        execute(&file(&folder, "own", itself.as_bytes(), 0o755)),
        libc::ELOOP
    );
    assert_eq!(execute(&"x".repeat(5000)), libc::ENAMETOOLONG);
    assert_eq!(call!(libc::SYS_execve, 8, 0, 0), Err(libc::EFAULT));
    let path = CString::new(sys::own_path()).expect("path");
    assert_eq!(
        call!(libc::SYS_execve, path.as_ptr(), 8, 0),
        Err(libc::EFAULT)
    );
    let bad = [8u64, 0];
    assert_eq!(
        call!(libc::SYS_execve, path.as_ptr(), bad.as_ptr(), 0),
        Err(libc::EFAULT)
    );
}

/// Numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Files that begin like this program, with bytes of the headers changed: each
/// is refused or runs, and what runs may only harm itself.
fn malformed() {
    let folder = sys::folder("malformed");
    let own = fs::read(sys::own_path()).expect("read");
    let table = &own[..4096];
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut refused = 0;
    for round in 0..400 {
        let mut bytes = table.to_vec();
        for _ in 0..=round % 4 {
            let at = numbers.next() as usize % 0x200;
            let word: [u64; 4] = [0, u64::MAX, 1 << 47, numbers.next()];
            let word = word[numbers.next() as usize % 4].to_le_bytes();
            let width = 1 << (numbers.next() % 4);
            let at = at & !(width - 1);
            bytes[at..at + width].copy_from_slice(&word[..width]);
        }
        let path = file(&folder, "bad", &bytes, 0o755);
        let error = execute_quietly(&path);
        refused += i32::from(error != 0);
        fs::remove_file(path).expect("remove");
    }
    assert!(refused > 100, "only {refused} were refused");
    // A header that is cut short is no program.
    for len in [1, 4, 16, 63] {
        let path = file(&folder, "cut", &own[..len], 0o755);
        assert_eq!(execute(&path), libc::ENOEXEC, "cut at {len}");
    }
    let mut other = own[..4096].to_vec();
    other[18] = 40; // e_machine: ARM
    assert_eq!(execute(&file(&folder, "arm", &other, 0o755)), libc::ENOEXEC);
    let mut class = own[..4096].to_vec();
    class[4] = 1; // 32-bit
    assert_eq!(
        execute(&file(&folder, "small", &class, 0o755)),
        libc::ENOEXEC
    );
}

/// As [`execute`], with a limit in time for what runs and goes round.
fn execute_quietly(path: &str) -> i32 {
    let name = CString::new(path).expect("no zero");
    let arguments = [name.as_ptr() as u64, 0];
    let child = fork(|| {
        let _ = call!(libc::SYS_alarm, 2);
        match call!(libc::SYS_execve, name.as_ptr(), arguments.as_ptr(), 0) {
            Ok(_) => 0,
            Err(error) => error,
        }
    });
    let status = sys::wait(child);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        1
    }
}

fn scripts() {
    let folder = sys::folder("scripts");
    let path = file(
        &folder,
        "hello",
        b"#!/bin/busybox sh\necho \"$0 $1 $#\"\n",
        0o755,
    );
    let output = Command::new(&path)
        .args(["one", "two"])
        .output()
        .expect("spawn");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{path} one 2\n")
    );
    // A script that another script interprets.
    let outer = file(
        &folder,
        "outer",
        format!("#! {path} extra\n").as_bytes(),
        0o755,
    );
    let output = Command::new(&outer).output().expect("spawn");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{path} extra 2\n")
    );
}

fn too_many() {
    let path = CString::new(sys::own_path()).expect("path");
    let long = CString::new("y".repeat(100_000)).expect("no zero");
    let mut arguments = vec![long.as_ptr() as u64; 4000];
    arguments.push(0);
    assert_eq!(
        call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), 0),
        Err(libc::E2BIG)
    );
    let huge = CString::new("y".repeat(200_000)).expect("no zero");
    let arguments = [huge.as_ptr() as u64, 0];
    assert_eq!(
        call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), 0),
        Err(libc::E2BIG)
    );
}

fn large_arguments() {
    let word = "z".repeat(50_000);
    let output = Command::new(sys::own_path())
        .args(["--role", "echo"])
        .args([&word; 20])
        .output()
        .expect("spawn");
    assert_eq!(output.stdout.len(), 20 * 50_001);
}

fn keeps_signals() {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    sys::action(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
    sys::handle(libc::SIGUSR2, nothing, 0);
    sys::block(&sys::signal_set(&[libc::SIGTERM]));
    let path = CString::new(sys::own_path()).expect("path");
    let words = [c"x", c"--role", c"signals"];
    let arguments: Vec<u64> = words
        .iter()
        .map(|word| word.as_ptr() as u64)
        .chain([0])
        .collect();
    let ends = sys::pipe();
    let child = fork(|| {
        let _ = call!(libc::SYS_dup2, ends[1], 1);
        let _ = call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), 0);
        1
    });
    sys::close(ends[1]);
    let said = sys::read_all(ends[0]);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(String::from_utf8_lossy(&said), "4000 [1, 0]\n");
}

fn become_role(role: &std::ffi::CStr, argument: Option<&std::ffi::CStr>) {
    let path = CString::new(sys::own_path()).expect("path");
    let words = [c"x", c"--role", role];
    let words = words.into_iter().chain(argument);
    let arguments: Vec<u64> = words.map(|word| word.as_ptr() as u64).chain([0]).collect();
    let _ = call!(libc::SYS_execve, path.as_ptr(), arguments.as_ptr(), 0);
}

fn from_thread() {
    let ends = sys::pipe();
    let child = fork(|| {
        let _ = call!(libc::SYS_dup2, ends[1], 1);
        for _ in 0..3 {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        let _ = std::thread::spawn(|| become_role(c"identity", None)).join();
        1
    });
    sys::close(ends[1]);
    let said = sys::read_all(ends[0]);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(String::from_utf8_lossy(&said), format!("{child} {child}\n"));
}

fn from_two_threads() {
    for _ in 0..10 {
        let child = fork(|| {
            let threads: Vec<_> = (0..4)
                .map(|_| std::thread::spawn(|| become_role(c"exit", Some(c"11"))))
                .collect();
            threads.into_iter().for_each(|thread| drop(thread.join()));
            1
        });
        assert_eq!(wait_exit(child), 11);
    }
}

fn own_file() {
    let path = sys::own_path();
    assert!(
        path.starts_with('/') && fs::metadata(&path).is_ok(),
        "{path}"
    );
    assert_eq!(
        std::env::current_exe()
            .expect("current_exe")
            .to_string_lossy(),
        path
    );
}
