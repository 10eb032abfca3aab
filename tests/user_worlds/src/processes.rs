//! Processes: fork, vfork, waiting, the commands of the standard library.

use crate::sys::{self, Region, fork, wait_exit};
use crate::{Check, call};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

pub const CHECKS: &[Check] = &[
    ("process_fork_copies_memory", fork_copies_memory),
    ("process_fork_of_fork", fork_of_fork),
    ("process_vfork_and_exec", vfork_and_exec),
    ("process_command_output", command_output),
    ("process_command_pipes_both_ways", command_pipes),
    ("process_command_missing", command_missing),
    ("process_wait_variants", wait_variants),
    ("process_wait_threads_get_one_child_each", wait_threads),
    ("process_waitid_keeps_and_takes", waitid_keeps),
    ("process_stop_and_continue", stop_and_continue),
    ("process_orphans_are_adopted", orphans),
    ("process_ignored_children_vanish", ignored_children),
    ("process_groups_and_sessions", groups_and_sessions),
    ("process_leader_exits_first", leader_exits_first),
    ("process_usage_and_limits", usage_and_limits),
];

fn fork_copies_memory() {
    let region = Region::private(64);
    for page in 0..64 {
        region.put(page * sys::PAGE, page as u8);
    }
    let child = fork(|| {
        for page in 0..64 {
            if region.get(page * sys::PAGE) != page as u8 {
                return 1;
            }
            region.put(page * sys::PAGE, 0xff);
        }
        (0..64).any(|page| region.get(page * sys::PAGE) != 0xff) as i32
    });
    region.put(5, 77);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(region.get(5), 77);
    assert!((0..64).all(|page| region.get(page * sys::PAGE) == page as u8));
}

fn fork_of_fork() {
    let shared = Region::shared(1);
    let child = fork(|| {
        let grandchild = fork(|| {
            shared.put(0, 42);
            3
        });
        wait_exit(grandchild) + 1
    });
    assert_eq!((wait_exit(child), shared.get(0)), (4, 42));
}

fn vfork_and_exec() {
    let path = c"/proc/self/exe";
    let arguments = [
        c"x".as_ptr(),
        c"--role".as_ptr(),
        c"exit".as_ptr(),
        c"9".as_ptr(),
        std::ptr::null(),
    ];
    for _ in 0..20 {
        let child: i64;
        // SAFETY: the child, which shares this stack, executes or leaves without
        // touching it.
        unsafe {
            std::arch::asm!(
                "syscall",
                "test eax, eax",
                "jnz 2f",
                "mov eax, 59",
                "syscall",
                "mov edi, 1",
                "mov eax, 60",
                "syscall",
                "2:",
                inlateout("rax") libc::SYS_vfork => child,
                in("rdi") path.as_ptr(),
                in("rsi") arguments.as_ptr(),
                in("rdx") 0,
                out("rcx") _, out("r11") _,
            );
        }
        assert_eq!(wait_exit(child as i32), 9);
    }
}

fn role(words: &[&str]) -> Command {
    let mut command = Command::new(sys::own_path());
    command.arg("--role").args(words);
    command
}

fn command_output() {
    let output = role(&["echo", "a b", "c"]).output().expect("spawn");
    assert_eq!(output.stdout, b"a b c\n");
    let output = role(&["variable", "GREETING"])
        .env("GREETING", "hello")
        .output()
        .expect("spawn");
    assert_eq!(output.stdout, b"hello\n");
    let status = role(&["exit", "17"]).status().expect("spawn");
    assert_eq!(status.code(), Some(17));
    // Only what is not closed on exec is there.
    let kept = (3..64).filter(|&fd| call!(libc::SYS_fcntl, fd, libc::F_GETFD) == Ok(0));
    let kept = format!("{:?}\n", kept.collect::<Vec<i32>>());
    let _closed = std::fs::File::open("/dev/null").expect("open");
    let output = role(&["descriptors"]).output().expect("spawn");
    assert_eq!(String::from_utf8_lossy(&output.stdout), kept);
}

fn command_pipes() {
    let mut child = Command::new("/bin/busybox")
        .args(["tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut input = child.stdin.take().expect("stdin");
    let text = "lorem ipsum ".repeat(20_000);
    let sent = text.clone();
    let writer = std::thread::spawn(move || input.write_all(sent.as_bytes()).expect("write"));
    let mut got = String::new();
    child
        .stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut got)
        .expect("read");
    writer.join().expect("writer");
    assert!(child.wait().expect("wait").success());
    assert_eq!(got, text.to_uppercase());
}

fn command_missing() {
    let error = Command::new("/does/not/exist")
        .spawn()
        .expect_err("spawned");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let error = role(&["exit", "0"])
        .current_dir("/nowhere")
        .spawn()
        .expect_err("spawned");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}

fn wait_variants() {
    let mut status = 0i32;
    assert_eq!(call!(libc::SYS_wait4, -1i64, 0, 0), Err(libc::ECHILD));
    assert_eq!(call!(libc::SYS_wait4, 1 << 22, 0, 0), Err(libc::ECHILD));
    assert_eq!(call!(libc::SYS_wait4, -1i64, 0, 0x100), Err(libc::EINVAL));
    let gate = sys::pipe();
    let child = fork(|| {
        sys::close(gate[1]);
        let _ = sys::read(gate[0], &mut [0]);
        5
    });
    assert_eq!(
        call!(libc::SYS_wait4, child, &raw mut status, libc::WNOHANG),
        Ok(0)
    );
    sys::close(gate[1]);
    let mut usage = [0u64; 18];
    let waited = call!(
        libc::SYS_wait4,
        child,
        &raw mut status,
        0,
        usage.as_mut_ptr()
    );
    assert_eq!((waited, status), (Ok(child as u64), 5 << 8));
    let killed = sys::crash(|| {
        sys::kill(sys::getpid(), libc::SIGTERM);
    });
    assert_eq!(
        (libc::WIFSIGNALED(killed), libc::WTERMSIG(killed)),
        (true, libc::SIGTERM)
    );
    // Waiting for a group.
    let child = fork(|| {
        sys::setpgid(0, 0);
        6
    });
    sys::setpgid(child, child);
    assert_eq!(sys::wait_with(-child, 0), (child, 6 << 8));
}

fn wait_threads() {
    let children: Vec<i32> = (0..8).map(|code| fork(|| code)).collect();
    let threads: Vec<_> = children
        .iter()
        .map(|_| std::thread::spawn(|| sys::wait_with(-1, 0)))
        .collect();
    let mut found: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("join").0)
        .collect();
    found.sort_unstable();
    let mut children = children;
    children.sort_unstable();
    assert_eq!(found, children);
}

fn waitid_keeps() {
    let child = fork(|| 3);
    let mut info = [0u32; 32];
    let all = libc::WEXITED | libc::WNOWAIT;
    for options in [all, all, libc::WEXITED] {
        call!(
            libc::SYS_waitid,
            libc::P_PID,
            child,
            info.as_mut_ptr(),
            options,
            0
        )
        .expect("waitid");
        // Signal, errno, code; pid, uid, status.
        assert_eq!(info[0] as i32, libc::SIGCHLD);
        assert_eq!(info[2] as i32, libc::CLD_EXITED);
        assert_eq!((info[4] as i32, info[6]), (child, 3));
    }
    assert_eq!(
        call!(
            libc::SYS_waitid,
            libc::P_PID,
            child,
            info.as_mut_ptr(),
            libc::WEXITED,
            0
        ),
        Err(libc::ECHILD)
    );
    assert_eq!(
        call!(libc::SYS_waitid, libc::P_ALL, 0, 0, 0, 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_waitid, 77, 0, 0, libc::WEXITED, 0),
        Err(libc::EINVAL)
    );
}

fn stop_and_continue() {
    let counter = Region::shared(1);
    let child = fork(|| {
        loop {
            counter
                .word(0)
                .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    for _ in 0..10 {
        sys::kill(child, libc::SIGSTOP);
        let (_, status) = sys::wait_with(child, libc::WUNTRACED);
        assert!(
            libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP,
            "{status:#x}"
        );
        let before = counter.word(0).load(std::sync::atomic::Ordering::SeqCst);
        sys::sleep_ms(5);
        assert_eq!(
            counter.word(0).load(std::sync::atomic::Ordering::SeqCst),
            before,
            "it ran"
        );
        sys::kill(child, libc::SIGCONT);
        let (_, status) = sys::wait_with(child, libc::WCONTINUED);
        assert!(libc::WIFCONTINUED(status), "{status:#x}");
        while counter.word(0).load(std::sync::atomic::Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }
    sys::kill(child, libc::SIGSTOP);
    sys::kill(child, libc::SIGKILL);
    let status = loop {
        let (_, status) = sys::wait_with(child, libc::WUNTRACED);
        if !libc::WIFSTOPPED(status) {
            break status;
        }
    };
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
}

fn orphans() {
    let shared = Region::shared(1);
    let ends = sys::pipe();
    let child = fork(|| {
        fork(|| {
            sys::close(ends[0]);
            // Goes on when its parent is gone.
            while call!(libc::SYS_getppid)
                == Ok(shared
                    .word(1)
                    .load(std::sync::atomic::Ordering::SeqCst)
                    .into())
            {
                std::thread::yield_now();
            }
            let _ = sys::write(ends[1], b"adopted");
            0
        });
        shared
            .word(1)
            .store(sys::getpid() as u32, std::sync::atomic::Ordering::SeqCst);
        0
    });
    sys::close(ends[1]);
    assert_eq!(wait_exit(child), 0);
    assert_eq!(sys::read_all(ends[0]), b"adopted");
}

fn ignored_children() {
    sys::action(libc::SIGCHLD, libc::SIG_IGN, 0, &[]);
    for code in 0..10 {
        fork(|| code);
    }
    assert_eq!(call!(libc::SYS_wait4, -1i64, 0, 0), Err(libc::ECHILD));
}

fn groups_and_sessions() {
    let own = call!(libc::SYS_getpgid, 0);
    assert_eq!(own, Ok(sys::getpid() as u64));
    assert_eq!(call!(libc::SYS_setsid), Err(libc::EPERM));
    let child = fork(|| {
        if call!(libc::SYS_getpgid, 0) != own {
            return 1;
        }
        let id = call!(libc::SYS_setsid);
        let is_leader = id == Ok(sys::getpid() as u64)
            && call!(libc::SYS_getsid, 0) == id
            && call!(libc::SYS_getpgid, 0) == id;
        // A session's leader stays in its group.
        let stays = call!(libc::SYS_setpgid, 0, 0) == Err(libc::EPERM);
        i32::from(!(is_leader && stays))
    });
    assert_eq!(wait_exit(child), 0);
    assert_eq!(call!(libc::SYS_setpgid, 1, 0), Err(libc::ESRCH));
    assert_eq!(call!(libc::SYS_setpgid, 0, -1i64), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_getpgid, 1 << 22), Err(libc::ESRCH));
}

fn leader_exits_first() {
    let child = fork(|| {
        std::thread::spawn(|| {
            sys::sleep_ms(20);
            // The last thread leaves alone too.
            let _ = call!(libc::SYS_exit, 6);
        });
        let _ = call!(libc::SYS_exit, 4);
        1
    });
    assert_eq!(wait_exit(child), 6);
}

fn usage_and_limits() {
    let mut limit = [0u64; 2];
    call!(
        libc::SYS_prlimit64,
        0,
        libc::RLIMIT_NOFILE,
        0,
        limit.as_mut_ptr()
    )
    .expect("prlimit");
    let small = [16u64, limit[1]];
    call!(
        libc::SYS_prlimit64,
        0,
        libc::RLIMIT_NOFILE,
        small.as_ptr(),
        0
    )
    .expect("prlimit");
    let mut last = Ok(0);
    for _ in 0..16 {
        last = call!(libc::SYS_dup, 0);
    }
    assert_eq!(last, Err(libc::EMFILE));
    assert_eq!(call!(libc::SYS_dup2, 0, 16), Err(libc::EBADF));
    let wrong = [9u64, 8];
    assert_eq!(
        call!(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            wrong.as_ptr(),
            0
        ),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_prlimit64, 0, 99, 0, limit.as_mut_ptr()),
        Err(libc::EINVAL)
    );
    let mut usage = [0u64; 18];
    assert_eq!(call!(libc::SYS_getrusage, 0, usage.as_mut_ptr()), Ok(0));
    assert_eq!(
        call!(libc::SYS_getrusage, 5, usage.as_mut_ptr()),
        Err(libc::EINVAL)
    );
}
