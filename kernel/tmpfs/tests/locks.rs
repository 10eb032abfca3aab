//! flock and record locks.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::OpenFlags;
use abi::lock::{F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN};
use pages::Account;
use proptest::prelude::*;
use std::sync::Arc;
use std::thread;
use tmpfs::{Limits, TmpFs};
use vfs::locks::{Owner, Record, find_conflict, flock, set_record};
use vfs::{FdTable, File, OpenFile};

fn file() -> Arc<dyn File> {
    wait_host::install();
    let fs = TmpFs::new(&Account::kernel(), &Limits::none(), 0o755).unwrap();
    fs.unnamed_file(0o600).unwrap()
}

fn open(file: &Arc<dyn File>) -> Arc<OpenFile> {
    OpenFile::new(file.clone(), OpenFlags::RDWR)
}

fn process(id: u64) -> Owner {
    Owner::Process {
        table: id + 1_000_000,
        pid: id as u32,
    }
}

#[test]
fn flock_shares_excludes_and_ends_with_its_open_file() {
    let file = file();
    let (one, two) = (open(&file), open(&file));
    flock(&one, LOCK_SH).unwrap();
    flock(&two, LOCK_SH | LOCK_NB).unwrap();
    assert_eq!(flock(&two, LOCK_EX | LOCK_NB), Err(Errno::EAGAIN));
    flock(&one, LOCK_UN).unwrap();
    flock(&two, LOCK_EX | LOCK_NB).unwrap();
    assert_eq!(flock(&one, LOCK_SH | LOCK_NB), Err(Errno::EAGAIN));
    assert_eq!(flock(&one, 16), Err(Errno::EINVAL));
    let waiter = {
        let one = one.clone();
        thread::spawn(move || flock(&one, LOCK_EX))
    };
    drop(two);
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn closing_any_descriptor_gives_up_the_process_s_records() {
    let file = file();
    let table = FdTable::new(10);
    let owner = Owner::Process {
        table: table.lock_owner(),
        pid: 1,
    };
    let first = open(&file);
    table.install(first.clone(), false).unwrap();
    let second = table.install(open(&file), false).unwrap();
    set_record(&first, owner, F_WRLCK, (0, 9), false).unwrap();
    let other = Record {
        owner: process(2),
        exclusive: false,
        start: 5,
        end: 5,
    };
    assert_eq!(
        find_conflict(&first, &other).map(|found| found.owner),
        Some(owner)
    );
    table.close(second).unwrap();
    assert_eq!(find_conflict(&first, &other), None);
}

#[test]
fn a_circle_of_waits_is_a_deadlock() {
    let file = file();
    let (one, two) = (open(&file), open(&file));
    set_record(&one, process(1), F_WRLCK, (0, 0), false).unwrap();
    set_record(&two, process(2), F_WRLCK, (1, 1), false).unwrap();
    let waiter = {
        let one = one.clone();
        thread::spawn(move || {
            let result = set_record(&one, process(1), F_WRLCK, (1, 1), true);
            if result.is_err() {
                set_record(&one, process(1), F_UNLCK, (0, u64::MAX), false).unwrap();
            }
            result
        })
    };
    // Either order of the two waits ends in one deadlock and one lock.
    let mine = set_record(&two, process(2), F_WRLCK, (0, 0), true);
    if mine.is_err() {
        set_record(&two, process(2), F_UNLCK, (0, u64::MAX), false).unwrap();
    }
    let theirs = waiter.join().unwrap();
    assert_eq!(
        [mine, theirs]
            .iter()
            .filter(|end| **end == Err(Errno::EDEADLK))
            .count(),
        1
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn record_locks_are_those_of_a_table_of_bytes(
        steps in prop::collection::vec((0..3u64, 0..3u8, 0..30usize, 0..12usize), 1..60)
    ) {
        let file = file();
        let opens: Vec<_> = (0..3).map(|_| open(&file)).collect();
        let owner = |id: u64| if id == 2 { Owner::OpenFile(opens[2].id()) } else { process(id) };
        // For each byte and owner: nothing, read, write.
        let mut model = [[0u8; 3]; 64];
        for (id, kind, start, len) in steps {
            let kind = kind % 3;
            let range = start..=start + len;
            let conflict = range.clone().any(|at| (0..3).any(|other| {
                other != id as usize && kind != 0 && model[at][other] != 0
                    && (kind == 2 || model[at][other] == 2)
            }));
            let number = [F_UNLCK, F_RDLCK, F_WRLCK][kind as usize];
            let span = (start as u64, (start + len) as u64);
            let result = set_record(&opens[id as usize], owner(id), number, span, false);
            prop_assert_eq!(result, if conflict { Err(Errno::EAGAIN) } else { Ok(()) });
            if !conflict {
                range.for_each(|at| model[at][id as usize] = kind);
            }
            for (at, held) in model.iter().enumerate() {
                let probe = Record {
                    owner: process(77), exclusive: true, start: at as u64, end: at as u64,
                };
                let found = find_conflict(&opens[0], &probe).is_some();
                prop_assert_eq!(found, held.iter().any(|kind| *kind != 0), "byte {}", at);
            }
        }
        for id in 0..3 {
            set_record(&opens[0], owner(id), F_UNLCK, (0, u64::MAX), false).unwrap();
        }
    }
}
