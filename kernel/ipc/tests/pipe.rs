//! Pipes against a queue, and with real threads.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::event::Events;
use ipc::{PIPE_BUF, Pipe};
use pages::Account;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::mpsc;
use std::thread;
use vfs::{File, Io, SliceSink, SliceSource};

const NONBLOCK: Io = Io {
    offset: 0,
    nonblock: true,
    append: false,
};

fn read(file: &dyn File, mut io: Io, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let count = file.read(&mut io, &mut SliceSink::new(&mut bytes))?;
    bytes.truncate(count);
    Ok(bytes)
}

fn write(file: &dyn File, mut io: Io, bytes: &[u8]) -> Result<usize, Errno> {
    file.write(&mut io, &mut SliceSource::new(bytes))
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Resize(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..20usize, 4000..4200usize, 0..80_000usize];
    prop_oneof![
        size.clone().prop_map(Step::Write),
        size.clone().prop_map(Step::Read),
        size.prop_map(|size| Step::Resize(size * 2)),
    ]
}

/// What a nonblocking write of `len` bytes should do.
fn expected_write(used: usize, capacity: usize, len: usize) -> Result<usize, Errno> {
    let room = capacity - used;
    if len == 0 || len <= room {
        Ok(len)
    } else if len <= PIPE_BUF || room == 0 {
        Err(Errno::EAGAIN)
    } else {
        Ok(room)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_pipe_is_a_bounded_queue(steps in prop::collection::vec(step(), 1..60)) {
        let account = Account::new(600).unwrap();
        let (reader, writer) = Pipe::ends(&account);
        let mut model = VecDeque::new();
        let mut capacity = 64 * 1024;
        let mut next = 0u32;
        for step in steps {
            match step {
                Step::Write(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| (next + i as u32 * 7) as u8).collect();
                    next += 1;
                    let result = write(&*writer, NONBLOCK, &bytes);
                    prop_assert_eq!(result, expected_write(model.len(), capacity, len));
                    model.extend(&bytes[..result.unwrap_or(0)]);
                }
                Step::Read(len) => {
                    let expected: Vec<u8> = model.drain(..len.min(model.len())).collect();
                    let result = read(&*reader, NONBLOCK, len);
                    if expected.is_empty() && len > 0 {
                        prop_assert_eq!(result, Err(Errno::EAGAIN));
                    } else {
                        prop_assert_eq!(result, Ok(expected));
                    }
                }
                Step::Resize(size) => {
                    let size = size.max(4096).next_power_of_two();
                    let fits = size >= model.len();
                    let result = reader.pipe().set_capacity(size);
                    prop_assert_eq!(result, if fits { Ok(size) } else { Err(Errno::EBUSY) });
                    capacity = if fits { size } else { capacity };
                }
            }
            prop_assert_eq!(reader.pipe().len(), model.len());
            prop_assert_eq!(reader.poll().contains(Events::IN), !model.is_empty());
            let room = capacity - model.len();
            prop_assert_eq!(writer.poll().contains(Events::OUT), room >= PIPE_BUF);
        }
        drop((reader, writer));
        prop_assert_eq!(account.used(), 0);
    }
}

#[test]
fn the_end_of_either_side_is_seen_by_the_other() {
    let (reader, writer) = Pipe::ends(&Account::kernel());
    write(&*writer, NONBLOCK, b"rest").unwrap();
    drop(writer);
    assert_eq!(
        reader.poll() & (Events::IN | Events::HUP),
        Events::IN | Events::HUP
    );
    assert_eq!(read(&*reader, Io::default(), 10), Ok(b"rest".to_vec()));
    assert_eq!(read(&*reader, Io::default(), 10), Ok(vec![]));
    let (reader, writer) = Pipe::ends(&Account::kernel());
    drop(reader);
    assert!(writer.poll().contains(Events::ERR));
    assert_eq!(write(&*writer, Io::default(), b"x"), Err(Errno::EPIPE));
    assert_eq!(read(&*writer, Io::default(), 1), Err(Errno::EBADF));
}

#[test]
fn without_memory_a_write_fails_and_nothing_is_lost() {
    let account = Account::new(1).unwrap();
    let (reader, writer) = Pipe::ends(&account);
    write(&*writer, NONBLOCK, &[1; 4096]).unwrap();
    assert_eq!(write(&*writer, NONBLOCK, &[2; 10]), Err(Errno::ENOMEM));
    assert_eq!(read(&*reader, NONBLOCK, 5000), Ok(vec![1; 4096]));
    write(&*writer, NONBLOCK, &[2; 10]).unwrap();
}

#[test]
fn bytes_arrive_in_order_between_threads() {
    wait_host::install();
    let (reader, writer) = Pipe::ends(&Account::kernel());
    let total = 2_000_000usize;
    let byte = |index: usize| (index * 31 + index / 251) as u8;
    let sender = thread::spawn(move || {
        let mut sent = 0;
        while sent < total {
            let len = (sent % 9_973 + 1).min(total - sent);
            let bytes: Vec<u8> = (sent..sent + len).map(byte).collect();
            assert_eq!(write(&*writer, Io::default(), &bytes), Ok(len));
            sent += len;
        }
    });
    let mut got = 0;
    loop {
        let bytes = read(&*reader, Io::default(), got % 7_919 + 1).unwrap();
        if bytes.is_empty() {
            break;
        }
        for value in bytes {
            assert_eq!(value, byte(got));
            got += 1;
        }
    }
    sender.join().unwrap();
    assert_eq!(got, total);
}

#[test]
fn small_writes_are_not_mixed() {
    wait_host::install();
    let (reader, writer) = Pipe::ends(&Account::kernel());
    let writers: Vec<_> = (0..4u8)
        .map(|id| {
            let writer = writer.clone();
            thread::spawn(move || {
                for _ in 0..500 {
                    assert_eq!(write(&*writer, Io::default(), &[id; 700]), Ok(700));
                }
            })
        })
        .collect();
    drop(writer);
    let mut counts = [0; 4];
    let mut pending = Vec::new();
    loop {
        let bytes = read(&*reader, Io::default(), 3_000).unwrap();
        if bytes.is_empty() {
            break;
        }
        pending.extend(bytes);
        while pending.len() >= 700 {
            let record: Vec<u8> = pending.drain(..700).collect();
            assert!(record.iter().all(|byte| *byte == record[0]));
            counts[record[0] as usize] += 1;
        }
    }
    assert!(pending.is_empty());
    assert_eq!(counts, [500; 4]);
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
}

#[test]
fn a_signal_ends_a_blocked_call() {
    wait_host::install();
    let (reader, writer) = Pipe::ends(&Account::kernel());
    let (send, receive) = mpsc::channel();
    let sender = send.clone();
    let blocked = reader.clone();
    let thread = thread::spawn(move || {
        sender.send(wait_host::current()).unwrap();
        read(&*blocked, Io::default(), 1)
    });
    let target = receive.recv().unwrap();
    wait_host::eventually(|| reader.poll_head().unwrap().is_watched());
    target.interrupt();
    assert_eq!(thread.join().unwrap(), Err(Errno::ERESTART));
    // What was written before the signal counts.
    let watched = writer.clone();
    let thread = thread::spawn(move || {
        send.send(wait_host::current()).unwrap();
        write(&*writer, Io::default(), &[0; 100_000])
    });
    let target = receive.recv().unwrap();
    wait_host::eventually(|| watched.poll_head().unwrap().is_watched());
    target.interrupt();
    assert_eq!(thread.join().unwrap(), Ok(65_536));
}
