//! Random steps, the space against the model.

use std::prelude::rust_2024::*;

use proptest::prelude::*;

use super::account;
use super::model::{FILE_PAGES, PAGES, Step, World};
use crate::PAGE;

pub(super) fn range() -> impl Strategy<Value = (u64, u64)> {
    (0..PAGES).prop_flat_map(|page| (Just(page), 1..=(PAGES - page).min(6)))
}

fn bytes() -> impl Strategy<Value = (u64, u64)> {
    (
        0..PAGES * PAGE - 3 * PAGE,
        prop_oneof![Just(1), Just(8), 1..2 * PAGE],
    )
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (range(), 0..4u8, 0..4u8, 0..FILE_PAGES).prop_map(
            |((page, len), prot, kind, offset)| Step::Map { page, len, prot, kind, offset }),
        2 => range().prop_map(|(page, len)| Step::Unmap { page, len }),
        3 => (range(), 0..4u8).prop_map(|((page, len), prot)| Step::Protect { page, len, prot }),
        8 => (bytes(), 1..255u8).prop_map(|((at, len), value)| Step::Write { at, len, value }),
        4 => bytes().prop_map(|(at, len)| Step::Read { at, len }),
        2 => Just(Step::Fork),
        1 => (0..4usize).prop_map(|which| Step::Drop { which }),
        3 => (0..4usize, any::<bool>()).prop_map(|(which, active)| Step::Switch { which, active }),
        2 => (range(), any::<bool>()).prop_map(
            |((page, len), free)| Step::DontNeed { page, len, free }),
        2 => (range(), range()).prop_map(
            |((page, len), (to, new))| Step::Remap { page, len, new, to }),
        4 => (0..PAGES, any::<bool>(), 1..255u8).prop_map(
            |(page, write, value)| Step::GuestTouch { page, write, value }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_space_is_what_the_model_says(steps in proptest::collection::vec(step(), 1..50)) {
        let account = account();
        let mut world = World::new(&account).unwrap();
        for (number, step) in steps.iter().enumerate() {
            world.take(step);
            if number % 8 == 7 {
                world.check();
            }
        }
        world.check();
        drop(world);
        hal::task::set_table(None);
        prop_assert_eq!(account.used(), 0);
    }
}
