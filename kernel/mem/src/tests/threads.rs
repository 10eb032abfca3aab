//! Several threads of one program at once.

use std::prelude::rust_2024::*;
use std::sync::Barrier;
use std::thread;

use super::{RW, map, space};
use crate::{Access, Advice, PAGE};

#[test]
fn threads_that_touch_the_same_pages_see_one_memory() {
    let (space, account) = space();
    let at = map(&space, 64, RW);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4u64 {
            scope.spawn(|| {
                space.activate();
                barrier.wait();
                for page in 0..64 {
                    space.update_u32(at + page * PAGE, |word| word + 1).unwrap();
                }
                hal::task::set_table(None);
            });
        }
    });
    for page in 0..64 {
        assert_eq!(space.load_u32(at + page * PAGE), Ok(4));
    }
    assert_eq!(space.resident_bytes(), 64 * PAGE);
    drop(space);
    assert_eq!(account.used(), 0);
}

#[test]
fn a_forks_copy_stands_still_while_the_parent_writes() {
    let (space, account) = space();
    let at = map(&space, 4, RW);
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            space.activate();
            barrier.wait();
            for round in 1..2000u32 {
                for page in 0..4 {
                    space.update_u32(at + page * PAGE, |_| round).unwrap();
                }
            }
            hal::task::set_table(None);
        });
        barrier.wait();
        for _ in 0..50 {
            let child = space.fork(&account).unwrap();
            let look = || [0, 1, 2, 3].map(|page| child.load_u32(at + page * PAGE).unwrap());
            let first = look();
            thread::yield_now();
            assert_eq!(look(), first);
            // The writer goes page by page, so a copy at one moment never has a
            // later page ahead of an earlier one.
            assert!(
                first.is_sorted_by(|a, b| a >= b) && first[0] - first[3] <= 1,
                "{first:?}"
            );
        }
    });
    drop(space);
    assert_eq!(account.used(), 0);
}

#[test]
fn discarding_beside_faults_loses_nothing_else() {
    let (space, account) = space();
    let at = map(&space, 8, RW);
    space.write(at, &[1; PAGE as usize]).unwrap();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            for _ in 0..500 {
                space
                    .madvise(at + PAGE, 7 * PAGE, Advice::DontNeed)
                    .unwrap();
            }
        });
        barrier.wait();
        for round in 0..500 {
            space
                .fault(at + (1 + round % 7) * PAGE, Access::Write)
                .unwrap();
            let word = space.load_u32(at).unwrap();
            assert_eq!(word, 0x0101_0101);
        }
    });
    drop(space);
    assert_eq!(account.used(), 0);
}
