//! The allocator against a model that knows each frame's owner.

extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use crate::{AddError, Block, Buddy, FreeError, Links, MAX_ORDER, Mark, NONE, ZONE_ENDS};

#[derive(Clone, Copy, Debug)]
struct Meta {
    next: u32,
    prev: u32,
    mark: Mark,
}

#[derive(Debug)]
struct Table(Vec<Meta>);

impl Links for Table {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }
    fn next(&self, frame: u32) -> u32 {
        self.0[frame as usize].next
    }
    fn set_next(&mut self, frame: u32, next: u32) {
        self.0[frame as usize].next = next;
    }
    fn prev(&self, frame: u32) -> u32 {
        self.0[frame as usize].prev
    }
    fn set_prev(&mut self, frame: u32, prev: u32) {
        self.0[frame as usize].prev = prev;
    }
    fn mark(&self, frame: u32) -> Mark {
        self.0[frame as usize].mark
    }
    fn set_mark(&mut self, frame: u32, mark: Mark) {
        self.0[frame as usize].mark = mark;
    }
}

/// Links that hold nonsense at first, as memory does.
fn table(frames: u32) -> Table {
    let meta = Meta {
        next: 0xdead,
        prev: 0xbeef,
        mark: Mark::NONE,
    };
    Table(std::vec![meta; frames as usize])
}

/// The blocks as the marks of all frames tell them: (head, order, free).
fn blocks(buddy: &Buddy<Table>) -> Vec<(u32, u8, bool)> {
    let mut all = Vec::new();
    let mut end = 0;
    for (frame, meta) in buddy
        .links()
        .0
        .iter()
        .enumerate()
        .filter(|(_, m)| m.mark != Mark::NONE)
    {
        let is_free = meta.mark.free_order().is_some();
        let order = meta
            .mark
            .free_order()
            .or(meta.mark.allocated_order())
            .unwrap();
        assert!(frame >= end, "a block begins inside another");
        end = frame + (1 << order);
        let head = frame as u32;
        assert_eq!(head % (1 << order), 0, "a block is misaligned");
        assert_eq!(
            buddy.block_of(end as u32 - 1),
            Some(Block {
                head,
                order,
                is_free
            })
        );
        all.push((head, order, is_free));
    }
    all
}

fn zone(frame: u32) -> usize {
    ZONE_ENDS.iter().position(|end| frame < *end).unwrap()
}

/// Everything that must hold between two calls.
fn check(buddy: &Buddy<Table>) {
    let all = blocks(buddy);
    let free: BTreeSet<(u32, u8)> = all
        .iter()
        .filter(|b| b.2)
        .map(|(head, order, _)| (*head, *order))
        .collect();
    let frames: u32 = free.iter().map(|(_, order)| 1 << order).sum();
    assert_eq!(frames, buddy.free_frames());
    let statistics = buddy.statistics();
    assert_eq!(statistics.free, frames);
    assert_eq!(statistics.free_in_zone.iter().sum::<u32>(), frames);
    for order in 0..=MAX_ORDER {
        let count = free.iter().filter(|(_, o)| *o == order).count();
        assert_eq!(statistics.free_blocks[usize::from(order)], count as u32);
    }
    for (head, order) in &free {
        let buddy_head = head ^ (1 << order);
        let unmerged = free.contains(&(buddy_head, *order)) && zone(*head) == zone(buddy_head);
        assert!(
            !unmerged || *order == MAX_ORDER,
            "buddies {head:#x} are both free"
        );
    }
}

#[test]
fn blocks_come_aligned_and_merge_again() {
    let mut buddy = Buddy::new(table(1024));
    buddy.add_range(0, 1024).unwrap();
    assert_eq!(buddy.largest_free_order(), Some(10));
    let a = buddy.alloc(0).unwrap();
    let b = buddy.alloc(3).unwrap();
    assert_eq!(b % 8, 0);
    check(&buddy);
    assert_eq!(buddy.free_frames(), 1024 - 9);
    buddy.free(a, 0).unwrap();
    buddy.free(b, 3).unwrap();
    check(&buddy);
    assert_eq!(buddy.largest_free_order(), Some(10));
    assert_eq!(buddy.alloc(11), None);
    assert_eq!(buddy.alloc(MAX_ORDER + 1), None);
}

#[test]
fn wrong_frees_are_told_apart() {
    let mut buddy = Buddy::new(table(128));
    buddy.add_range(0, 64).unwrap();
    let frame = buddy.alloc(2).unwrap();
    assert_eq!(
        buddy.free(frame, 1),
        Err(FreeError::WrongOrder { allocated: 2 })
    );
    assert_eq!(
        buddy.free(frame + 1, 0),
        Err(FreeError::InsideBlock {
            head: frame,
            order: 2
        })
    );
    assert_eq!(buddy.free(100, 0), Err(FreeError::NotManaged));
    assert_eq!(buddy.free(5000, 0), Err(FreeError::NotManaged));
    assert_eq!(
        buddy.free(frame, 200),
        Err(FreeError::WrongOrder { allocated: 2 })
    );
    buddy.free(frame, 2).unwrap();
    assert_eq!(buddy.free(frame, 2), Err(FreeError::DoubleFree));
    assert_eq!(buddy.free(frame + 3, 0), Err(FreeError::DoubleFree));
    check(&buddy);
}

#[test]
fn ranges_are_joined_and_never_doubled() {
    let mut buddy = Buddy::new(table(1024));
    buddy.add_range(0, 256).unwrap();
    buddy.add_range(512, 512).unwrap();
    assert_eq!(buddy.add_range(255, 2), Err(AddError::Overlaps));
    assert_eq!(buddy.add_range(200, 400), Err(AddError::Overlaps));
    assert_eq!(buddy.add_range(1000, 25), Err(AddError::OutOfBounds));
    assert_eq!(buddy.add_range(u32::MAX, 1), Err(AddError::OutOfBounds));
    assert_eq!(buddy.add_range(300, 0), Err(AddError::OutOfBounds));
    check(&buddy);
    buddy.add_range(256, 256).unwrap();
    check(&buddy);
    assert_eq!(buddy.largest_free_order(), Some(10));
    assert_eq!(buddy.managed_frames(), 1024);
    assert_eq!(buddy.add_range(0, 1024), Err(AddError::Overlaps));
}

#[test]
fn too_many_ranges_are_refused() {
    let mut buddy = Buddy::new(table(1024));
    for n in 0..crate::MAX_RANGES as u32 {
        buddy.add_range(n * 2, 1).unwrap();
    }
    assert_eq!(buddy.add_range(1000, 1), Err(AddError::TooManyRanges));
    assert_eq!(buddy.managed_frames(), crate::MAX_RANGES as u32);
    buddy.add_range(1, 1).unwrap();
    buddy.add_range(1000, 1).unwrap();
    check(&buddy);
}

#[test]
fn low_frames_are_spared_and_reachable() {
    let mut buddy = Buddy::new(table(16384));
    buddy.add_range(0, 16384).unwrap();
    check(&buddy);
    assert!(buddy.alloc(0).unwrap() >= ZONE_ENDS[0]);
    assert!(buddy.alloc_below(0, ZONE_ENDS[0]).unwrap() < ZONE_ENDS[0]);
    let frame = buddy.alloc_below(4, 5000).unwrap();
    assert!((4096..=5000 - 16).contains(&frame));
    assert_eq!(buddy.alloc_below(4, 15), None);
    assert_eq!(buddy.alloc_below(0, 0), None);
    check(&buddy);
    while buddy.alloc(0).is_some() {}
    assert_eq!(buddy.free_frames(), 0);
    check(&buddy);
}

#[test]
fn runs_are_exact_and_may_exceed_the_largest_block() {
    let frames = (1 << 19) + 4096;
    let mut buddy = Buddy::new(table(frames));
    buddy.add_range(0, frames).unwrap();
    let before = buddy.statistics();
    let run = buddy
        .alloc_contiguous((1 << 18) + 5, 512, u32::MAX)
        .unwrap();
    assert_eq!(run % 512, 0);
    assert_eq!(buddy.free_frames(), frames - (1 << 18) - 5);
    check(&buddy);
    assert!(buddy.free_contiguous(run, (1 << 18) + 3).is_err());
    assert!(buddy.free_contiguous(run + 1, 1).is_err());
    assert!(buddy.free_contiguous(run, (1 << 18) + 6).is_err());
    check(&buddy);
    buddy.free_contiguous(run, (1 << 18) + 5).unwrap();
    assert_eq!(buddy.statistics(), before);
    assert_eq!(buddy.free_contiguous(run, 3), Err(FreeError::DoubleFree));
    assert_eq!(buddy.alloc_contiguous(frames + 1, 1, u32::MAX), None);
    assert_eq!(buddy.alloc_contiguous(1, 3, u32::MAX), None);
}

#[test]
fn a_run_is_found_where_no_block_holds_it() {
    let mut buddy = Buddy::new(table(64));
    buddy.add_range(0, 64).unwrap();
    let all: Vec<u32> = (0..64).map(|_| buddy.alloc(0).unwrap()).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 64);
    for frame in 13..20 {
        buddy.free(frame, 0).unwrap();
    }
    assert_eq!(buddy.alloc_contiguous(7, 1, 19), None);
    assert_eq!(buddy.alloc_contiguous(7, 2, NONE), None);
    assert_eq!(buddy.alloc_contiguous(8, 1, NONE), None);
    assert_eq!(buddy.alloc_contiguous(6, 2, 20), Some(14));
    check(&buddy);
    assert_eq!(buddy.free_frames(), 1);
}

#[test]
fn a_split_block_is_freed_in_pieces() {
    let mut buddy = Buddy::new(table(1024));
    buddy.add_range(0, 1024).unwrap();
    let frame = buddy.alloc(9).unwrap();
    assert_eq!(
        buddy.split_allocated(frame, 8, 0),
        Err(FreeError::WrongOrder { allocated: 9 })
    );
    buddy.split_allocated(frame, 9, 0).unwrap();
    (frame..frame + 512).for_each(|piece| buddy.free(piece, 0).unwrap());
    check(&buddy);
    assert_eq!(buddy.largest_free_order(), Some(10));
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(u8),
    Below(u8, u32),
    Run(u32, u32, u32),
    Free(usize),
    WrongFree(u32, u8),
    Split(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let run = (1..200u32, 0..8u32, 0..6500u32);
    prop_oneof![
        4 => (0..8u8).prop_map(Step::Alloc),
        2 => (0..8u8, 0..6500u32).prop_map(|(order, limit)| Step::Below(order, limit)),
        2 => run.prop_map(|(count, align, limit)| Step::Run(count, 1 << align, limit)),
        5 => any::<usize>().prop_map(Step::Free),
        1 => (0..6500u32, 0..10u8).prop_map(|(frame, order)| Step::WrongFree(frame, order)),
        1 => (any::<usize>(), 0..4u8).prop_map(|(at, into)| Step::Split(at, into)),
    ]
}

/// What is allocated: first frame -> (frames, order; none for a run).
type Owned = BTreeMap<u32, (u32, Option<u8>)>;

fn own(owned: &mut Owned, start: u32, count: u32, order: Option<u8>, managed: &[(u32, u32)]) {
    let end = start + count;
    assert!(
        managed.iter().any(|(s, e)| *s <= start && end <= *e),
        "unmanaged frames"
    );
    let before = owned.range(..end).next_back();
    assert!(
        before.is_none_or(|(s, (n, _))| s + n <= start),
        "allocated twice"
    );
    owned.insert(start, (count, order));
}

fn nth(owned: &Owned, at: usize) -> Option<(u32, u32, Option<u8>)> {
    let (start, (count, order)) = owned.iter().nth(at % owned.len().max(1))?;
    Some((*start, *count, *order))
}

/// Whether `count` free frames in a row begin at a multiple of `align`.
fn run_exists(buddy: &Buddy<Table>, count: u32, align: u32, limit: u32) -> bool {
    let mut run: Option<(u32, u32)> = None;
    blocks(buddy)
        .into_iter()
        .filter(|block| block.2)
        .any(|(head, order, _)| {
            let start = run
                .filter(|(_, end)| *end == head)
                .map_or(head, |(start, _)| start);
            let end = head + (1 << order);
            run = Some((start, end));
            let first = start.next_multiple_of(align);
            first + count <= end.min(limit)
        })
}

fn apply(buddy: &mut Buddy<Table>, owned: &mut Owned, step: Step, managed: &[(u32, u32)]) {
    match step {
        Step::Alloc(order) => {
            let fits = buddy
                .largest_free_order()
                .is_some_and(|largest| largest >= order);
            let got = buddy.alloc(order);
            assert_eq!(got.is_some(), fits);
            if let Some(start) = got {
                own(owned, start, 1 << order, Some(order), managed);
            }
        }
        Step::Below(order, limit) => {
            let fits = blocks(buddy)
                .iter()
                .any(|(head, o, free)| *free && *o >= order && head + (1 << order) <= limit);
            let got = buddy.alloc_below(order, limit);
            assert_eq!(got.is_some(), fits);
            if let Some(start) = got {
                assert!(start + (1 << order) <= limit);
                own(owned, start, 1 << order, Some(order), managed);
            }
        }
        Step::Run(count, align, limit) => {
            let possible = run_exists(buddy, count, align, limit);
            let got = buddy.alloc_contiguous(count, align, limit);
            assert_eq!(got.is_some(), possible);
            if let Some(start) = got {
                assert!(start % align == 0 && start + count <= limit);
                own(owned, start, count, None, managed);
            }
        }
        Step::Free(at) => {
            if let Some((start, count, order)) = nth(owned, at) {
                owned.remove(&start);
                match order {
                    Some(order) => buddy.free(start, order).unwrap(),
                    None => buddy.free_contiguous(start, count).unwrap(),
                }
            }
        }
        Step::WrongFree(frame, order) => {
            if !owned
                .get(&frame)
                .is_some_and(|(_, o)| o.is_none_or(|o| o == order))
            {
                let holder = owned.range(..=frame).next_back();
                let in_run = holder.is_some_and(|(s, (n, o))| o.is_none() && frame < s + n);
                assert!(in_run || buddy.free(frame, order).is_err());
            }
        }
        Step::Split(at, into) => {
            if let Some((start, count, Some(order))) = nth(owned, at)
                && into < order
            {
                buddy.split_allocated(start, order, into).unwrap();
                for piece in (start..start + count).step_by(1 << into) {
                    owned.insert(piece, (1 << into, Some(into)));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn frames_are_conserved_and_never_shared(
        gaps in proptest::collection::vec((1..300u32, 1..2000u32), 1..6),
        start in prop_oneof![Just(0u32), 0..5000u32],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut buddy = Buddy::new(table(6500));
        let mut managed = Vec::new();
        let mut at = start;
        for (gap, count) in gaps {
            if at + count <= 6500 {
                buddy.add_range(at, count).unwrap();
                managed.push((at, at + count));
            }
            at += count + gap;
        }
        check(&buddy);
        let whole = buddy.statistics();
        let mut owned = Owned::new();
        for step in steps {
            apply(&mut buddy, &mut owned, step, &managed);
            let allocated: u32 = owned.values().map(|(count, _)| count).sum();
            prop_assert_eq!(buddy.free_frames() + allocated, buddy.managed_frames());
            check(&buddy);
        }
        while !owned.is_empty() {
            apply(&mut buddy, &mut owned, Step::Free(0), &managed);
        }
        prop_assert_eq!(buddy.statistics(), whole);
    }
}
