//! EFAULT: every pointer argument of the main calls, pointing nowhere, to the
//! kernel, to memory that may not be written, and across the end of a page.

use crate::sys::{self, Edge, Region};
use crate::{Check, call};

pub const CHECKS: &[Check] = &[
    ("efault_of_inputs", inputs),
    ("efault_of_outputs", outputs),
    ("efault_across_a_page", across),
    ("efault_of_paths", paths),
    ("efault_partial_transfers", partial),
];

/// Addresses that nothing is at.
const NOWHERE: [u64; 6] = [
    8,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    1 << 63,
    0xffff_ffff_8000_0000,
    u64::MAX - 7,
];

fn all_fault(name: &str, bad: &[u64], call: impl Fn(u64) -> Result<u64, i32>) {
    for &address in bad {
        let result = call(address);
        assert_eq!(result, Err(libc::EFAULT), "{name} at {address:#x}");
    }
}

fn inputs() {
    let [from, to] = sys::pipe();
    let set = call!(libc::SYS_epoll_create1, 0).expect("epoll");
    let timer = call!(libc::SYS_timerfd_create, 1, 0).expect("timerfd");
    let socket = call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("socket");
    let bad = &NOWHERE;
    all_fault("write", bad, |at| call!(libc::SYS_write, to, at, 8));
    all_fault("writev", bad, |at| call!(libc::SYS_writev, to, at, 1));
    all_fault("nanosleep", bad, |at| call!(libc::SYS_nanosleep, at, 0));
    all_fault("clock_nanosleep", bad, |at| {
        call!(libc::SYS_clock_nanosleep, 1, 0, at, 0)
    });
    all_fault("rt_sigaction", bad, |at| {
        call!(libc::SYS_rt_sigaction, 10, at, 0, 8)
    });
    all_fault("rt_sigprocmask", bad, |at| {
        call!(libc::SYS_rt_sigprocmask, 0, at, 0, 8)
    });
    all_fault("rt_sigsuspend", bad, |at| {
        call!(libc::SYS_rt_sigsuspend, at, 8)
    });
    all_fault("rt_sigtimedwait", bad, |at| {
        call!(libc::SYS_rt_sigtimedwait, at, 0, 0, 8)
    });
    all_fault("sigaltstack", bad, |at| call!(libc::SYS_sigaltstack, at, 0));
    all_fault("setitimer", bad, |at| call!(libc::SYS_setitimer, 0, at, 0));
    all_fault("prlimit64", bad, |at| {
        call!(libc::SYS_prlimit64, 0, 7, at, 0)
    });
    all_fault("epoll_ctl", bad, |at| {
        call!(libc::SYS_epoll_ctl, set, 1, from, at)
    });
    all_fault("timerfd_settime", bad, |at| {
        call!(libc::SYS_timerfd_settime, timer, 0, at, 0)
    });
    all_fault("poll", bad, |at| call!(libc::SYS_poll, at, 1, 0));
    all_fault("ppoll", bad, |at| call!(libc::SYS_ppoll, 0, 0, at, 0, 8));
    all_fault("select", bad, |at| call!(libc::SYS_select, 8, at, 0, 0, 0));
    all_fault("bind", bad, |at| call!(libc::SYS_bind, socket, at, 10));
    all_fault("connect", bad, |at| {
        call!(libc::SYS_connect, socket, at, 10)
    });
    all_fault("setsockopt", bad, |at| {
        call!(libc::SYS_setsockopt, socket, 1, libc::SO_PASSCRED, at, 4)
    });
    all_fault("sendmsg", bad, |at| call!(libc::SYS_sendmsg, socket, at, 0));
    all_fault("futex", &[0x8000_0000_0000, 1 << 63], |at| {
        call!(libc::SYS_futex, at, 0, 0, 0)
    });
    all_fault("clone3", bad, |at| call!(libc::SYS_clone3, at, 64));
    all_fault("sched_setaffinity", bad, |at| {
        call!(libc::SYS_sched_setaffinity, 0, 8, at)
    });
    all_fault("memfd_create", bad, |at| {
        call!(libc::SYS_memfd_create, at, 0)
    });
}

fn outputs() {
    let [from, to] = sys::pipe();
    let timer = call!(libc::SYS_timerfd_create, 1, 0).expect("timerfd");
    let socket = call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("socket");
    let set = call!(libc::SYS_epoll_create1, 0).expect("epoll");
    let wanted = libc::epoll_event {
        events: libc::EPOLLOUT as u32,
        u64: 1,
    };
    call!(libc::SYS_epoll_ctl, set, 1, to, &raw const wanted).expect("add");
    let constant = Region::new(1, libc::PROT_READ, libc::MAP_PRIVATE);
    let mut bad = NOWHERE.to_vec();
    bad.push(constant.at);
    let bad = &bad;
    sys::write(to, &[1; 64]).expect("write");
    all_fault("read", bad, |at| call!(libc::SYS_read, from, at, 8));
    all_fault("pipe", bad, |at| call!(libc::SYS_pipe, at));
    all_fault("fstat", bad, |at| call!(libc::SYS_fstat, from, at));
    all_fault("stat", bad, |at| call!(libc::SYS_stat, c"/".as_ptr(), at));
    all_fault("statx", bad, |at| {
        call!(
            libc::SYS_statx,
            from,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            0x7ff,
            at
        )
    });
    all_fault("statfs", bad, |at| {
        call!(libc::SYS_statfs, c"/".as_ptr(), at)
    });
    all_fault("getcwd", bad, |at| call!(libc::SYS_getcwd, at, 100));
    all_fault("uname", bad, |at| call!(libc::SYS_uname, at));
    all_fault("sysinfo", bad, |at| call!(libc::SYS_sysinfo, at));
    all_fault("getrandom", bad, |at| call!(libc::SYS_getrandom, at, 8, 0));
    all_fault("clock_gettime", bad, |at| {
        call!(libc::SYS_clock_gettime, 1, at)
    });
    all_fault("getitimer", bad, |at| call!(libc::SYS_getitimer, 0, at));
    all_fault("gettimeofday", bad, |at| {
        call!(libc::SYS_gettimeofday, at, 0)
    });
    all_fault("times", bad, |at| call!(libc::SYS_times, at));
    all_fault("getrusage", bad, |at| call!(libc::SYS_getrusage, 0, at));
    all_fault("prlimit64", bad, |at| {
        call!(libc::SYS_prlimit64, 0, 7, 0, at)
    });
    all_fault("rt_sigaction", bad, |at| {
        call!(libc::SYS_rt_sigaction, 10, 0, at, 8)
    });
    all_fault("rt_sigprocmask", bad, |at| {
        call!(libc::SYS_rt_sigprocmask, 0, 0, at, 8)
    });
    all_fault("rt_sigpending", bad, |at| {
        call!(libc::SYS_rt_sigpending, at, 8)
    });
    all_fault("sigaltstack", bad, |at| call!(libc::SYS_sigaltstack, 0, at));
    all_fault("timerfd_gettime", bad, |at| {
        call!(libc::SYS_timerfd_gettime, timer, at)
    });
    all_fault("epoll_wait", bad, |at| {
        call!(libc::SYS_epoll_wait, set, at, 1, 0)
    });
    all_fault("getsockname", bad, |at| {
        call!(libc::SYS_getsockname, socket, at, &raw const TEN)
    });
    all_fault("getsockopt", bad, |at| {
        call!(
            libc::SYS_getsockopt,
            socket,
            1,
            libc::SO_TYPE,
            at,
            &raw const TEN
        )
    });
    all_fault("socketpair", bad, |at| {
        call!(libc::SYS_socketpair, libc::AF_UNIX, 1, 0, at)
    });
    all_fault("getresuid", bad, |at| {
        call!(libc::SYS_getresuid, at, at, at)
    });
    all_fault("sched_getaffinity", bad, |at| {
        call!(libc::SYS_sched_getaffinity, 0, 128, at)
    });
    all_fault("readlink", bad, |at| {
        call!(libc::SYS_readlink, c"/proc/self/exe".as_ptr(), at, 100)
    });
    let folder = call!(libc::SYS_open, c"/".as_ptr(), libc::O_DIRECTORY).expect("open");
    all_fault("getdents64", bad, |at| {
        call!(libc::SYS_getdents64, folder, at, 1000)
    });
    all_fault("ioctl", bad, |at| {
        call!(libc::SYS_ioctl, from, libc::FIONREAD, at)
    });
    all_fault("fcntl", bad, |at| {
        call!(libc::SYS_fcntl, folder, libc::F_GETLK, at)
    });
    all_fault("getcpu", bad, |at| call!(libc::SYS_getcpu, at, 0, 0));
    // Nothing was opened that the program does not know of.
    let next = call!(libc::SYS_dup, 0).expect("dup");
    assert_eq!(next, folder + 1);
}

static TEN: i32 = 10;

fn across() {
    let edge = Edge::new();
    let bad = [edge.before(4)];
    let [from, to] = sys::pipe();
    all_fault("pipe", &bad, |at| call!(libc::SYS_pipe, at));
    all_fault("clock_gettime", &bad, |at| {
        call!(libc::SYS_clock_gettime, 1, at)
    });
    all_fault("uname", &bad, |at| call!(libc::SYS_uname, at));
    all_fault("nanosleep", &bad, |at| call!(libc::SYS_nanosleep, at, 0));
    all_fault("writev", &bad, |at| call!(libc::SYS_writev, to, at, 1));
    // Up to the very end is fine.
    call!(libc::SYS_clock_gettime, 1, edge.before(16)).expect("clock_gettime");
    sys::write(to, &[7; 8]).expect("write");
    assert_eq!(call!(libc::SYS_read, from, edge.before(8), 8), Ok(8));
}

fn paths() {
    let edge = Edge::new();
    for at in 0..64 {
        // SAFETY: the last bytes of the page.
        unsafe { ((edge.before(64) + at) as *mut u8).write_volatile(b'x') };
    }
    let mut bad = NOWHERE.to_vec();
    bad.push(edge.before(5));
    let bad = &bad;
    all_fault("open", bad, |at| call!(libc::SYS_open, at, 0));
    all_fault("stat", bad, |at| {
        call!(libc::SYS_stat, at, edge.before(4096))
    });
    all_fault("mkdir", bad, |at| call!(libc::SYS_mkdir, at, 0o755));
    all_fault("unlink", bad, |at| call!(libc::SYS_unlink, at));
    all_fault("rename", bad, |at| {
        call!(libc::SYS_rename, at, c"/y".as_ptr())
    });
    all_fault("rename", bad, |at| {
        call!(libc::SYS_rename, c"/y".as_ptr(), at)
    });
    all_fault("symlink", bad, |at| {
        call!(libc::SYS_symlink, at, c"/y".as_ptr())
    });
    all_fault("chdir", bad, |at| call!(libc::SYS_chdir, at));
    all_fault("execve", bad, |at| call!(libc::SYS_execve, at, 0, 0));
    all_fault("truncate", bad, |at| call!(libc::SYS_truncate, at, 0));
    all_fault("access", bad, |at| call!(libc::SYS_access, at, 0));
}

/// What can be moved is moved before the rest is refused.
fn partial() {
    let edge = Edge::new();
    let fd = call!(libc::SYS_memfd_create, c"partial".as_ptr(), 0).expect("memfd") as i32;
    let written = call!(libc::SYS_write, fd, edge.before(100), 200);
    assert!(
        written == Ok(100) || written == Err(libc::EFAULT),
        "{written:?}"
    );
    call!(libc::SYS_ftruncate, fd, 300).expect("ftruncate");
    call!(libc::SYS_lseek, fd, 0, 0).expect("lseek");
    let got = call!(libc::SYS_read, fd, edge.before(100), 200);
    assert!(got == Ok(100) || got == Err(libc::EFAULT), "{got:?}");
    let wrong = [edge.before(10), 10, 8, 10];
    let list = call!(libc::SYS_writev, fd, wrong.as_ptr(), 2);
    assert!(list == Ok(10) || list == Err(libc::EFAULT), "{list:?}");
    assert_eq!(
        call!(libc::SYS_writev, fd, wrong.as_ptr(), 1025),
        Err(libc::EINVAL)
    );
    let long = [edge.before(10), u64::MAX, 8, 10];
    assert_eq!(
        call!(libc::SYS_writev, fd, long.as_ptr(), 2),
        Err(libc::EINVAL)
    );
}
