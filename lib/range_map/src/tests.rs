//! The map against one that knows each number by itself.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use crate::{InsertError, RangeMap};

const SIZE: u64 = 96;

/// A value that remembers where it begins, as a file mapping does: number n
/// of the interval stands for `base + n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    base: u64,
    kind: u8,
}

fn split(value: &mut Value, at: u64) -> Value {
    Value {
        base: value.base + at,
        ..*value
    }
}

type Model = BTreeMap<u64, (u64, u8)>;

fn points(map: &RangeMap<Value>) -> Model {
    let mut points = Model::new();
    let mut end = 0;
    for entry in map {
        assert!(entry.start() < entry.end() && entry.start() >= end);
        end = entry.end();
        for at in entry.range() {
            points.insert(
                at,
                (entry.value.base + at - entry.start(), entry.value.kind),
            );
        }
    }
    points
}

#[test]
fn conflicts_name_what_is_there() {
    let mut map = RangeMap::new();
    map.insert(10..20, 'a').unwrap();
    map.insert(30..40, 'b').unwrap();
    let conflict = |with, value| Err(InsertError::Conflict { with, value });
    assert_eq!(map.insert(19..21, 'c'), conflict(10..20, 'c'));
    assert_eq!(map.insert(0..11, 'c'), conflict(10..20, 'c'));
    assert_eq!(map.insert(5..100, 'c'), conflict(10..20, 'c'));
    assert_eq!(map.insert(32..33, 'c'), conflict(30..40, 'c'));
    assert_eq!(map.insert(5..5, 'c'), Err(InsertError::Empty('c')));
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = 7..3;
    assert_eq!(map.insert(reversed, 'c'), Err(InsertError::Empty('c')));
    assert_eq!(map.insert(20..30, 'c'), Ok(1));
    assert_eq!(map.insert(40..u64::MAX, 'd'), Ok(3));
    assert_eq!(map.find(u64::MAX - 1).map(|e| e.value), Some('d'));
    assert!(map.find(u64::MAX).is_none() && map.find(9).is_none());
    assert!(map.covers(10..u64::MAX) && !map.covers(9..12));
}

#[test]
fn ends_move_up_to_the_neighbours() {
    let mut map = RangeMap::new();
    map.insert(10..20, ()).unwrap();
    map.insert(30..40, ()).unwrap();
    assert_eq!(map.set_end(0, 30), Ok(()));
    assert_eq!(
        map.set_end(0, 31),
        Err(InsertError::Conflict {
            with: 30..40,
            value: ()
        })
    );
    assert_eq!(map.set_end(0, 10), Err(InsertError::Empty(())));
    assert_eq!(map.set_end(0, 12), Ok(()));
    assert_eq!(map.set_start(1, 12), Ok(()));
    assert_eq!(
        map.set_start(1, 11),
        Err(InsertError::Conflict {
            with: 10..12,
            value: ()
        })
    );
    assert_eq!(map.set_start(0, 0), Ok(()));
    assert_eq!(map.set_end(7, 100), Err(InsertError::Empty(())));
    assert_eq!(map.covered(), 40);
}

#[test]
fn only_neighbours_that_touch_are_joined() {
    let mut map = RangeMap::new();
    for start in [0, 10, 30, 40, 50] {
        map.insert(start..start + 10, ()).unwrap();
    }
    map.merge(20..40, |(), _, _| true);
    let ranges: Vec<_> = map.iter().map(crate::Entry::range).collect();
    assert_eq!(ranges, [0..10, 10..20, 30..50, 50..60]);
    map.merge(0..u64::MAX, |(), upper, length| {
        length == 10 && upper.end() == 20
    });
    let ranges: Vec<_> = map.iter().map(crate::Entry::range).collect();
    assert_eq!(ranges, [0..20, 30..50, 50..60]);
}

#[test]
fn gaps_are_found_from_both_ends() {
    let mut map = RangeMap::new();
    assert_eq!(map.find_gap_up(5, 1, 0..u64::MAX), Some(0));
    assert_eq!(map.find_gap_down(5, 4, 0..100), Some(92));
    map.insert(10..20, ()).unwrap();
    map.insert(24..90, ()).unwrap();
    assert_eq!(map.find_gap_up(11, 1, 0..100), None);
    assert_eq!(map.find_gap_up(4, 8, 0..100), Some(0));
    assert_eq!(map.find_gap_up(4, 4, 9..100), Some(20));
    assert_eq!(map.find_gap_up(4, 8, 9..100), Some(96));
    assert_eq!(map.find_gap_down(4, 1, 0..90), Some(20));
    assert_eq!(map.find_gap_down(4, 8, 0..100), Some(96));
    assert_eq!(map.find_gap_down(0, 8, 0..100), None);
    assert_eq!(map.find_gap_down(1, 3, 0..100), None);
    assert_eq!(map.find_gap_up(u64::MAX, 1 << 63, 1..u64::MAX), None);
    let gaps: Vec<_> = map.gaps(5..95).collect();
    assert_eq!(gaps, [5..10, 20..24, 90..95]);
    assert_eq!(map.gaps(12..19).count(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64, u8),
    Remove(u64, u64),
    Recolour(u64, u64, u8),
    Merge(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0..SIZE, 0..20u64);
    prop_oneof![
        4 => (range.clone(), 0..3u8).prop_map(|((at, n), k)| Step::Insert(at, at + n, k)),
        2 => range.clone().prop_map(|(at, n)| Step::Remove(at, at + 2 * n)),
        2 => (range.clone(), 0..3u8).prop_map(|((at, n), k)| Step::Recolour(at, at + n, k)),
        1 => range.prop_map(|(at, n)| Step::Merge(at, at + n)),
    ]
}

fn apply(map: &mut RangeMap<Value>, model: &mut Model, step: Step) {
    match step {
        Step::Insert(start, end, kind) => {
            let there = model.range(start..end).next().is_some();
            let value = Value {
                base: start * 1000,
                kind,
            };
            match map.insert(start..end, value) {
                Ok(index) => {
                    assert!(!there && start < end);
                    assert_eq!(map.get(index).unwrap().range(), start..end);
                    model.extend((start..end).map(|n| (n, (start * 1000 + n - start, kind))));
                }
                Err(InsertError::Empty(_)) => assert_eq!(start, end),
                Err(InsertError::Conflict { with, .. }) => {
                    assert!(with.start < end && start < with.end && there);
                }
            }
        }
        Step::Remove(start, end) => {
            let gone: Vec<_> = map.remove(start..end, split).collect();
            let mut seen = Vec::new();
            for entry in gone {
                let base = entry.value.base;
                let kind = entry.value.kind;
                seen.extend(entry.range().map(|n| (n, (base + n - entry.start(), kind))));
            }
            let keys: Vec<_> = model
                .range(start..end.max(start))
                .map(|(n, v)| (*n, *v))
                .collect();
            assert_eq!(seen, keys);
            keys.iter().for_each(|(n, _)| _ = model.remove(n));
        }
        Step::Recolour(start, end, kind) => {
            for index in map.isolate(start..end, split) {
                let (range, value) = map.get_mut(index).unwrap();
                assert!(start <= range.start && range.end <= end);
                value.kind = kind;
            }
            model
                .range_mut(start..end)
                .for_each(|(_, value)| value.1 = kind);
        }
        Step::Merge(start, end) => {
            let fits = |l: &Value, u: &Value, n: u64| l.kind == u.kind && l.base + n == u.base;
            map.merge(start..end, |lower, upper, length| {
                fits(lower, &upper.value, length)
            });
            for pair in map.entries.windows(2) {
                let touches = pair[0].end == pair[1].start;
                let inside = start <= pair[0].end && pair[0].end <= end;
                let length = pair[0].end - pair[0].start;
                assert!(!(touches && inside && fits(&pair[0].value, &pair[1].value, length)));
            }
        }
    }
}

fn gap_by_points(model: &Model, n: u64, align: u64, within: std::ops::Range<u64>) -> Vec<u64> {
    let free = |at: u64| model.range(at..at + n).next().is_none();
    (within.start..within.end)
        .filter(|at| at % align == 0 && at + n <= within.end && free(*at))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_is_what_its_points_are(
        steps in proptest::collection::vec(step(), 1..60),
        gap in (1..30u64, 0..4u32, 0..SIZE, 0..SIZE),
        hint in 0..20usize,
    ) {
        let mut map = RangeMap::new();
        let mut model = Model::new();
        for step in steps {
            apply(&mut map, &mut model, step);
            prop_assert_eq!(&points(&map), &model);
        }
        for at in 0..SIZE + 50 {
            let index = map.index_of(at);
            prop_assert_eq!(index, map.index_near(at, hint));
            prop_assert_eq!(index.is_some(), model.contains_key(&at));
            prop_assert!(index.is_none_or(|i| map.get(i).unwrap().range().contains(&at)));
            let next = map.next_from(at).map(|entry| entry.start().max(at));
            prop_assert_eq!(next, model.range(at..).next().map(|(n, _)| *n));
        }
        let (n, align, a, b) = gap;
        let within = a.min(b)..a.max(b);
        let all = gap_by_points(&model, n, 1 << align, within.clone());
        prop_assert_eq!(map.find_gap_up(n, 1 << align, within.clone()), all.first().copied());
        prop_assert_eq!(map.find_gap_down(n, 1 << align, within.clone()), all.last().copied());
        let covered = within.clone().all(|n| model.contains_key(&n));
        prop_assert_eq!(map.covers(within.clone()), covered);
        let touched: Vec<u64> =
            map.overlapping(within.clone()).flat_map(|e| e.range()).filter(|n| within.contains(n)).collect();
        prop_assert_eq!(touched, model.range(within).map(|(n, _)| *n).collect::<Vec<_>>());
        prop_assert_eq!(map.covered(), model.len() as u64);
    }
}
