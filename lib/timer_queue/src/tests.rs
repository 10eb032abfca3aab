//! Timers against a sorted map of all that are armed.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use crate::{TimerId, TimerQueue};

#[test]
fn an_id_names_one_arming_only() {
    let mut queue = TimerQueue::new();
    let first = queue.insert(10, 'a');
    assert_eq!(queue.cancel(first), Some('a'));
    let second = queue.insert(20, 'b');
    assert_eq!((first.slot, first != second), (second.slot, true));
    assert_eq!(queue.cancel(first), None);
    assert!(!queue.is_armed(first) && !queue.rearm(first, 5));
    assert_eq!(queue.deadline(second), Some(20));
    assert_eq!(
        queue.expire(20, |at, value| assert_eq!((at, value), (20, 'b'))),
        1
    );
    assert_eq!(queue.cancel(second), None);
    assert!(queue.is_empty());
    assert_eq!(queue.next_deadline(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Cancel(usize),
    Rearm(usize, u64),
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..100u64).prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), 0..100u64).prop_map(|(at, deadline)| Step::Rearm(at, deadline)),
        1 => (0..30u64).prop_map(Step::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_does_what_a_sorted_map_does(
        room in 0..20usize,
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut queue = TimerQueue::new();
        queue.reserve(room);
        let (mut now, mut count) = (0, 0u64);
        // All ids ever given, and of the armed ones: (deadline, arming) -> id.
        let mut ids: Vec<(TimerId, u64)> = Vec::new();
        let mut model: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for step in steps {
            count += 1;
            match step {
                Step::Insert(after) => {
                    let id = queue.insert(now + after, count);
                    ids.push((id, count));
                    model.insert((now + after, count), count);
                }
                Step::Cancel(at) if !ids.is_empty() => {
                    let (id, value) = ids[at % ids.len()];
                    let key = model.iter().find(|(_, v)| **v == value).map(|(key, _)| *key);
                    prop_assert_eq!(queue.deadline(id), key.map(|(deadline, _)| deadline));
                    prop_assert_eq!(queue.cancel(id), key.and_then(|key| model.remove(&key)));
                }
                Step::Rearm(at, after) if !ids.is_empty() => {
                    let (id, value) = ids[at % ids.len()];
                    let key = model.iter().find(|(_, v)| **v == value).map(|(key, _)| *key);
                    prop_assert_eq!(queue.rearm(id, now + after), key.is_some());
                    if let Some(key) = key {
                        model.remove(&key);
                        model.insert((now + after, count), value);
                    }
                }
                Step::Expire(by) => {
                    now += by;
                    let later = model.split_off(&(now + 1, 0));
                    let mut expected: Vec<_> = model.iter().map(|(key, v)| (key.0, *v)).collect();
                    let mut seen = Vec::new();
                    let number = queue.expire(now, |deadline, value| seen.push((deadline, value)));
                    prop_assert_eq!(number, expected.len());
                    prop_assert!(seen.is_sorted_by_key(|(deadline, _)| *deadline));
                    seen.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(seen, expected);
                    model = later;
                }
                _ => {}
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.next_deadline(), model.keys().next().map(|key| key.0));
        }
    }
}
