//! Descriptors: dup, flags, pipes, passing on.

use crate::sys::{self, fork, wait_exit};
use crate::{Check, call};

pub const CHECKS: &[Check] = &[
    ("descriptor_dup_and_flags", dup_and_flags),
    ("descriptor_close_range", close_range),
    ("descriptor_pipe", pipe),
    ("descriptor_pipe_limits", pipe_limits),
    ("descriptor_pipe_many_writers", many_writers),
    ("descriptor_shared_position", shared_position),
];

fn dup_and_flags() {
    let [from, _to] = sys::pipe();
    assert_eq!(call!(libc::SYS_dup2, from, 50), Ok(50));
    assert_eq!(call!(libc::SYS_dup2, 50, 50), Ok(50));
    assert_eq!(call!(libc::SYS_dup2, 51, 51), Err(libc::EBADF));
    assert_eq!(call!(libc::SYS_dup3, from, from, 0), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_dup3, from, 52, 1), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_dup3, from, 52, libc::O_CLOEXEC), Ok(52));
    assert_eq!(call!(libc::SYS_fcntl, 52, libc::F_GETFD), Ok(1));
    assert_eq!(call!(libc::SYS_fcntl, from, libc::F_DUPFD, 60), Ok(60));
    assert_eq!(
        call!(libc::SYS_fcntl, from, libc::F_DUPFD_CLOEXEC, 60),
        Ok(61)
    );
    assert_eq!(
        call!(libc::SYS_fcntl, from, libc::F_DUPFD, -1i64),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_fcntl, from, libc::F_SETFL, libc::O_NONBLOCK),
        Ok(0)
    );
    // Status flags belong to the open file.
    assert_eq!(
        call!(libc::SYS_fcntl, 50, libc::F_GETFL),
        Ok(libc::O_NONBLOCK as u64)
    );
    assert_eq!(sys::read(50, &mut [0]), Err(libc::EAGAIN));
    assert_eq!(call!(libc::SYS_fcntl, from, 9999), Err(libc::EINVAL));
    for fd in [-1i64, 999, 1 << 31, 1 << 32 | 999] {
        assert_eq!(call!(libc::SYS_close, fd), Err(libc::EBADF), "{fd}");
        assert_eq!(call!(libc::SYS_dup, fd), Err(libc::EBADF));
        assert_eq!(call!(libc::SYS_read, fd, 8, 0), Err(libc::EBADF));
    }
    sys::close(50);
    assert_eq!(call!(libc::SYS_dup, from).map(|fd| fd < 50), Ok(true));
}

fn close_range() {
    for fd in 20..30 {
        call!(libc::SYS_dup2, 0, fd).expect("dup2");
    }
    assert_eq!(call!(libc::SYS_close_range, 20, 24, 0), Ok(0));
    assert_eq!(
        call!(libc::SYS_close_range, 25, 27, libc::CLOSE_RANGE_CLOEXEC),
        Ok(0)
    );
    let flags: Vec<_> = (20..30)
        .map(|fd| call!(libc::SYS_fcntl, fd, libc::F_GETFD))
        .collect();
    assert_eq!(flags[..5], [Err(libc::EBADF); 5]);
    assert_eq!(flags[5..], [Ok(1), Ok(1), Ok(1), Ok(0), Ok(0)]);
    assert_eq!(call!(libc::SYS_close_range, 5, 4, 0), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_close_range, 20, u32::MAX, 0), Ok(0));
}

fn pipe() {
    let [from, to] = sys::pipe();
    assert_eq!(sys::write(to, b"hello"), Ok(5));
    let mut bytes = [0; 3];
    assert_eq!((sys::read(from, &mut bytes), &bytes), (Ok(3), b"hel"));
    assert_eq!(sys::read(from, &mut [0; 10]), Ok(2));
    assert_eq!(sys::read(to, &mut [0]), Err(libc::EBADF));
    assert_eq!(sys::write(from, b"x"), Err(libc::EBADF));
    sys::close(to);
    assert_eq!(sys::read(from, &mut [0]), Ok(0));
    let [from, to] = sys::pipe();
    sys::close(from);
    sys::action(libc::SIGPIPE, libc::SIG_IGN, 0, &[]);
    assert_eq!(sys::write(to, b"x"), Err(libc::EPIPE));
    let status = sys::crash(|| {
        sys::action(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
        let _ = sys::write(to, b"x");
    });
    assert_eq!(libc::WTERMSIG(status), libc::SIGPIPE);
}

fn pipe_limits() {
    let [from, to] = sys::pipe();
    let size = call!(libc::SYS_fcntl, to, libc::F_GETPIPE_SZ).expect("size");
    assert_eq!(size, 65_536);
    call!(libc::SYS_fcntl, to, libc::F_SETFL, libc::O_NONBLOCK).expect("setfl");
    let mut total = 0;
    while let Ok(count) = sys::write(to, &[1; 1000]) {
        total += count;
    }
    assert!(total > 60_000 && total <= 65_536, "{total}");
    assert_eq!(sys::write(to, &[1; 1000]), Err(libc::EAGAIN));
    // More than PIPE_BUF may go in part.
    let more = sys::write(to, &[1; 5000]);
    assert!(
        more.is_ok_and(|count| count < 1000) || more == Err(libc::EAGAIN),
        "{more:?}"
    );
    total += more.unwrap_or(0);
    let mut waiting = 0i32;
    call!(libc::SYS_ioctl, from, libc::FIONREAD, &raw mut waiting).expect("ioctl");
    assert_eq!(waiting as u64, total);
    assert_eq!(
        call!(libc::SYS_fcntl, to, libc::F_SETPIPE_SZ, 1 << 17),
        Ok(1 << 17)
    );
    assert_eq!(sys::write(to, &[1; 5000]), Ok(5000));
}

/// Writes of up to PIPE_BUF bytes stay together.
fn many_writers() {
    let [from, to] = sys::pipe();
    let children: Vec<_> = (0..4u8)
        .map(|number| {
            fork(|| {
                (0..200).for_each(|_| {
                    let _ = sys::write(to, &[number; 700]);
                });
                0
            })
        })
        .collect();
    sys::close(to);
    let all = sys::read_all(from);
    children
        .into_iter()
        .for_each(|child| assert_eq!(wait_exit(child), 0));
    assert_eq!(all.len(), 4 * 200 * 700);
    assert!(
        all.chunks(700)
            .all(|piece| piece.iter().all(|byte| *byte == piece[0]))
    );
}

fn shared_position() {
    let fd = call!(libc::SYS_memfd_create, c"position".as_ptr(), 0).expect("memfd") as i32;
    sys::write(fd, b"abcdef").expect("write");
    call!(libc::SYS_lseek, fd, 0, 0).expect("lseek");
    let child = fork(|| {
        let mut bytes = [0; 2];
        let _ = sys::read(fd, &mut bytes);
        i32::from(&bytes != b"ab")
    });
    assert_eq!(wait_exit(child), 0);
    let mut bytes = [0; 2];
    assert_eq!((sys::read(fd, &mut bytes), &bytes), (Ok(2), b"cd"));
    // Opened anew it starts anew.
    let path = format!("/proc/self/fd/{fd}\0");
    if let Ok(again) = call!(libc::SYS_open, path.as_ptr(), 0) {
        assert_eq!(
            (sys::read(again as i32, &mut bytes), &bytes),
            (Ok(2), b"ab")
        );
    }
}
