//! The heap against an ordered map.

extern crate std;

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::IndexedHeap;

#[derive(Clone, Debug)]
enum Step {
    Push(u64, u32),
    Pop,
    Remove(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..50u64, 0..64u32).prop_map(|(key, slot)| Step::Push(key, slot)),
        1 => Just(Step::Pop),
        2 => (0..70u32).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_map_does(steps in proptest::collection::vec(step(), 1..300)) {
        let mut heap = IndexedHeap::new();
        heap.reserve(64);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Push(key, slot) => {
                    if let std::collections::btree_map::Entry::Vacant(vacant) = model.entry(slot) {
                        vacant.insert(key);
                        heap.push(key, slot);
                    }
                }
                Step::Pop => match heap.pop() {
                    None => prop_assert!(model.is_empty()),
                    Some((key, slot)) => {
                        prop_assert_eq!(model.values().min(), Some(&key));
                        prop_assert_eq!(model.remove(&slot), Some(key));
                    }
                },
                Step::Remove(slot) => prop_assert_eq!(heap.remove(slot), model.remove(&slot)),
            }
            prop_assert_eq!(heap.len(), model.len());
            prop_assert_eq!(heap.top().map(|(key, _)| key), model.values().min().copied());
            for slot in 0..70 {
                prop_assert_eq!(heap.key(slot), model.get(&slot).copied());
            }
            prop_assert_eq!(heap.slots().count(), model.len());
        }
        let mut last = 0;
        while let Some((key, slot)) = heap.pop() {
            prop_assert!(key >= last);
            prop_assert_eq!(model.remove(&slot), Some(key));
            last = key;
        }
        prop_assert!(model.is_empty());
    }
}
