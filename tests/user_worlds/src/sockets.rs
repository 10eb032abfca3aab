//! Unix sockets: streams, messages, names, ancillary data.

use crate::sys::{self, fork, wait_exit};
use crate::{Check, call};
use std::io::{Read, Write};
use std::mem::{size_of, zeroed};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

pub const CHECKS: &[Check] = &[
    ("socket_stream_by_path", by_path),
    ("socket_datagrams", datagrams),
    ("socket_pairs_and_shutdown", pairs),
    ("socket_sequenced_packets", packets),
    ("socket_abstract_names", abstract_names),
    ("socket_passes_descriptors", passes_descriptors),
    ("socket_passes_credentials", passes_credentials),
    ("socket_many_messages_at_once", many_messages),
    ("socket_options_and_timeouts", options),
    ("socket_errors", errors),
    ("socket_bulk", bulk),
];

fn by_path() {
    let path = format!("{}/socket", sys::folder("stream"));
    let listener = UnixListener::bind(&path).expect("bind");
    let again = UnixListener::bind(&path).expect_err("bound twice");
    assert_eq!(again.raw_os_error(), Some(libc::EADDRINUSE));
    let child = fork(|| {
        for _ in 0..3 {
            let mut stream = UnixStream::connect(&path).expect("connect");
            stream.write_all(b"ping").expect("write");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shutdown");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read");
            if answer != "ping pong" {
                return 1;
            }
        }
        0
    });
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        assert_eq!(
            stream
                .local_addr()
                .expect("name")
                .as_pathname()
                .and_then(|name| name.to_str()),
            Some(&*path)
        );
        write!(stream, "{text} pong").expect("write");
    }
    assert_eq!(wait_exit(child), 0);
    drop(listener);
    let refused = UnixStream::connect(&path).expect_err("connected");
    assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    let missing = UnixStream::connect(format!("{path}.no")).expect_err("connected");
    assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
}

fn datagrams() {
    let folder = sys::folder("datagram");
    let (one, two) = (format!("{folder}/one"), format!("{folder}/two"));
    let first = UnixDatagram::bind(&one).expect("bind");
    let second = UnixDatagram::bind(&two).expect("bind");
    assert_eq!(first.send_to(b"message", &two).expect("send"), 7);
    assert_eq!(first.send_to(b"", &two).expect("send"), 0);
    let mut bytes = [0; 4];
    let (count, from) = second.recv_from(&mut bytes).expect("receive");
    assert_eq!((count, &bytes), (4, b"mess"));
    assert_eq!(
        from.as_pathname().and_then(|name| name.to_str()),
        Some(&*one)
    );
    assert_eq!(second.recv(&mut bytes).expect("receive"), 0);
    second.connect(&one).expect("connect");
    second.send(b"back").expect("send");
    assert_eq!(first.recv(&mut bytes).expect("receive"), 4);
    let wrong = UnixStream::connect(&one).expect_err("connected");
    assert_eq!(wrong.raw_os_error(), Some(libc::EPROTOTYPE));
}

fn pair(kind: i32) -> [i32; 2] {
    let mut ends = [0i32; 2];
    call!(
        libc::SYS_socketpair,
        libc::AF_UNIX,
        kind,
        0,
        ends.as_mut_ptr()
    )
    .expect("socketpair");
    ends
}

fn pairs() {
    sys::action(libc::SIGPIPE, libc::SIG_IGN, 0, &[]);
    let [one, two] = pair(libc::SOCK_STREAM);
    sys::write(one, b"abc").expect("write");
    call!(libc::SYS_shutdown, one, libc::SHUT_WR).expect("shutdown");
    assert_eq!(sys::write(one, b"x"), Err(libc::EPIPE));
    assert_eq!(sys::read(two, &mut [0; 8]), Ok(3));
    assert_eq!(sys::read(two, &mut [0; 8]), Ok(0));
    assert_eq!(sys::write(two, b"still"), Ok(5));
    sys::close(two);
    assert_eq!(sys::read(one, &mut [0; 8]), Ok(5));
    assert_eq!(sys::read(one, &mut [0; 8]), Ok(0));
    let [one, two] = pair(libc::SOCK_STREAM);
    sys::close(two);
    let flags = libc::MSG_NOSIGNAL;
    sys::action(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
    assert_eq!(
        call!(libc::SYS_sendto, one, b"x".as_ptr(), 1, flags, 0, 0),
        Err(libc::EPIPE)
    );
    let [one, _two] = pair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    assert_eq!(sys::read(one, &mut [0]), Err(libc::EAGAIN));
    assert_eq!(call!(libc::SYS_fcntl, one, libc::F_GETFD), Ok(1));
    let [one, two] = pair(libc::SOCK_STREAM);
    sys::write(one, b"peek").expect("write");
    let mut bytes = [0; 4];
    for flags in [libc::MSG_PEEK, 0] {
        assert_eq!(
            call!(libc::SYS_recvfrom, two, bytes.as_mut_ptr(), 4, flags, 0, 0),
            Ok(4)
        );
    }
    let empty = call!(
        libc::SYS_recvfrom,
        two,
        bytes.as_mut_ptr(),
        4,
        libc::MSG_DONTWAIT,
        0,
        0
    );
    assert_eq!(empty, Err(libc::EAGAIN));
}

fn packets() {
    let [one, two] = pair(libc::SOCK_SEQPACKET);
    for message in [&b"one"[..], b"three", b"x"] {
        assert_eq!(sys::write(one, message), Ok(message.len() as u64));
    }
    let mut bytes = [0; 4];
    assert_eq!(sys::read(two, &mut bytes), Ok(3));
    let flags = libc::MSG_TRUNC;
    assert_eq!(
        call!(libc::SYS_recvfrom, two, bytes.as_mut_ptr(), 4, flags, 0, 0),
        Ok(5)
    );
    assert_eq!(sys::read(two, &mut bytes), Ok(1));
}

/// `sockaddr_un` of an abstract name.
fn abstract_address(name: &[u8]) -> Vec<u8> {
    [&(libc::AF_UNIX as u16).to_ne_bytes()[..], &[0], name].concat()
}

fn abstract_names() {
    let name = format!("user_worlds.{}", sys::getpid());
    let address = abstract_address(name.as_bytes());
    let socket =
        || call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("socket") as i32;
    let server = socket();
    call!(libc::SYS_bind, server, address.as_ptr(), address.len()).expect("bind");
    call!(libc::SYS_listen, server, 5).expect("listen");
    let other = socket();
    let taken = call!(libc::SYS_bind, other, address.as_ptr(), address.len());
    assert_eq!(taken, Err(libc::EADDRINUSE));
    call!(libc::SYS_connect, other, address.as_ptr(), address.len()).expect("connect");
    let mut found = [0u8; 110];
    let mut len = 110i32;
    call!(
        libc::SYS_getpeername,
        other,
        found.as_mut_ptr(),
        &raw mut len
    )
    .expect("getpeername");
    assert_eq!(found[..len as usize], address);
    let accepted = call!(
        libc::SYS_accept4,
        server,
        found.as_mut_ptr(),
        &raw mut len,
        libc::SOCK_CLOEXEC
    )
    .expect("accept");
    assert_eq!(len, 2);
    sys::write(other, b"hi").expect("write");
    assert_eq!(sys::read(accepted as i32, &mut [0; 9]), Ok(2));
    // Free again once it is closed.
    sys::close(server);
    let next = socket();
    call!(libc::SYS_bind, next, address.as_ptr(), address.len()).expect("bind");
    // A name that the kernel chooses.
    let unnamed = socket();
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    call!(libc::SYS_bind, unnamed, family.as_ptr(), 2).expect("bind");
    let mut len = 110i32;
    call!(
        libc::SYS_getsockname,
        unnamed,
        found.as_mut_ptr(),
        &raw mut len
    )
    .expect("getsockname");
    assert_eq!(len, 8);
}

const SPACE: usize = 64;

/// Sends one byte with `control` beside it.
fn send(fd: i32, control: &[u64]) -> Result<u64, i32> {
    let mut byte = *b"!";
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: plain data.
    let mut head: libc::msghdr = unsafe { zeroed() };
    head.msg_iov = &raw mut piece;
    head.msg_iovlen = 1;
    head.msg_control = control.as_ptr() as *mut _;
    head.msg_controllen = size_of_val(control);
    call!(libc::SYS_sendmsg, fd, &raw const head, 0)
}

/// Receives one byte: its ancillary data, and the flags.
fn receive(fd: i32, room: usize, flags: i32) -> (Vec<u32>, i32) {
    let mut byte = [0u8];
    let mut control = [0u32; SPACE];
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: plain data.
    let mut head: libc::msghdr = unsafe { zeroed() };
    head.msg_iov = &raw mut piece;
    head.msg_iovlen = 1;
    head.msg_control = control.as_mut_ptr().cast();
    head.msg_controllen = room;
    assert_eq!(call!(libc::SYS_recvmsg, fd, &raw mut head, flags), Ok(1));
    assert_eq!(byte, *b"!");
    (control[..head.msg_controllen / 4].to_vec(), head.msg_flags)
}

fn rights(fds: &[i32]) -> Vec<u64> {
    let mut words = vec![16 + 4 * fds.len() as u64, 1 | 1 << 32];
    for two in fds.chunks(2) {
        let second = two.get(1).copied().unwrap_or(0);
        words.push(two[0] as u32 as u64 | (second as u64) << 32);
    }
    words
}

fn passes_descriptors() {
    let [one, two] = pair(libc::SOCK_STREAM);
    let [from, to] = sys::pipe();
    send(one, &rights(&[from, to])).expect("send");
    sys::close(from);
    sys::close(to);
    let (control, flags) = receive(two, 24, libc::MSG_CMSG_CLOEXEC);
    assert_eq!(
        (control.len(), control[0], control[2], control[3]),
        (6, 24, 1, 1)
    );
    assert_eq!(flags & libc::MSG_CTRUNC, 0);
    let (from, to) = (control[4] as i32, control[5] as i32);
    assert_eq!(call!(libc::SYS_fcntl, to, libc::F_GETFD), Ok(1));
    sys::write(to, b"through").expect("write");
    assert_eq!(sys::read(from, &mut [0; 9]), Ok(7));
    // Those that do not fit are closed.
    send(one, &rights(&[from, to])).expect("send");
    let (control, flags) = receive(two, 20, 0);
    assert_eq!(
        (control[0], flags & libc::MSG_CTRUNC),
        (20, libc::MSG_CTRUNC)
    );
    sys::close(control[4] as i32);
    sys::close(to);
    assert_eq!(
        sys::read(from, &mut [0; 9]),
        Ok(0),
        "somebody holds the writing end"
    );
    // A plain read loses them.
    send(one, &rights(&[from])).expect("send");
    assert_eq!(sys::read(two, &mut [0]), Ok(1));
    assert_eq!(send(one, &rights(&[999])), Err(libc::EBADF));
    assert_eq!(send(one, &rights(&[0; 254])), Err(libc::EINVAL));
    assert_eq!(send(one, &[8, 1 | 1 << 32, 0]), Err(libc::EINVAL));
}

fn passes_credentials() {
    let [one, two] = pair(libc::SOCK_DGRAM);
    let on = 1i32;
    call!(
        libc::SYS_setsockopt,
        two,
        libc::SOL_SOCKET,
        libc::SO_PASSCRED,
        &raw const on,
        4
    )
    .expect("setsockopt");
    let child = fork(|| i32::from(send(one, &[]).is_err()));
    let (control, _) = receive(two, 32, 0);
    assert_eq!(wait_exit(child), 0);
    // SAFETY: asks who this is.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    assert_eq!(control[..7], [28, 0, 1, 2, child as u32, uid, gid]);
    let mut peer = [0u32; 3];
    let mut len = 12i32;
    call!(
        libc::SYS_getsockopt,
        one,
        libc::SOL_SOCKET,
        libc::SO_PEERCRED,
        peer.as_mut_ptr(),
        &raw mut len
    )
    .expect("peercred");
    assert_eq!(peer, [sys::getpid() as u32, uid, gid]);
}

fn many_messages() {
    let [one, two] = pair(libc::SOCK_DGRAM);
    let mut bytes = [[0u8; 4]; 3];
    let mut pieces = bytes.each_mut().map(|bytes| libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: 4,
    });
    // SAFETY: plain data.
    let mut heads: [libc::mmsghdr; 3] = unsafe { zeroed() };
    for (head, piece) in heads.iter_mut().zip(&mut pieces) {
        head.msg_hdr.msg_iov = piece;
        head.msg_hdr.msg_iovlen = 1;
    }
    assert_eq!(size_of::<libc::mmsghdr>(), 64);
    assert_eq!(
        call!(libc::SYS_sendmmsg, one, heads.as_mut_ptr(), 3, 0),
        Ok(3)
    );
    assert_eq!(heads.map(|head| head.msg_len), [4; 3]);
    let flags = libc::MSG_WAITFORONE;
    assert_eq!(
        call!(libc::SYS_recvmmsg, two, heads.as_mut_ptr(), 3, flags, 0),
        Ok(3)
    );
}

fn options() {
    let (one, _two) = UnixStream::pair().expect("pair");
    one.set_read_timeout(Some(Duration::from_millis(30)))
        .expect("timeout");
    assert_eq!(
        one.read_timeout().expect("timeout"),
        Some(Duration::from_millis(30))
    );
    let start = sys::now_ms();
    let late = (&one).read(&mut [0]).expect_err("read");
    assert_eq!(late.raw_os_error(), Some(libc::EAGAIN));
    assert!(sys::now_ms() - start >= 29);
    assert!(one.take_error().expect("error").is_none());
    let fd = call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0).expect("socket");
    let get = |option: i32| {
        let (mut value, mut len) = (0i32, 4i32);
        call!(
            libc::SYS_getsockopt,
            fd,
            libc::SOL_SOCKET,
            option,
            &raw mut value,
            &raw mut len
        )
        .map(|_| value)
    };
    assert_eq!(get(libc::SO_TYPE), Ok(libc::SOCK_DGRAM));
    assert_eq!(get(libc::SO_DOMAIN), Ok(libc::AF_UNIX));
    assert_eq!(get(9999), Err(libc::ENOPROTOOPT));
}

fn errors() {
    let socket =
        |domain: i32, kind: i32, protocol: i32| call!(libc::SYS_socket, domain, kind, protocol);
    assert_eq!(socket(9999, 1, 0), Err(libc::EAFNOSUPPORT));
    assert!(socket(libc::AF_UNIX, 77, 0).is_err());
    assert_eq!(
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 99),
        Err(libc::EPROTONOSUPPORT)
    );
    let fd = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("socket") as i32;
    assert_eq!(call!(libc::SYS_listen, fd, 1), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_accept, fd, 0, 0), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_shutdown, fd, 0), Err(libc::ENOTCONN));
    let mut len = 10i32;
    let mut name = [0u8; 10];
    assert_eq!(
        call!(libc::SYS_getpeername, fd, name.as_mut_ptr(), &raw mut len),
        Err(libc::ENOTCONN)
    );
    len = -1;
    assert_eq!(
        call!(libc::SYS_getsockname, fd, name.as_mut_ptr(), &raw mut len),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_bind, fd, name.as_ptr(), 200),
        Err(libc::EINVAL)
    );
    let pipe = sys::pipe()[0];
    assert_eq!(call!(libc::SYS_listen, pipe, 1), Err(libc::ENOTSOCK));
    assert_eq!(
        call!(libc::SYS_sendto, pipe, name.as_ptr(), 1, 0, 0, 0),
        Err(libc::ENOTSOCK)
    );
    assert_eq!(
        call!(libc::SYS_connect, 999, name.as_ptr(), 10),
        Err(libc::EBADF)
    );
    assert_eq!(call!(libc::SYS_accept4, fd, 0, 0, 1), Err(libc::EINVAL));
}

fn bulk() {
    let (mut one, mut two) = UnixStream::pair().expect("pair");
    let data: Vec<u8> = (0..2_000_000u32)
        .map(|number| (number % 253) as u8)
        .collect();
    let sent = data.clone();
    let writer = std::thread::spawn(move || one.write_all(&sent).expect("write"));
    let mut got = Vec::new();
    two.read_to_end(&mut got).expect("read");
    writer.join().expect("writer");
    assert_eq!(got, data);
}
