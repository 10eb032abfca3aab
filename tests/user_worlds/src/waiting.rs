//! Descriptors to wait with: eventfd, timerfd, epoll, poll, select.

use crate::sys::{self, fork, wait_exit};
use crate::{Check, call};

pub const CHECKS: &[Check] = &[
    ("wait_eventfd", eventfd),
    ("wait_timerfd", timerfd),
    ("wait_epoll", epoll),
    ("wait_epoll_edges_and_one_shots", epoll_edges),
    ("wait_epoll_many_threads", epoll_threads),
    ("wait_poll_and_select", poll_and_select),
];

fn eventfd() {
    let fd = call!(libc::SYS_eventfd2, 3, libc::EFD_NONBLOCK).expect("eventfd") as i32;
    let mut word = [0; 8];
    assert_eq!(sys::read(fd, &mut word), Ok(8));
    assert_eq!(u64::from_le_bytes(word), 3);
    assert_eq!(sys::read(fd, &mut word), Err(libc::EAGAIN));
    assert_eq!(sys::write(fd, &(u64::MAX - 1).to_le_bytes()), Ok(8));
    assert_eq!(sys::write(fd, &1u64.to_le_bytes()), Err(libc::EAGAIN));
    assert_eq!(sys::write(fd, &u64::MAX.to_le_bytes()), Err(libc::EINVAL));
    assert_eq!(sys::write(fd, &[0; 4]), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_eventfd2, 0, 0x10), Err(libc::EINVAL));
    let semaphore = call!(libc::SYS_eventfd2, 2, libc::EFD_SEMAPHORE).expect("eventfd") as i32;
    for _ in 0..2 {
        assert_eq!(sys::read(semaphore, &mut word), Ok(8));
        assert_eq!(u64::from_le_bytes(word), 1);
    }
    // Blocking, between processes.
    let child = fork(|| {
        let mut word = [0; 8];
        i32::from(sys::read(semaphore, &mut word) != Ok(8))
    });
    sys::sleep_ms(5);
    assert_eq!(sys::write(semaphore, &1u64.to_le_bytes()), Ok(8));
    assert_eq!(wait_exit(child), 0);
}

fn timerfd() {
    let fd = call!(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0).expect("timerfd") as i32;
    let start = sys::now_ms();
    let spec = [0u64, 10_000_000, 0, 20_000_000];
    call!(libc::SYS_timerfd_settime, fd, 0, spec.as_ptr(), 0).expect("settime");
    let mut total = 0;
    while total < 5 {
        let mut word = [0; 8];
        assert_eq!(sys::read(fd, &mut word), Ok(8));
        total += u64::from_le_bytes(word);
    }
    let passed = sys::now_ms() - start;
    assert!(passed >= 59, "{total} expirations in {passed} ms");
    let mut now = [0u64; 4];
    call!(libc::SYS_timerfd_gettime, fd, now.as_mut_ptr()).expect("gettime");
    assert_eq!(now[1], 10_000_000);
    let wrong = [0u64, 0, 0, 1_000_000_000];
    assert_eq!(
        call!(libc::SYS_timerfd_settime, fd, 0, wrong.as_ptr(), 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_timerfd_settime, 1, 0, spec.as_ptr(), 0),
        Err(libc::EINVAL)
    );
    assert_eq!(call!(libc::SYS_timerfd_create, 99, 0), Err(libc::EINVAL));
}

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const HUP: u32 = libc::EPOLLHUP as u32;

fn add(set: i32, fd: i32, events: u32) -> Result<u64, i32> {
    let event = libc::epoll_event {
        events,
        u64: fd as u64,
    };
    call!(
        libc::SYS_epoll_ctl,
        set,
        libc::EPOLL_CTL_ADD,
        fd,
        &raw const event
    )
}

fn ready(set: i32, timeout: i32) -> Vec<(i32, u32)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
    let count = call!(libc::SYS_epoll_wait, set, events.as_mut_ptr(), 16, timeout).expect("wait");
    let mut found: Vec<_> = events[..count as usize]
        .iter()
        .map(|event| ({ event.u64 } as i32, event.events))
        .collect();
    found.sort_unstable();
    found
}

fn epoll() {
    let set = call!(libc::SYS_epoll_create1, 0).expect("epoll") as i32;
    let [from, to] = sys::pipe();
    add(set, from, IN).expect("add");
    add(set, to, OUT).expect("add");
    assert_eq!(add(set, to, OUT), Err(libc::EEXIST));
    assert_eq!(add(set, set, IN), Err(libc::EINVAL));
    assert_eq!(add(set, 999, IN), Err(libc::EBADF));
    assert_eq!(add(from, to, IN), Err(libc::EINVAL));
    let file = call!(libc::SYS_open, c"/bin/busybox".as_ptr(), 0).expect("open") as i32;
    assert_eq!(add(set, file, IN), Err(libc::EPERM));
    assert_eq!(ready(set, 0), [(to, OUT)]);
    sys::write(to, b"x").expect("write");
    assert_eq!(ready(set, 0), [(from, IN), (to, OUT)]);
    sys::close(to);
    assert_eq!(ready(set, 0), [(from, IN | HUP)]);
    sys::read(from, &mut [0]).expect("read");
    assert_eq!(ready(set, 0), [(from, HUP)]);
    call!(libc::SYS_epoll_ctl, set, libc::EPOLL_CTL_DEL, from, 0).expect("del");
    assert_eq!(
        call!(libc::SYS_epoll_ctl, set, libc::EPOLL_CTL_DEL, from, 0),
        Err(libc::ENOENT)
    );
    let start = sys::now_ms();
    assert_eq!(ready(set, 30), []);
    assert!(sys::now_ms() - start >= 29);
    assert_eq!(call!(libc::SYS_epoll_wait, set, 0, 0, 0), Err(libc::EINVAL));
    // A set in a set.
    let outer = call!(libc::SYS_epoll_create1, 0).expect("epoll") as i32;
    add(outer, set, IN).expect("add");
    assert_eq!(add(set, outer, IN), Err(libc::ELOOP));
    let [from, to] = sys::pipe();
    add(set, from, IN).expect("add");
    assert_eq!(ready(outer, 0), []);
    sys::write(to, b"x").expect("write");
    assert_eq!(ready(outer, 0), [(set, IN)]);
}

fn epoll_edges() {
    let set = call!(libc::SYS_epoll_create1, 0).expect("epoll") as i32;
    let [from, to] = sys::pipe();
    add(set, from, IN | libc::EPOLLET as u32).expect("add");
    sys::write(to, b"x").expect("write");
    assert_eq!(ready(set, 0), [(from, IN)]);
    assert_eq!(ready(set, 0), []);
    sys::write(to, b"x").expect("write");
    assert_eq!(ready(set, 0), [(from, IN)]);
    let once = IN | libc::EPOLLONESHOT as u32;
    let event = libc::epoll_event {
        events: once,
        u64: 5,
    };
    let modify = || {
        call!(
            libc::SYS_epoll_ctl,
            set,
            libc::EPOLL_CTL_MOD,
            from,
            &raw const event
        )
    };
    modify().expect("mod");
    assert_eq!(ready(set, 0), [(5, IN)]);
    sys::write(to, b"x").expect("write");
    assert_eq!(ready(set, 0), []);
    modify().expect("mod");
    assert_eq!(ready(set, 0), [(5, IN)]);
}

fn epoll_threads() {
    let set = call!(libc::SYS_epoll_create1, 0).expect("epoll") as i32;
    let fd = call!(
        libc::SYS_eventfd2,
        0,
        libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE
    )
    .expect("eventfd") as i32;
    add(set, fd, IN).expect("add");
    let total: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !ready(set, 300).is_empty() {
                        count += u32::from(sys::read(fd, &mut [0; 8]).is_ok());
                    }
                    count
                })
            })
            .collect();
        for _ in 0..500 {
            sys::write(fd, &1u64.to_le_bytes()).expect("write");
        }
        threads
            .into_iter()
            .map(|thread| thread.join().expect("join"))
            .sum()
    });
    assert_eq!(total, 500);
}

fn poll_and_select() {
    let [from, to] = sys::pipe();
    let mut list = [
        libc::pollfd {
            fd: from,
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: to,
            events: libc::POLLOUT,
            revents: 0,
        },
        libc::pollfd {
            fd: 999,
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: -1,
            events: libc::POLLIN,
            revents: 7,
        },
    ];
    assert_eq!(call!(libc::SYS_poll, list.as_mut_ptr(), 4, 1000), Ok(2));
    assert_eq!(
        list.map(|entry| entry.revents),
        [0, libc::POLLOUT, libc::POLLNVAL, 0]
    );
    assert_eq!(
        call!(libc::SYS_poll, list.as_mut_ptr(), u64::MAX, 0),
        Err(libc::EINVAL)
    );
    let start = sys::now_ms();
    assert_eq!(call!(libc::SYS_poll, list.as_mut_ptr(), 1, 30), Ok(0));
    assert!(sys::now_ms() - start >= 29);
    let writer = fork(|| {
        sys::sleep_ms(10);
        let _ = sys::write(to, b"x");
        0
    });
    assert_eq!(call!(libc::SYS_poll, list.as_mut_ptr(), 1, -1i64), Ok(1));
    assert_eq!(wait_exit(writer), 0);
    let mut reads = [0u64; 16];
    let mut writes = [0u64; 16];
    reads[from as usize / 64] |= 1 << (from % 64);
    writes[to as usize / 64] |= 1 << (to % 64);
    let time = [1u64, 0];
    let found = call!(
        libc::SYS_select,
        to.max(from) + 1,
        reads.as_mut_ptr(),
        writes.as_mut_ptr(),
        0,
        time.as_ptr()
    );
    assert_eq!(found, Ok(2));
    sys::read(from, &mut [0]).expect("read");
    let found = call!(
        libc::SYS_pselect6,
        from + 1,
        reads.as_mut_ptr(),
        0,
        0,
        [0u64; 2].as_ptr(),
        0
    );
    assert_eq!((found, reads), (Ok(0), [0; 16]));
    reads[0] = 1 << 63;
    assert_eq!(
        call!(libc::SYS_select, 64, reads.as_mut_ptr(), 0, 0, 0),
        Err(libc::EBADF)
    );
    assert_eq!(
        call!(libc::SYS_select, -1i32, 0, 0, 0, 0),
        Err(libc::EINVAL)
    );
}
