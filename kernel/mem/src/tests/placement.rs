//! Where mappings go when the program does not say.

use std::prelude::rust_2024::*;

use abi::Errno;
use hal::mem::Prot;
use proptest::prelude::*;

use super::{ANON, R, RW, map, map_at, space};
use crate::{Layout, MIN_ADDRESS, MapFlags, PAGE, Space, USER_END};

fn ranges(space: &Space) -> Vec<(u64, u64)> {
    space
        .areas()
        .unwrap()
        .iter()
        .map(|it| (it.range.start, it.range.end))
        .collect()
}

#[test]
fn mappings_go_downwards_and_join() {
    let (space, _) = space();
    let top = space.layout().mmap_top;
    assert_eq!(map(&space, 2, RW), top - 2 * PAGE);
    assert_eq!(map(&space, 1, RW), top - 3 * PAGE);
    assert_eq!(ranges(&space), [(top - 3 * PAGE, top)]);
    assert_eq!(map(&space, 1, R), top - 4 * PAGE);
    assert_eq!(ranges(&space).len(), 2);
    // The gap is filled from its top, the next one goes below.
    space.munmap(top - 3 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(map(&space, 1, R), top - 2 * PAGE);
    assert_eq!(map(&space, 2, R), top - 6 * PAGE);
    assert_eq!(map(&space, 1, R), top - 3 * PAGE);
    space.mprotect(top - 6 * PAGE, 6 * PAGE, R).unwrap();
    assert_eq!(ranges(&space), [(top - 6 * PAGE, top)]);
}

#[test]
fn a_hint_is_taken_when_free() {
    let (space, _) = space();
    let at = 0x12_3456_7000;
    let hint = |at| space.mmap(at, PAGE, R, ANON(), MapFlags::empty()).unwrap();
    assert_eq!(hint(at + 5), at + PAGE);
    assert_eq!(hint(at), at);
    let top = space.layout().mmap_top;
    assert_eq!(hint(at), top - PAGE);
    assert_eq!(hint(1), top - 2 * PAGE);
    assert_eq!(hint(USER_END), top - 3 * PAGE);
}

#[test]
fn the_heap_moves_both_ways() {
    let (space, _) = space();
    let heap = 0x5555_0000_0000;
    space.set_layout(Layout {
        heap,
        ..Layout::default()
    });
    assert_eq!(space.brk(0), heap);
    assert_eq!(space.brk(heap + 100), heap + 100);
    space.write(heap + PAGE - 1, &[1]).unwrap();
    assert_eq!(space.brk(heap + 3 * PAGE), heap + 3 * PAGE);
    space.write(heap + PAGE - 1, &[1; 2]).unwrap();
    assert_eq!(space.brk(heap + PAGE), heap + PAGE);
    assert_eq!(space.write(heap + PAGE, &[1]), Err(Errno::EFAULT));
    assert_eq!(space.mapped_bytes(), PAGE);
    map_at(&space, heap + 8 * PAGE, 1, RW);
    // It never touches what is above, and keeps to its limit.
    assert_eq!(space.brk(heap + 9 * PAGE), heap + PAGE);
    assert_eq!(space.brk(heap + 8 * PAGE), heap + PAGE);
    space.set_data_limit(4 * PAGE);
    assert_eq!(space.brk(heap + 5 * PAGE), heap + PAGE);
    assert_eq!(space.brk(heap + 4 * PAGE), heap + 4 * PAGE);
    assert_eq!(space.brk(heap), heap);
    assert_eq!(space.mapped_bytes(), PAGE);
    assert!(space.areas().unwrap().iter().all(|area| !area.is_heap));
}

#[test]
fn a_full_mmap_area_overflows_elsewhere() {
    let (space, _) = space();
    let top = space.layout().mmap_top;
    map_at(&space, MIN_ADDRESS, (top - MIN_ADDRESS) / PAGE, Prot::NONE);
    let at = map(&space, 1, RW);
    assert!(at >= top);
    assert_eq!(space.munmap(top - PAGE, PAGE), Ok(()));
    assert_eq!(map(&space, 1, RW), top - PAGE);
}

#[test]
fn layouts_keep_their_order() {
    for random in [0, u64::MAX, 0x1234_5678_9abc_def0] {
        for limit in [0, 8 << 20, 1 << 30, u64::MAX] {
            let layout = Layout::new(limit, random);
            assert!(layout.stack_top <= USER_END && layout.mmap_top < layout.stack_top);
            let room = layout.stack_top - layout.mmap_top;
            assert!(
                room >= limit.min(USER_END / 8),
                "{layout:x?} for {limit:#x}"
            );
            assert_eq!((layout.stack_top | layout.mmap_top) % PAGE, 0);
        }
    }
}

/// The highest place for `len` pages, found by looking at every page.
fn naive(taken: &[bool], len: usize) -> Option<usize> {
    (0..=taken.len() - len)
        .rev()
        .find(|&start| taken[start..start + len].iter().all(|&it| !it))
}

proptest! {
    #[test]
    fn the_highest_gap_is_found(
        steps in proptest::collection::vec((any::<bool>(), 0..64u64, 1..6u64, 0..3u8), 1..60)
    ) {
        let (space, _) = space();
        let top = space.layout().mmap_top;
        let base = top - 64 * PAGE;
        map_at(&space, MIN_ADDRESS, (base - MIN_ADDRESS) / PAGE, Prot::NONE);
        let mut taken = [false; 64];
        for (maps, page, len, prot) in steps {
            let prot = [R, RW, Prot::EXEC][prot as usize];
            if maps {
                let at = map(&space, len, prot);
                match naive(&taken, len as usize) {
                    Some(start) => {
                        prop_assert_eq!(at, base + start as u64 * PAGE);
                        taken[start..start + len as usize].fill(true);
                    }
                    None => {
                        prop_assert!(at >= top);
                        space.munmap(at, len * PAGE).unwrap();
                    }
                }
            } else {
                let end = (page + len).min(64);
                space.munmap(base + page * PAGE, (end - page) * PAGE).unwrap();
                taken[page as usize..end as usize].fill(false);
            }
        }
    }
}
