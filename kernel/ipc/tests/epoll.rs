//! Epoll sets and poll over eventfds and pipes.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::event::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, Events};
use ipc::{Epoll, EventFd, Pipe, PollEntry, poll};
use pages::Account;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use vfs::{File, Io, OpenFile, OpenFlags, SliceSink, SliceSource};

const NOW: Option<u64> = Some(0);

fn open(file: Arc<dyn File>) -> Arc<OpenFile> {
    OpenFile::new(file, OpenFlags::RDWR | OpenFlags::NONBLOCK)
}

fn event(events: Events, data: u64) -> EpollEvent {
    EpollEvent {
        events: events.bits(),
        data,
    }
}

fn wait_now(epoll: &Epoll) -> Vec<(u64, Events)> {
    let mut out = [EpollEvent::default(); 16];
    let count = epoll.wait(&mut out, NOW).unwrap();
    let mut found: Vec<_> = out[..count]
        .iter()
        .map(|event| (event.data, Events::from_bits_retain(event.events)))
        .collect();
    found.sort_by_key(|(data, _)| *data);
    found
}

fn drain(file: &OpenFile) {
    let _ = file.read(&mut SliceSink::new(&mut [0; 8]));
}

#[derive(Clone, Debug)]
enum Step {
    Add(usize, u32),
    Modify(usize, u32),
    Delete(usize),
    Signal(usize),
    Drain(usize),
    Wait,
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..4usize;
    let mask = prop::sample::select(vec![
        Events::IN,
        Events::OUT,
        Events::IN | Events::OUT,
        Events::IN | Events::ET,
        Events::IN | Events::ONESHOT,
        Events::empty(),
    ])
    .prop_map(|mask| mask.bits());
    prop_oneof![
        (file.clone(), mask.clone()).prop_map(|(file, mask)| Step::Add(file, mask)),
        (file.clone(), mask).prop_map(|(file, mask)| Step::Modify(file, mask)),
        file.clone().prop_map(Step::Delete),
        file.clone().prop_map(Step::Signal),
        file.clone().prop_map(Step::Drain),
        Just(Step::Wait),
        Just(Step::Wait),
        file.prop_map(Step::Close),
    ]
}

struct Watch {
    mask: Events,
    /// Edge: something happened since the last report.
    edge: bool,
    fired: bool,
}

impl Watch {
    fn new(mask: u32) -> Self {
        Self {
            mask: Events::from_bits_retain(mask),
            edge: true,
            fired: false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_set_reports_what_its_model_does(steps in prop::collection::vec(step(), 1..80)) {
        wait_host::install();
        let epoll = Epoll::new();
        let make = || {
            let eventfd = EventFd::new(0, false);
            (eventfd.clone(), open(eventfd))
        };
        let mut files: Vec<_> = (0..4).map(|_| make()).collect();
        let mut model: BTreeMap<usize, Watch> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add(file, mask) => {
                    let result = epoll.control(
                        EPOLL_CTL_ADD, file as i32, &files[file].1,
                        EpollEvent { events: mask, data: file as u64 });
                    let known = model.contains_key(&file);
                    prop_assert_eq!(result, if known { Err(Errno::EEXIST) } else { Ok(()) });
                    model.entry(file).or_insert_with(|| Watch::new(mask));
                }
                Step::Modify(file, mask) => {
                    let result = epoll.control(
                        EPOLL_CTL_MOD, file as i32, &files[file].1,
                        EpollEvent { events: mask, data: file as u64 });
                    let known = model.contains_key(&file);
                    prop_assert_eq!(result, if known { Ok(()) } else { Err(Errno::ENOENT) });
                    model.entry(file).and_modify(|watch| *watch = Watch::new(mask));
                }
                Step::Delete(file) => {
                    let result = epoll.control(
                        EPOLL_CTL_DEL, file as i32, &files[file].1, EpollEvent::default());
                    let known = model.remove(&file).is_some();
                    prop_assert_eq!(result, if known { Ok(()) } else { Err(Errno::ENOENT) });
                }
                Step::Signal(file) => {
                    files[file].0.add(1);
                    model.entry(file).and_modify(|watch| watch.edge = true);
                }
                Step::Drain(file) => drain(&files[file].1),
                Step::Close(file) => {
                    files[file] = make();
                    model.remove(&file);
                }
                Step::Wait => {
                    let mut expected = Vec::new();
                    for (file, watch) in &mut model {
                        let how = Events::ET | Events::ONESHOT;
                        let ready = files[*file].1.poll() & watch.mask.difference(how);
                        let edge = watch.edge || !watch.mask.contains(Events::ET);
                        if !ready.is_empty() && edge && !watch.fired {
                            expected.push((*file as u64, ready));
                            watch.fired = watch.mask.contains(Events::ONESHOT);
                        }
                        // Either reported, or found not ready and forgotten.
                        watch.edge = false;
                    }
                    prop_assert_eq!(wait_now(&epoll), expected);
                }
            }
        }
        let kept: Vec<_> = files.iter().map(|file| file.0.clone()).collect();
        drop(epoll);
        for (eventfd, file) in kept.iter().zip(&files) {
            // Nothing of the set is left at the files it watched.
            prop_assert!(!eventfd.poll_head().unwrap().is_watched());
            prop_assert_eq!(Arc::strong_count(&file.1), 1);
        }
    }
}

#[test]
fn files_that_are_always_ready_and_unknown_operations_are_refused() {
    struct Plain;
    impl File for Plain {}
    let epoll = Epoll::new();
    let plain = open(Arc::new(Plain));
    let add = event(Events::IN, 0);
    assert_eq!(
        epoll.control(EPOLL_CTL_ADD, 0, &plain, add),
        Err(Errno::EPERM)
    );
    let file = open(EventFd::new(0, false));
    assert_eq!(epoll.control(9, 0, &file, add), Err(Errno::EINVAL));
    assert_eq!(epoll.wait(&mut [], NOW), Err(Errno::EINVAL));
}

#[test]
fn one_description_under_two_descriptors_is_two_watches() {
    wait_host::install();
    let epoll = Epoll::new();
    let file = open(EventFd::new(1, false));
    epoll
        .control(EPOLL_CTL_ADD, 3, &file, event(Events::IN, 3))
        .unwrap();
    epoll
        .control(EPOLL_CTL_ADD, 4, &file, event(Events::IN, 4))
        .unwrap();
    assert_eq!(wait_now(&epoll).len(), 2);
    drop(file);
    assert_eq!(wait_now(&epoll), []);
}

#[test]
fn sets_may_nest_but_not_in_circles_nor_deep() {
    wait_host::install();
    let sets: Vec<_> = (0..8).map(|_| Epoll::new()).collect();
    let opens: Vec<_> = sets.iter().map(|set| open(set.clone())).collect();
    let watch = |outer: usize, inner: usize| {
        sets[outer].control(
            EPOLL_CTL_ADD,
            inner as i32,
            &opens[inner],
            event(Events::IN, 9),
        )
    };
    assert_eq!(watch(0, 0), Err(Errno::EINVAL));
    // From the top down, which only looking upward can stop.
    for level in 0..4 {
        assert_eq!(watch(level, level + 1), Ok(()), "level {level}");
    }
    assert_eq!(watch(4, 5), Err(Errno::ELOOP));
    assert_eq!(watch(4, 0), Err(Errno::ELOOP));
    let eventfd = EventFd::new(0, false);
    let file = open(eventfd.clone());
    sets[4]
        .control(EPOLL_CTL_ADD, 50, &file, event(Events::IN, 5))
        .unwrap();
    assert_eq!(wait_now(&sets[0]), []);
    eventfd.add(1);
    assert_eq!(wait_now(&sets[0]), [(9, Events::IN)]);
    drain(&file);
    assert_eq!(wait_now(&sets[0]), []);
}

#[test]
fn a_wait_costs_what_is_ready_not_what_is_watched() {
    wait_host::install();
    struct Counting {
        inner: Arc<EventFd>,
        polls: Arc<std::sync::atomic::AtomicUsize>,
    }
    impl File for Counting {
        fn poll(&self) -> Events {
            self.polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.inner.poll()
        }
        fn poll_head(&self) -> Option<&vfs::PollHead> {
            self.inner.poll_head()
        }
    }
    let polls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let epoll = Epoll::new();
    let eventfds: Vec<_> = (0..1000).map(|_| EventFd::new(0, false)).collect();
    let opens: Vec<_> = eventfds
        .iter()
        .map(|inner| {
            open(Arc::new(Counting {
                inner: inner.clone(),
                polls: polls.clone(),
            }))
        })
        .collect();
    for (fd, file) in opens.iter().enumerate() {
        epoll
            .control(EPOLL_CTL_ADD, fd as i32, file, event(Events::IN, fd as u64))
            .unwrap();
    }
    polls.store(0, std::sync::atomic::Ordering::SeqCst);
    eventfds[700].add(1);
    assert_eq!(wait_now(&epoll), [(700, Events::IN)]);
    assert_eq!(polls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn many_events_come_in_turns() {
    wait_host::install();
    let epoll = Epoll::new();
    let opens: Vec<_> = (0..5).map(|_| open(EventFd::new(1, false))).collect();
    for (fd, file) in opens.iter().enumerate() {
        epoll
            .control(EPOLL_CTL_ADD, fd as i32, file, event(Events::IN, fd as u64))
            .unwrap();
    }
    let mut seen = BTreeMap::new();
    for _ in 0..5 {
        let mut out = [EpollEvent::default(); 2];
        assert_eq!(epoll.wait(&mut out, NOW), Ok(2));
        for event in out {
            *seen.entry(event.data).or_insert(0) += 1;
        }
    }
    assert_eq!(seen, (0..5).map(|fd| (fd, 2)).collect());
}

#[test]
fn sleeping_waits_wake_and_exclusive_ones_wake_one() {
    wait_host::install();
    let eventfd = EventFd::new(0, false);
    let file = open(eventfd.clone());
    let sets: Vec<_> = (0..2).map(|_| Epoll::new()).collect();
    for set in &sets {
        let mask = Events::IN | Events::EXCLUSIVE;
        set.control(EPOLL_CTL_ADD, 0, &file, event(mask, 1))
            .unwrap();
        let change = set.control(EPOLL_CTL_MOD, 0, &file, event(Events::IN, 1));
        assert_eq!(change, Err(Errno::EINVAL));
    }
    eventfd.add(1);
    let ready: Vec<_> = sets.iter().map(|set| !set.poll().is_empty()).collect();
    assert_eq!(ready, [true, false]);
    let set = Epoll::new();
    drain(&file);
    set.control(EPOLL_CTL_ADD, 0, &file, event(Events::IN, 7))
        .unwrap();
    let sleeper = {
        let set = set.clone();
        thread::spawn(move || {
            let mut out = [EpollEvent::default()];
            set.wait(&mut out, None)
                .map(|count| (count, { out[0].data }))
        })
    };
    wait_host::eventually(|| set.poll_head().unwrap().is_watched());
    eventfd.add(1);
    assert_eq!(sleeper.join().unwrap(), Ok((1, 7)));
}

#[test]
fn threads_share_a_set_without_losing_events() {
    wait_host::install();
    let set = Epoll::new();
    let eventfds: Vec<_> = (0..8).map(|_| EventFd::new(0, false)).collect();
    let opens: Vec<_> = eventfds
        .iter()
        .map(|eventfd| open(eventfd.clone()))
        .collect();
    for (fd, file) in opens.iter().enumerate() {
        let mask = Events::IN | Events::ET;
        set.control(EPOLL_CTL_ADD, fd as i32, file, event(mask, fd as u64))
            .unwrap();
    }
    let total = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (set, eventfds, total) = (set.clone(), eventfds.clone(), total.clone());
            thread::spawn(move || {
                while total.load(std::sync::atomic::Ordering::SeqCst) < 8_000 {
                    let mut out = [EpollEvent::default(); 3];
                    let deadline = Some(wait::now_ns() + 50_000_000);
                    let count = set.wait(&mut out, deadline).unwrap();
                    for event in &out[..count] {
                        let taken = eventfds[event.data as usize].take();
                        total.fetch_add(taken, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for round in 0..8_000 {
        eventfds[round % 8].add(1);
    }
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
}

#[test]
fn poll_sees_the_first_of_several() {
    wait_host::install();
    let (reader, writer) = Pipe::ends(&Account::kernel());
    let eventfd = EventFd::new(0, false);
    let files = [open(reader), open(eventfd.clone())];
    let entries = || -> Vec<_> {
        let mut list: Vec<_> = files
            .iter()
            .map(|file| PollEntry {
                file: Some(file.clone()),
                wanted: Events::IN,
                found: Events::empty(),
            })
            .collect();
        list.push(PollEntry {
            file: None,
            wanted: Events::IN,
            found: Events::empty(),
        });
        list
    };
    assert_eq!(poll(&mut entries(), NOW), Ok(0));
    let past = Some(wait::now_ns() + 1_000_000);
    assert_eq!(poll(&mut entries(), past), Ok(0));
    let mut list = entries();
    let sleeper = thread::spawn(move || {
        let count = poll(&mut list, None);
        (
            count,
            list.iter().map(|entry| entry.found).collect::<Vec<_>>(),
        )
    });
    wait_host::eventually(|| eventfd.poll_head().unwrap().is_watched());
    writer
        .write(&mut Io::default(), &mut SliceSource::new(b"x"))
        .unwrap();
    let (count, found) = sleeper.join().unwrap();
    assert_eq!(
        (count, found),
        (Ok(1), vec![Events::IN, Events::empty(), Events::empty()])
    );
    assert!(!eventfd.poll_head().unwrap().is_watched());
}
