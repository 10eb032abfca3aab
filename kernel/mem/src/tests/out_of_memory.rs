//! Every allocation of a long run fails once: the call fails, nothing else.

use std::prelude::rust_2024::*;
use std::vec;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::account;
use super::model::{PAGES, Step, World};
use super::property::step;
use crate::PAGE;

/// What an n-th failure can be followed through: single pages, so that a write
/// is done or not.
fn single(step: Step) -> Step {
    match step {
        Step::Write { at, value, .. } => Step::Write { at, len: 1, value },
        Step::Read { at, .. } => Step::Read { at, len: 1 },
        step => step,
    }
}

/// Runs the steps with the `n`-th allocation failing; how many failures showed,
/// or `None` when there are not that many allocations.
fn run(steps: &[Step], n: u64) -> Option<usize> {
    let account = account();
    let mut world = World::new(&account).unwrap();
    world.may_fail = true;
    hal::inject::fail_nth(n);
    let before = hal::inject::count();
    for step in steps {
        world.take(step);
    }
    let made = hal::inject::count() - before;
    hal::inject::clear();
    world.check();
    let failures = world.failures;
    drop(world);
    hal::task::set_table(None);
    assert_eq!(account.used(), 0);
    (n < made).then_some(failures)
}

#[test]
fn each_allocation_of_a_run_may_fail() {
    let fixed = vec![
        Step::Map {
            page: 0,
            len: 6,
            prot: 2,
            kind: 0,
            offset: 0,
        },
        Step::Map {
            page: 6,
            len: 4,
            prot: 2,
            kind: 1,
            offset: 0,
        },
        Step::Map {
            page: 10,
            len: 4,
            prot: 2,
            kind: 3,
            offset: 1,
        },
        Step::Write {
            at: 0,
            len: 1,
            value: 1,
        },
        Step::Write {
            at: 3 * PAGE,
            len: 1,
            value: 2,
        },
        Step::Write {
            at: 7 * PAGE,
            len: 1,
            value: 3,
        },
        Step::Write {
            at: 11 * PAGE,
            len: 1,
            value: 4,
        },
        Step::Fork,
        Step::Write {
            at: 3 * PAGE,
            len: 1,
            value: 5,
        },
        Step::Protect {
            page: 2,
            len: 2,
            prot: 1,
        },
        Step::Map {
            page: 3,
            len: 1,
            prot: 2,
            kind: 2,
            offset: 2,
        },
        Step::Unmap { page: 11, len: 1 },
        Step::Switch {
            which: 1,
            active: true,
        },
        Step::Write {
            at: 0,
            len: 1,
            value: 6,
        },
        Step::GuestTouch {
            page: 1,
            write: true,
            value: 9,
        },
        Step::Unmap {
            page: 1,
            len: PAGES - 2,
        },
    ];
    let mut n = 0;
    let mut failed = 0;
    while let Some(failures) = run(&fixed, n) {
        failed += failures;
        n += 1;
    }
    assert!(n > 30, "only {n} allocations in the run");
    assert!(failed as u64 > n / 2, "{failed} failures of {n} injected");
}

#[test]
fn random_runs_survive_any_failure() {
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(step().prop_map(single), 20..40);
    for _ in 0..6 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let mut n = 0;
        while run(&steps, n).is_some() {
            n += 1;
        }
    }
}
