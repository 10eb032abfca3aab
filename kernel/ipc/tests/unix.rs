//! Unix sockets and named pipes.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::event::Events;
use abi::socket::*;
use ipc::unix::{Kind, UnixSocket};
use ipc::{EventFd, register_fifos};
use pages::Account;
use proptest::prelude::*;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use tmpfs::{Limits, TmpFs};
use vfs::{
    Caller, ControlMessages, Credentials, File, FsContext, FsView, Io, Message, MountFlags,
    Namespace, NodeContents, OpenFile, OpenFlags, ProcessIds, Received, SliceSink, SliceSource,
    Socket, UserMemory, VecSink,
};

struct Process {
    context: Arc<FsContext>,
    credentials: Credentials,
    account: Account,
}

impl Process {
    fn new(uid: u32) -> Self {
        wait_host::install();
        let fs = TmpFs::new(&Account::kernel(), &Limits::none(), 0o777).unwrap();
        let context = FsContext::new(Namespace::new(fs, MountFlags::empty()));
        let credentials = Credentials {
            uid,
            euid: uid,
            ..Credentials::root()
        };
        Self {
            context,
            credentials,
            account: Account::new(1000).unwrap(),
        }
    }
    fn owner(&self) -> Ucred {
        Ucred {
            pid: 42,
            uid: self.credentials.euid,
            gid: 0,
        }
    }
    fn socket(&self, kind: Kind) -> Arc<UnixSocket> {
        UnixSocket::new(kind, self.owner(), &self.account)
    }
    fn pair(&self, kind: Kind) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        UnixSocket::pair(kind, self.owner(), &self.account)
    }
}

impl UserMemory for Process {
    fn read_user(&self, _address: u64, _into: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn write_user(&self, _address: u64, _from: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
}

impl Caller for Process {
    fn file(&self, _fd: i32) -> Result<Arc<OpenFile>, Errno> {
        Err(Errno::EBADF)
    }
    fn install(&self, _file: Arc<OpenFile>, _cloexec: bool) -> Result<i32, Errno> {
        Err(Errno::EMFILE)
    }
    fn space(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(())
    }
    fn account(&self) -> &Account {
        &self.account
    }
    fn credentials(&self) -> &Credentials {
        &self.credentials
    }
    fn ids(&self) -> ProcessIds {
        ProcessIds {
            pid: 42,
            group: 42,
            session: 42,
        }
    }
    fn fs(&self) -> FsView<'_> {
        self.context.view(&self.credentials, Some(self))
    }
}

const NONBLOCK: Io = Io {
    offset: 0,
    nonblock: true,
    append: false,
};

fn write(file: &dyn File, bytes: &[u8]) -> Result<usize, Errno> {
    file.write(&mut NONBLOCK.clone(), &mut SliceSource::new(bytes))
}

fn read(file: &dyn File, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let count = file.read(&mut NONBLOCK.clone(), &mut SliceSink::new(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn receive(socket: &UnixSocket, len: usize, flags: u32) -> Result<(Vec<u8>, Received), Errno> {
    let mut sink = VecSink::new(len);
    let received = socket.receive(&mut sink, flags, true)?;
    Ok((sink.bytes, received))
}

fn send(
    socket: &UnixSocket,
    caller: &Process,
    to: Option<&[u8]>,
    bytes: &[u8],
    control: ControlMessages,
) -> Result<usize, Errno> {
    let data = &mut SliceSource::new(bytes);
    socket.send(
        caller,
        Message {
            to,
            data,
            control,
            flags: 0,
        },
        true,
    )
}

fn address(name: &[u8]) -> Vec<u8> {
    [&[1, 0], name].concat()
}

fn files(count: usize) -> ControlMessages {
    let open = || OpenFile::new(EventFd::new(0, false), OpenFlags::RDWR);
    ControlMessages {
        files: (0..count).map(|_| open()).collect(),
        credentials: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(bool, usize, bool),
    Receive(bool, usize),
    Peek(bool, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..10usize, 0..5_000usize, 0..300_000usize];
    let side = any::<bool>();
    prop_oneof![
        (side, len.clone(), prop::bool::weighted(0.3))
            .prop_map(|(side, len, files)| Step::Send(side, len, files)),
        (side, len.clone()).prop_map(|(side, len)| Step::Receive(side, len)),
        (side, len).prop_map(|(side, len)| Step::Peek(side, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_connection_is_two_queues_with_marks(steps in prop::collection::vec(step(), 1..60)) {
        let process = Process::new(0);
        let (one, two) = process.pair(Kind::Stream);
        // Bytes, each with whether files came along with it.
        let mut models = [VecDeque::<(u8, bool)>::new(), VecDeque::new()];
        let mut salt = 0u8;
        for step in steps {
            match step {
                Step::Send(side, len, with_files) => {
                    salt = salt.wrapping_add(1);
                    let bytes: Vec<u8> = (0..len).map(|at| at as u8 ^ salt).collect();
                    let socket = if side { &one } else { &two };
                    let room = 256 * 1024 - models[usize::from(side)].len();
                    let control = files(usize::from(with_files));
                    let result = send(socket, &process, None, &bytes, control);
                    let expected =
                        if room == 0 && len > 0 { Err(Errno::EAGAIN) } else { Ok(len.min(room)) };
                    prop_assert_eq!(result, expected);
                    let sent = &bytes[..result.unwrap_or(0)];
                    let marked = sent.iter().enumerate().map(|(at, byte)| (*byte, with_files && at == 0));
                    models[usize::from(side)].extend(marked);
                }
                Step::Receive(side, len) | Step::Peek(side, len) => {
                    let peek = matches!(step, Step::Peek(..));
                    let socket = if side { &two } else { &one };
                    let model = &mut models[usize::from(side)];
                    let to_mark = model.iter().skip(1).position(|(_, mark)| *mark).map_or(usize::MAX, |at| at + 1);
                    let count = len.min(model.len()).min(to_mark);
                    let result = receive(socket, len, if peek { MSG_PEEK } else { 0 });
                    if model.is_empty() && len > 0 {
                        prop_assert_eq!(result.err(), Some(Errno::EAGAIN));
                        continue;
                    }
                    let (bytes, received) = result.unwrap();
                    prop_assert!(bytes.iter().eq(model.iter().take(count).map(|(byte, _)| byte)));
                    let marked = count > 0 && model[0].1;
                    prop_assert_eq!(received.control.files.len(), usize::from(marked));
                    if !peek {
                        model.drain(..count);
                    }
                }
            }
            prop_assert_eq!(two.poll().contains(Events::IN), !models[1].is_empty());
            prop_assert_eq!(one.poll().contains(Events::IN), !models[0].is_empty());
        }
        drop((one, two));
        prop_assert_eq!(process.account.used(), 0);
    }
}

#[test]
fn a_server_is_found_by_path_and_by_abstract_name() {
    let process = Process::new(7);
    for name in [&b"/sock"[..], &b"\0abstract name"[..]] {
        let server = process.socket(Kind::Stream);
        let client = process.socket(Kind::Stream);
        let target = address(name);
        assert!(client.connect(&process, &target, true).is_err());
        assert_eq!(server.listen(&process, 5), Err(Errno::EINVAL));
        server.bind(&process, &target).unwrap();
        assert_eq!(
            client.connect(&process, &target, true),
            Err(Errno::ECONNREFUSED)
        );
        assert_eq!(
            process.socket(Kind::Stream).bind(&process, &target),
            Err(Errno::EADDRINUSE)
        );
        assert_eq!(server.bind(&process, &target), Err(Errno::EINVAL));
        server.listen(&process, 0).unwrap();
        assert_eq!(server.accept(true).err(), Some(Errno::EAGAIN));
        client.connect(&process, &target, true).unwrap();
        assert_eq!(client.connect(&process, &target, true), Err(Errno::EISCONN));
        let second = process.socket(Kind::Stream);
        assert_eq!(second.connect(&process, &target, true), Err(Errno::EAGAIN));
        let packets = process.socket(Kind::Seqpacket);
        assert_eq!(
            packets.connect(&process, &target, true),
            Err(Errno::EPROTOTYPE)
        );
        // Bytes may be sent before anybody accepts.
        write(&*client, b"early").unwrap();
        assert!(server.poll().contains(Events::IN));
        let accepted = server.accept(true).unwrap();
        assert_eq!(read(&*accepted, 10), Ok(b"early".to_vec()));
        let accepted = accepted.socket().unwrap();
        assert_eq!(accepted.name().unwrap()[..target.len()], target);
        assert_eq!(client.peer_name().unwrap()[..target.len()], target);
        assert_eq!(accepted.peer_name(), Ok(vec![1, 0]));
        let credentials = accepted.option(SOL_SOCKET, SO_PEERCRED).unwrap();
        assert_eq!(credentials[..8], [42, 0, 0, 0, 7, 0, 0, 0]);
        drop(server);
        let late = process.socket(Kind::Stream);
        assert_eq!(
            late.connect(&process, &target, true),
            Err(Errno::ECONNREFUSED)
        );
    }
    let missing = address(b"/none");
    let client = process.socket(Kind::Stream);
    assert_eq!(client.connect(&process, &missing, true), Err(Errno::ENOENT));
    assert_eq!(client.bind(&process, &[2, 0, 1]), Err(Errno::EINVAL));
    client.bind(&process, &[1, 0]).unwrap();
    assert_eq!(client.name().unwrap().len(), 8);
}

#[test]
fn connections_that_were_not_accepted_hang_up() {
    let process = Process::new(0);
    let server = process.socket(Kind::Stream);
    let target = address(b"\0waiting");
    server.bind(&process, &target).unwrap();
    server.listen(&process, 5).unwrap();
    let client = process.socket(Kind::Stream);
    client.connect(&process, &target, true).unwrap();
    write(&*client, b"x").unwrap();
    drop(server);
    assert!(client.poll().contains(Events::HUP));
    assert_eq!(read(&*client, 1), Err(Errno::ECONNRESET));
    assert_eq!(read(&*client, 1), Ok(vec![]));
    assert_eq!(write(&*client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn shutdown_ends_one_direction() {
    let process = Process::new(0);
    let (one, two) = process.pair(Kind::Stream);
    write(&*one, b"last").unwrap();
    one.shutdown(SHUT_WR).unwrap();
    assert_eq!(write(&*one, b"x"), Err(Errno::EPIPE));
    assert_eq!(two.poll() & (Events::RDHUP | Events::HUP), Events::RDHUP);
    assert_eq!(read(&*two, 10), Ok(b"last".to_vec()));
    assert_eq!(read(&*two, 10), Ok(vec![]));
    write(&*two, b"back").unwrap();
    assert_eq!(read(&*one, 10), Ok(b"back".to_vec()));
    two.shutdown(SHUT_WR).unwrap();
    assert!(one.poll().contains(Events::HUP | Events::RDHUP));
    let (one, two) = process.pair(Kind::Stream);
    two.shutdown(SHUT_RD).unwrap();
    assert_eq!(write(&*one, b"x"), Err(Errno::EPIPE));
    assert_eq!(read(&*two, 1), Ok(vec![]));
    assert_eq!(two.shutdown(9), Err(Errno::EINVAL));
    assert_eq!(
        process.socket(Kind::Stream).shutdown(SHUT_WR),
        Err(Errno::ENOTCONN)
    );
}

#[test]
fn messages_keep_their_boundaries() {
    let process = Process::new(0);
    for kind in [Kind::Seqpacket, Kind::Datagram] {
        let (one, two) = process.pair(kind);
        write(&*one, b"first").unwrap();
        write(&*one, b"").unwrap();
        write(&*one, b"third").unwrap();
        let (bytes, received) = receive(&two, 3, MSG_PEEK).unwrap();
        assert_eq!(
            (bytes, received.flags & MSG_TRUNC),
            (b"fir".to_vec(), MSG_TRUNC)
        );
        let (_, received) = receive(&two, 3, MSG_TRUNC).unwrap();
        assert_eq!(received.len, 5);
        assert_eq!(read(&*two, 10), Ok(vec![]));
        assert_eq!(read(&*two, 10), Ok(b"third".to_vec()));
        assert_eq!(read(&*two, 10), Err(Errno::EAGAIN));
        assert_eq!(write(&*one, &[0; 300_000]), Err(Errno::EMSGSIZE));
        while write(&*one, &[0; 1000]).is_ok() {}
        assert!(!one.poll().contains(Events::OUT));
        while read(&*two, 1000).is_ok() {}
        assert!(one.poll().contains(Events::OUT));
        drop(two);
        let error = if kind == Kind::Datagram {
            Errno::ECONNREFUSED
        } else {
            Errno::EPIPE
        };
        assert_eq!(write(&*one, b"x"), Err(error));
        drop(one);
        assert_eq!(process.account.used(), 0);
    }
}

#[test]
fn datagrams_go_to_names_and_say_where_from() {
    let process = Process::new(0);
    let server = process.socket(Kind::Datagram);
    server.bind(&process, &address(b"/log")).unwrap();
    let client = process.socket(Kind::Datagram);
    client.bind(&process, &address(b"\0client")).unwrap();
    assert_eq!(write(&*client, b"x"), Err(Errno::ENOTCONN));
    let to = address(b"/log");
    let sent = send(
        &client,
        &process,
        Some(&to),
        b"hello",
        ControlMessages::default(),
    );
    assert_eq!(sent, Ok(5));
    let (bytes, received) = receive(&server, 10, 0).unwrap();
    assert_eq!(
        (bytes, received.from),
        (b"hello".to_vec(), Some(address(b"\0client")))
    );
    client.connect(&process, &to, false).unwrap();
    write(&*client, b"again").unwrap();
    assert_eq!(read(&*server, 10), Ok(b"again".to_vec()));
    assert_eq!(server.listen(&process, 1), Err(Errno::EOPNOTSUPP));
    client.connect(&process, &[0, 0], false).unwrap();
    assert_eq!(client.peer_name(), Err(Errno::ENOTCONN));
}

#[test]
fn files_and_credentials_travel() {
    let process = Process::new(5);
    let (one, two) = process.pair(Kind::Stream);
    let control = files(2);
    let weak = Arc::downgrade(&control.files[0]);
    send(&one, &process, None, b"ab", control).unwrap();
    let (_, received) = receive(&two, 1, 0).unwrap();
    assert_eq!(received.control.files.len(), 2);
    drop(received);
    assert!(weak.upgrade().is_none());
    // What nobody received ends with the receiver.
    let control = files(1);
    let weak = Arc::downgrade(&control.files[0]);
    send(&one, &process, None, b"c", control).unwrap();
    drop(two);
    assert!(weak.upgrade().is_none());
    let (one, two) = process.pair(Kind::Datagram);
    two.set_option(SOL_SOCKET, SO_PASSCRED, &1u32.to_ne_bytes())
        .unwrap();
    write(&*one, b"x").unwrap();
    let (_, received) = receive(&two, 9, 0).unwrap();
    assert_eq!(received.control.credentials, Some(process.owner()));
    let false_claim = ControlMessages {
        credentials: Some(Ucred {
            pid: 1,
            uid: 0,
            gid: 0,
        }),
        ..ControlMessages::default()
    };
    assert_eq!(
        send(&one, &process, None, b"x", false_claim),
        Err(Errno::EPERM)
    );
}

#[test]
fn options_and_time_outs() {
    let process = Process::new(0);
    let (one, _two) = process.pair(Kind::Stream);
    let get = |option| one.option(SOL_SOCKET, option).map(|value| value[0]);
    assert_eq!(get(SO_TYPE), Ok(1));
    assert_eq!(get(SO_DOMAIN), Ok(1));
    assert_eq!(get(SO_ERROR), Ok(0));
    assert_eq!(get(SO_ACCEPTCONN), Ok(0));
    assert_eq!(get(999), Err(Errno::ENOPROTOOPT));
    assert_eq!(one.option(6, 1), Err(Errno::EOPNOTSUPP));
    assert_eq!(
        one.set_option(SOL_SOCKET, SO_REUSEADDR, &[1]),
        Err(Errno::EINVAL)
    );
    let mut timeout = [0; 16];
    timeout[8..10].copy_from_slice(&1000u16.to_ne_bytes());
    one.set_option(SOL_SOCKET, SO_RCVTIMEO, &timeout).unwrap();
    assert_eq!(one.option(SOL_SOCKET, SO_RCVTIMEO), Ok(timeout.to_vec()));
    let mut sink = VecSink::new(1);
    assert_eq!(one.receive(&mut sink, 0, false).err(), Some(Errno::EAGAIN));
}

#[test]
fn bytes_flow_both_ways_between_threads() {
    let process = Process::new(0);
    let (one, two) = process.pair(Kind::Stream);
    let echo = thread::spawn(move || {
        let mut bytes = [0; 3_000];
        loop {
            let count = two
                .read(&mut Io::default(), &mut SliceSink::new(&mut bytes))
                .unwrap();
            if count == 0 {
                break;
            }
            let mut source = SliceSource::new(&bytes[..count]);
            assert_eq!(two.write(&mut Io::default(), &mut source), Ok(count));
        }
    });
    let sender = one.clone();
    let total = 1_000_000;
    let writer = thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|at| (at * 7 + at / 300) as u8).collect();
        assert_eq!(
            sender.write(&mut Io::default(), &mut SliceSource::new(&bytes)),
            Ok(total)
        );
        sender.shutdown(SHUT_WR).unwrap();
    });
    let mut sink = VecSink::new(total);
    let received = one.receive(&mut sink, MSG_WAITALL, false).unwrap();
    assert_eq!(received.len, total);
    let same = sink
        .bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte == (at * 7 + at / 300) as u8);
    assert!(same);
    writer.join().unwrap();
    echo.join().unwrap();
}

#[test]
fn blocked_accept_and_connect_meet() {
    let process = Arc::new(Process::new(0));
    let server = process.socket(Kind::Stream);
    let target = address(b"\0meeting");
    server.bind(&*process, &target).unwrap();
    server.listen(&*process, 0).unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (process, target) = (process.clone(), target.clone());
            thread::spawn(move || {
                let client = process.socket(Kind::Stream);
                client.connect(&*process, &target, false).unwrap();
                client
                    .write(&mut Io::default(), &mut SliceSource::new(b"hi"))
                    .unwrap();
                let mut sink = VecSink::new(1);
                client.receive(&mut sink, 0, false).unwrap().len
            })
        })
        .collect();
    for _ in 0..4 {
        let accepted = server.accept(false).unwrap();
        let mut bytes = [0; 2];
        accepted
            .read(&mut Io::default(), &mut SliceSink::new(&mut bytes))
            .unwrap();
        assert_eq!(&bytes, b"hi");
        accepted
            .write(&mut Io::default(), &mut SliceSource::new(b"!"))
            .unwrap();
    }
    clients
        .into_iter()
        .for_each(|client| assert_eq!(client.join().unwrap(), 1));
}

#[test]
fn named_pipes_wait_for_the_other_side() {
    register_fifos();
    let process = Arc::new(Process::new(0));
    let view = process.fs();
    view.make(&view.cwd, b"/fifo", NodeContents::Fifo, 0o600)
        .unwrap();
    let open = |flags| view.open(&view.cwd, b"/fifo", flags, 0);
    let nonblock = OpenFlags::NONBLOCK;
    assert_eq!(open(OpenFlags::WRONLY | nonblock).err(), Some(Errno::ENXIO));
    let reader = open(nonblock).unwrap();
    assert_eq!(reader.read(&mut VecSink::new(1)), Ok(0));
    let writer = open(OpenFlags::WRONLY | nonblock).unwrap();
    writer.write(&mut SliceSource::new(b"abc")).unwrap();
    drop(writer);
    assert!(reader.poll().contains(Events::HUP));
    let mut sink = VecSink::new(9);
    assert_eq!(reader.read(&mut sink), Ok(3));
    drop(reader);
    let other = process.clone();
    let blocked = thread::spawn(move || {
        let view = other.fs();
        let reader = view
            .open(&view.cwd, b"/fifo", OpenFlags::empty(), 0)
            .unwrap();
        let mut sink = VecSink::new(9);
        reader.read(&mut sink).map(|_| sink.bytes)
    });
    let writer = open(OpenFlags::WRONLY).unwrap();
    writer.write(&mut SliceSource::new(b"met")).unwrap();
    assert_eq!(blocked.join().unwrap(), Ok(b"met".to_vec()));
}

fn as_files(sockets: &[&Arc<UnixSocket>]) -> ControlMessages {
    let open = |socket: &&Arc<UnixSocket>| OpenFile::new((*socket).clone(), OpenFlags::RDWR);
    ControlMessages {
        files: sockets.iter().map(open).collect(),
        credentials: None,
    }
}

#[test]
fn sockets_that_only_lie_in_each_other_s_queues_end() {
    let process = Process::new(0);
    // Kept: in the queue of a socket that somebody has.
    let (keeper, far) = process.pair(Kind::Stream);
    let (sent, other) = process.pair(Kind::Stream);
    send(&far, &process, None, b"k", as_files(&[&sent])).unwrap();
    // And kept through a chain of queues.
    let (inner, inner_far) = process.pair(Kind::Stream);
    send(&other, &process, None, b"i", as_files(&[&inner])).unwrap();
    drop((sent, inner));
    let mut weak = Vec::new();
    for round in 0..200 {
        let kind = if round % 2 == 0 {
            Kind::Stream
        } else {
            Kind::Datagram
        };
        let (one, two) = process.pair(kind);
        let (three, four) = process.pair(kind);
        // One lies in its own queue, three in one's, one in three's.
        send(&two, &process, None, b"x", as_files(&[&one])).unwrap();
        send(&two, &process, None, b"y", as_files(&[&three])).unwrap();
        send(&four, &process, None, b"z", as_files(&[&one])).unwrap();
        weak.extend([one, two, three, four].map(|socket| Arc::downgrade(&socket)));
    }
    let alive = weak.iter().filter(|weak| weak.strong_count() > 0).count();
    assert!(alive < 200, "{alive} of 800 sockets are left");
    let (_, received) = receive(&keeper, 9, 0).unwrap();
    let sent = received.control.files[0].file_as::<UnixSocket>().unwrap();
    let (_, received) = receive(&sent, 9, 0).unwrap();
    let inner = received.control.files[0].file_as::<UnixSocket>().unwrap();
    write(&*inner_far, b"still here").unwrap();
    assert_eq!(read(&*inner, 20), Ok(b"still here".to_vec()));
}
