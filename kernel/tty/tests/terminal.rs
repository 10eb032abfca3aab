//! Terminals with a driver that records and processes that are made up.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::event::Events;
use abi::fs::{FIONREAD, OpenFlags};
use abi::tty::*;
use pages::Account;
use proptest::prelude::*;
use std::any::Any;
use std::sync::{Arc, Mutex};
use std::thread;
use tty::{JobControl, SIGHUP, SIGINT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, Tty, TtyDriver};
use vfs::{
    Caller, Credentials, File, FsView, Io, OpenFile, ProcessIds, SliceSink, SliceSource, UserMemory,
};
use zerocopy::{FromBytes, IntoBytes};

/// Takes everything, or nothing while it is busy.
#[derive(Default)]
struct Screen {
    bytes: Mutex<Vec<u8>>,
    busy: Mutex<bool>,
}

impl TtyDriver for Screen {
    fn write(&self, bytes: &[u8]) -> usize {
        if *self.busy.lock().unwrap() {
            return 0;
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        bytes.len()
    }
}

#[derive(Default)]
struct Jobs {
    current: Mutex<Option<ProcessIds>>,
    signals: Mutex<Vec<(u32, u32)>>,
    ignores: Mutex<bool>,
    orphaned: Mutex<bool>,
}

impl JobControl for Jobs {
    fn current(&self) -> Option<ProcessIds> {
        *self.current.lock().unwrap()
    }
    fn signal_group(&self, group: u32, signal: u32) {
        self.signals.lock().unwrap().push((group, signal));
    }
    fn session_of_group(&self, group: u32) -> Option<u32> {
        [(10, 10), (11, 10), (20, 20)]
            .iter()
            .find(|(g, _)| *g == group)
            .map(|(_, s)| *s)
    }
    fn takes_signal(&self, _signal: u32) -> bool {
        !*self.ignores.lock().unwrap()
    }
    fn is_orphaned(&self, _group: u32) -> bool {
        *self.orphaned.lock().unwrap()
    }
}

/// A process with a few bytes of memory.
struct Process {
    ids: ProcessIds,
    memory: Mutex<Vec<u8>>,
    account: Account,
    credentials: Credentials,
    terminal: Mutex<Option<Arc<OpenFile>>>,
}

impl Process {
    fn new(pid: u32, group: u32, session: u32) -> Self {
        Self {
            ids: ProcessIds {
                pid,
                group,
                session,
            },
            memory: Mutex::new(vec![0; 64]),
            account: Account::kernel(),
            credentials: Credentials {
                euid: 5,
                ..Credentials::root()
            },
            terminal: Mutex::new(None),
        }
    }
    fn get<T: FromBytes>(&self) -> T {
        T::read_from_prefix(&self.memory.lock().unwrap()).unwrap().0
    }
    fn set<T: IntoBytes + zerocopy::Immutable>(&self, value: &T) {
        value
            .write_to_prefix(&mut self.memory.lock().unwrap())
            .unwrap();
    }
}

impl UserMemory for Process {
    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        if address != 0 {
            return Err(Errno::EFAULT);
        }
        into.copy_from_slice(&self.memory.lock().unwrap()[..into.len()]);
        Ok(())
    }
    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        if address != 0 {
            return Err(Errno::EFAULT);
        }
        self.memory.lock().unwrap()[..from.len()].copy_from_slice(from);
        Ok(())
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
        self.ids
    }
    fn fs(&self) -> FsView<'_> {
        unreachable!("terminals do not look at the tree")
    }
    fn controlling_terminal(&self) -> Option<Arc<OpenFile>> {
        self.terminal.lock().unwrap().clone()
    }
    fn set_controlling_terminal(&self, terminal: Option<Arc<dyn File>>) -> Result<(), Errno> {
        let open = terminal.map(|file| OpenFile::new(file, OpenFlags::RDWR));
        *self.terminal.lock().unwrap() = open;
        Ok(())
    }
}

struct Desk {
    screen: Arc<Screen>,
    jobs: Arc<Jobs>,
    tty: Arc<Tty>,
}

impl Desk {
    fn new() -> Self {
        wait_host::install();
        let (screen, jobs) = (Arc::new(Screen::default()), Arc::new(Jobs::default()));
        let tty = Tty::new(screen.clone(), jobs.clone(), abi::fs::makedev(4, 64));
        Self { screen, jobs, tty }
    }
    fn shown(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.screen.bytes.lock().unwrap())).unwrap()
    }
    fn read(&self, len: usize) -> Result<Vec<u8>, Errno> {
        read(&self.tty, len, true)
    }
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut io = Io {
            nonblock: true,
            ..Io::default()
        };
        self.tty.write(&mut io, &mut SliceSource::new(bytes))
    }
    fn change(&self, change: impl FnOnce(&mut Termios)) {
        let process = Process::new(1, 1, 1);
        self.tty.ioctl(&process, TCGETS, 0).unwrap();
        let mut termios = process.get();
        change(&mut termios);
        process.set(&termios);
        self.tty.ioctl(&process, TCSETS, 0).unwrap();
    }
    fn signals(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut *self.jobs.signals.lock().unwrap())
    }
}

fn read(tty: &Tty, len: usize, nonblock: bool) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut io = Io {
        nonblock,
        ..Io::default()
    };
    let count = tty.read(&mut io, &mut SliceSink::new(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

#[test]
fn lines_are_read_one_by_one_and_end_of_file_is_empty() {
    let desk = Desk::new();
    desk.tty.receive(b"one\rtwo");
    assert_eq!(desk.shown(), "one\r\ntwo");
    assert_eq!(desk.read(2), Ok(b"on".to_vec()));
    assert_eq!(desk.read(10), Ok(b"e\n".to_vec()));
    assert_eq!(desk.read(10), Err(Errno::EAGAIN));
    assert!(!desk.tty.poll().contains(Events::IN));
    desk.tty.receive(b"\x04\x04tail\n");
    assert!(desk.tty.poll().contains(Events::IN));
    assert_eq!(desk.read(3), Ok(b"two".to_vec()));
    assert_eq!(desk.read(10), Ok(vec![]));
    assert_eq!(desk.read(10), Ok(b"tail\n".to_vec()));
    // A line that fills the kernel's pieces exactly does not run into the next.
    desk.tty.receive(&[b'x'; 128]);
    desk.tty.receive(b"\x04next\n");
    assert_eq!(desk.read(300).unwrap().len(), 128);
    assert_eq!(desk.read(300), Ok(b"next\n".to_vec()));
    desk.tty.receive(&[b'y'; 300]);
    desk.tty.receive(b"\n");
    assert_eq!(desk.read(1000).unwrap().len(), 301);
}

#[test]
fn editing_keys_edit_and_rub_out() {
    let desk = Desk::new();
    desk.tty.receive(b"ab\x7f");
    assert_eq!(desk.shown(), "ab\x08 \x08");
    desk.tty.receive(b"\x16\x03\x7f");
    assert_eq!(desk.shown(), "^\x08^C\x08 \x08\x08 \x08");
    desk.tty.receive(b" foo bar\x17");
    desk.tty.receive(b"\n");
    assert_eq!(desk.read(50), Ok(b"a foo \n".to_vec()));
    desk.tty.receive(b"gone\x15kept\x12\n");
    assert!(desk.shown().ends_with("kept^R\r\nkept\r\n"));
    assert_eq!(desk.read(50), Ok(b"kept\n".to_vec()));
    desk.change(|termios| termios.iflag |= IUTF8);
    desk.tty.receive("aä\x7fb\n".as_bytes());
    assert_eq!(desk.read(50), Ok(b"ab\n".to_vec()));
}

#[test]
fn control_keys_signal_the_foreground_group() {
    let desk = Desk::new();
    desk.tty.control_session(10, 11);
    desk.tty.receive(b"lost\x03kept\x1a");
    assert_eq!(desk.signals(), [(11, SIGINT), (11, SIGTSTP)]);
    assert!(desk.shown().contains("^C"));
    desk.tty.receive(b"\n");
    assert_eq!(desk.read(50), Ok(b"\n".to_vec()));
    desk.change(|termios| termios.lflag &= !ISIG);
    desk.tty.receive(b"\x03\n");
    assert_eq!(desk.read(50), Ok(b"\x03\n".to_vec()));
    assert_eq!(desk.signals(), []);
}

#[test]
fn output_is_processed_stopped_and_started() {
    let desk = Desk::new();
    assert_eq!(desk.write(b"a\nb"), Ok(3));
    assert_eq!(desk.shown(), "a\r\nb");
    desk.tty.receive(b"\x13");
    assert_eq!(desk.write(b"held"), Ok(4));
    assert_eq!(desk.shown(), "");
    desk.tty.receive(b"\x11");
    assert_eq!(desk.shown(), "held");
    desk.change(|termios| termios.oflag = OPOST | TAB3);
    desk.write(b"\r\tx").unwrap();
    assert_eq!(desk.shown(), "\r        x");
    desk.change(|termios| termios.oflag = 0);
    desk.write(b"\n").unwrap();
    assert_eq!(desk.shown(), "\n");
}

#[test]
fn a_busy_driver_blocks_writers_until_it_is_ready() {
    let desk = Desk::new();
    *desk.screen.busy.lock().unwrap() = true;
    let mut total = 0;
    while let Ok(count) = desk.write(&[b'x'; 1000]) {
        total += count;
    }
    assert!((4096..8192).contains(&total));
    assert!(!desk.tty.poll().contains(Events::OUT));
    let writer = {
        let tty = desk.tty.clone();
        thread::spawn(move || tty.write(&mut Io::default(), &mut SliceSource::new(b"end")))
    };
    wait_host::eventually(|| desk.tty.poll_head().unwrap().is_watched());
    *desk.screen.busy.lock().unwrap() = false;
    desk.tty.output_ready();
    assert_eq!(writer.join().unwrap(), Ok(3));
    assert_eq!(desk.shown().len(), total + 3);
}

#[test]
fn raw_reads_follow_min_and_time() {
    let desk = Desk::new();
    let raw = |min, time| {
        desk.change(|termios| {
            termios.lflag &= !(ICANON | ECHO);
            termios.cc[VMIN as usize] = min;
            termios.cc[VTIME as usize] = time;
        });
    };
    desk.tty.receive(b"typed");
    raw(0, 0);
    // What was typed of the line is not lost.
    assert_eq!(read(&desk.tty, 10, false), Ok(b"typed".to_vec()));
    assert_eq!(read(&desk.tty, 10, false), Ok(vec![]));
    raw(0, 1);
    assert_eq!(read(&desk.tty, 10, false), Ok(vec![]));
    raw(3, 0);
    let reader = |len| {
        let tty = desk.tty.clone();
        thread::spawn(move || read(&tty, len, false))
    };
    let waiting = reader(10);
    desk.tty.receive(b"ab");
    assert!(!desk.tty.poll().contains(Events::IN));
    desk.tty.receive(b"c");
    assert_eq!(waiting.join().unwrap(), Ok(b"abc".to_vec()));
    let short = reader(2);
    desk.tty.receive(b"de");
    assert_eq!(short.join().unwrap(), Ok(b"de".to_vec()));
    raw(5, 1);
    let slow = reader(10);
    wait_host::eventually(|| desk.tty.poll_head().unwrap().is_watched());
    desk.tty.receive(b"fg");
    assert_eq!(slow.join().unwrap(), Ok(b"fg".to_vec()));
    assert_eq!(desk.read(5), Err(Errno::EAGAIN));
}

#[test]
fn the_background_is_stopped() {
    let desk = Desk::new();
    desk.tty.control_session(10, 10);
    *desk.jobs.current.lock().unwrap() = Some(ProcessIds {
        pid: 11,
        group: 11,
        session: 10,
    });
    assert_eq!(desk.read(1), Err(Errno::ERESTART));
    assert_eq!(desk.signals(), [(11, SIGTTIN)]);
    assert_eq!(desk.write(b"x"), Ok(1));
    let process = Process::new(11, 11, 10);
    process.set(&11i32);
    assert_eq!(desk.tty.ioctl(&process, TIOCSPGRP, 0), Err(Errno::ERESTART));
    assert_eq!(desk.signals(), [(11, SIGTTOU)]);
    *desk.jobs.ignores.lock().unwrap() = true;
    assert_eq!(desk.read(1), Err(Errno::EIO));
    // A shell ignores SIGTTOU and takes the terminal back like this.
    assert_eq!(desk.tty.ioctl(&process, TIOCSPGRP, 0), Ok(0));
    assert_eq!(desk.tty.session(), (10, 11));
    process.set(&20i32);
    assert_eq!(desk.tty.ioctl(&process, TIOCSPGRP, 0), Err(Errno::EPERM));
    process.set(&99i32);
    assert_eq!(desk.tty.ioctl(&process, TIOCSPGRP, 0), Err(Errno::ESRCH));
    desk.tty.ioctl(&process, TIOCGPGRP, 0).unwrap();
    assert_eq!(process.get::<i32>(), 11);
    let stranger = Process::new(20, 20, 20);
    assert_eq!(desk.tty.ioctl(&stranger, TIOCGPGRP, 0), Err(Errno::ENOTTY));
}

#[test]
fn sessions_take_and_leave_the_terminal() {
    let desk = Desk::new();
    let member = Process::new(11, 11, 10);
    assert_eq!(desk.tty.ioctl(&member, TIOCSCTTY, 0), Err(Errno::EPERM));
    let leader = Process::new(10, 10, 10);
    assert_eq!(desk.tty.ioctl(&leader, TIOCSCTTY, 0), Ok(0));
    assert!(leader.controlling_terminal().is_some());
    let other = Process::new(20, 20, 20);
    assert_eq!(desk.tty.ioctl(&other, TIOCSCTTY, 0), Err(Errno::EPERM));
    let window = Winsize {
        row: 50,
        col: 100,
        xpixel: 0,
        ypixel: 0,
    };
    leader.set(&window);
    desk.tty.ioctl(&leader, TIOCSWINSZ, 0).unwrap();
    desk.tty.ioctl(&leader, TIOCSWINSZ, 0).unwrap();
    assert_eq!(desk.signals(), [(10, SIGWINCH)]);
    assert_eq!(desk.tty.ioctl(&leader, TIOCGWINSZ, 8), Err(Errno::EFAULT));
    assert_eq!(desk.tty.ioctl(&leader, TIOCNOTTY, 0), Ok(0));
    assert_eq!(desk.signals()[0], (10, SIGHUP));
    assert_eq!(desk.tty.session(), (0, 0));
    assert!(leader.controlling_terminal().is_none());
    assert_eq!(desk.tty.ioctl(&leader, 0x9999, 0), Err(Errno::ENOTTY));
}

#[test]
fn a_hang_up_ends_everything() {
    let desk = Desk::new();
    desk.tty.control_session(10, 10);
    let reader = {
        let tty = desk.tty.clone();
        thread::spawn(move || read(&tty, 5, false))
    };
    wait_host::eventually(|| desk.tty.poll_head().unwrap().is_watched());
    desk.tty.hang_up();
    assert_eq!(reader.join().unwrap(), Ok(vec![]));
    assert_eq!(desk.write(b"x"), Err(Errno::EIO));
    assert!(desk.tty.poll().contains(Events::HUP));
    assert_eq!(desk.signals()[0], (10, SIGHUP));
}

#[test]
fn queues_can_be_counted_and_dropped() {
    let desk = Desk::new();
    let process = Process::new(1, 1, 1);
    desk.tty.receive(b"line\npart");
    desk.tty.ioctl(&process, FIONREAD, 0).unwrap();
    assert_eq!(process.get::<i32>(), 5);
    assert_eq!(desk.tty.ioctl(&process, TCFLSH, 7), Err(Errno::EINVAL));
    desk.tty
        .ioctl(&process, TCFLSH, u64::from(TCIFLUSH))
        .unwrap();
    assert_eq!(desk.read(10), Err(Errno::EAGAIN));
    desk.tty.receive(b"\n");
    assert_eq!(desk.read(10), Ok(b"\n".to_vec()));
    // A line that never ends is cut, not kept without bound.
    for _ in 0..100 {
        desk.tty.receive(&[b'x'; 100]);
    }
    desk.tty.receive(b"\n");
    assert_eq!(desk.read(20_000).unwrap().len(), 4096);
}

/// What a screen shows in its last line.
fn last_line(shown: &[u8]) -> String {
    let (mut line, mut column) = (Vec::new(), 0);
    for byte in shown {
        match byte {
            b'\r' => column = 0,
            b'\n' => line.clear(),
            8 => column = usize::saturating_sub(column, 1),
            b'\t' => {
                column += 8 - column % 8;
                line.resize(line.len().max(column), b' ');
            }
            byte => {
                line.resize(line.len().max(column + 1), b' ');
                line[column] = *byte;
                column += 1;
            }
        }
    }
    // What is right of the cursor must be blank.
    assert!(
        line[column.min(line.len())..]
            .iter()
            .all(|byte| *byte == b' ')
    );
    line.truncate(column);
    String::from_utf8(line).unwrap()
}

fn as_shown(line: &[u8]) -> String {
    let mut shown = String::new();
    for byte in line {
        match byte {
            b'\t' => shown += &" ".repeat(8 - shown.len() % 8),
            0..=31 => shown += &format!("^{}", (byte + 64) as char),
            byte => shown.push(*byte as char),
        }
    }
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn screen_and_lines_agree_with_a_simple_editor(
        keys in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", " ", "_", "\t", "\x01", "\x7f", "\x7f", "\x15", "\x17", "\r", "\x04",
                "\x16\x01", "\x16\x04", "\x16\x15",
            ]),
            0..80,
        )
    ) {
        let desk = Desk::new();
        let (mut line, mut done) = (Vec::new(), Vec::<Vec<u8>>::new());
        for key in keys {
            desk.tty.receive(key.as_bytes());
            match key.as_bytes()[0] {
                0x16 => line.push(key.as_bytes()[1]),
                0x7f => drop(line.pop()),
                0x15 => line.clear(),
                0x17 => {
                    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                    while line.last().is_some_and(|byte| !word(byte)) {
                        line.pop();
                    }
                    while line.last().is_some_and(word) {
                        line.pop();
                    }
                }
                b'\r' => {
                    line.push(b'\n');
                    done.push(std::mem::take(&mut line));
                }
                4 => {
                    done.push(std::mem::take(&mut line));
                    // Where the line goes on after an end of file is not modelled.
                    desk.tty.receive(b"\r");
                    done.push(b"\n".to_vec());
                }
                key => line.push(key),
            }
            let shown = desk.screen.bytes.lock().unwrap().clone();
            prop_assert_eq!(last_line(&shown), as_shown(&line));
        }
        for expected in done {
            prop_assert_eq!(desk.read(500), Ok(expected));
        }
        prop_assert_eq!(desk.read(500), Err(Errno::EAGAIN));
    }
}
