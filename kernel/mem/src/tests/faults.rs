//! What a fault brings: zeros, copies, pages of objects, a longer stack.

use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use hal::mem::{Account, Prot, flushes_finished};

use super::{ANON, File, R, RW, account, map, map_at, observe, space};
use crate::area_map::STACK_GUARD;
use crate::{
    Access, Advice, FaultError, FutexKey, Invalidate, MapFlags, MapKind, PAGE, RemapFlags, Space,
};

const AT: u64 = 0x10_0000_0000;

#[test]
fn nothing_is_there_until_touched() {
    let (space, account) = space();
    let at = map(&space, 1000, RW);
    assert_eq!(account.used(), 1);
    space.write(at + 5 * PAGE, &[1]).unwrap();
    // The page and three levels of tables.
    assert_eq!(account.used(), 5);
    assert_eq!(space.resident_bytes(), PAGE);
    let (frame, writable) = space.frame_for(at, Access::Read).unwrap();
    assert!(writable, "a fresh page needs no second fault");
    assert_eq!(frame.read_u64(0), 0);
}

#[test]
fn the_last_owner_writes_in_place() {
    let (parent, account) = space();
    let at = map(&parent, 1, RW);
    parent.write(at, &[1]).unwrap();
    let child = parent.fork(&account).unwrap();
    let frame = |space: &Space| space.frame_for(at, Access::Read).unwrap();
    assert_eq!(frame(&parent).0.phys(), frame(&child).0.phys());
    assert!(!frame(&parent).1 && !frame(&child).1);
    child.write(at, &[2]).unwrap();
    assert_ne!(frame(&parent).0.phys(), frame(&child).0.phys());
    let (before, used) = (frame(&parent).0.phys(), account.used());
    parent.write(at, &[3]).unwrap();
    assert_eq!((frame(&parent).0.phys(), account.used()), (before, used));
    let mut byte = [0];
    child.read(at, &mut byte).unwrap();
    assert_eq!(byte, [2]);
}

#[test]
fn fork_charges_the_child_for_its_copies() {
    let (parent, account) = space();
    let at = map(&parent, 1, RW);
    parent.write(at, &[1]).unwrap();
    let used = account.used();
    let other = Account::new(100).unwrap();
    let child = parent.fork(&other).unwrap();
    assert_eq!((account.used(), other.used()), (used, 4));
    child.write(at, &[2]).unwrap();
    assert_eq!((account.used(), other.used()), (used, 5));
    drop(parent);
    assert_eq!(account.used(), 0);
    drop(child);
    assert_eq!(other.used(), 0);
}

#[test]
fn populating_brings_every_page() {
    let (space, account) = space();
    let file = File::new(1, 6, 6, &account);
    let populate = |prot, kind| {
        let at = space
            .mmap(0, 6 * PAGE, prot, kind, MapFlags::POPULATE)
            .unwrap();
        space.resident_pages(&(at..at + 6 * PAGE))
    };
    assert_eq!(populate(RW, ANON()), 6);
    assert_eq!(populate(R, file.kind(0, false)), 6);
    assert_eq!(populate(RW, file.kind(0, true)), 6);
    assert_eq!(populate(Prot::NONE, ANON()), 0);
    // Up to the end of the object, and no error.
    assert_eq!(populate(R, file.kind(2, false)), 4);
}

#[test]
fn long_work_lets_others_run() {
    static TURNS: AtomicU32 = AtomicU32::new(0);
    // Several tests may run at once, so the count is a lower bound.
    crate::set_preempt_hook(|| {
        TURNS.fetch_add(1, Ordering::Relaxed);
    });
    let (space, account) = space();
    let at = space
        .mmap(0, 64 << 20, RW, ANON(), MapFlags::empty())
        .unwrap();
    for piece in 0..16 {
        space.write(at + (piece << 22), &[1]).unwrap();
    }
    let before = TURNS.load(Ordering::Relaxed);
    space.munmap(at, 64 << 20).unwrap();
    assert!(TURNS.load(Ordering::Relaxed) >= before + 16);
    drop(space);
    assert_eq!(account.used(), 0);
}

#[test]
fn program_text_is_shared_and_comes_in_pairs() {
    let (space, account) = space();
    let file = File::new(1, 20, 20, &account);
    let used = account.used();
    let text = Prot::READ | Prot::EXEC;
    let at = space
        .mmap(AT, 20 * PAGE, text, file.kind(0, false), MapFlags::FIXED)
        .unwrap();
    space.fault(at + 3 * PAGE, Access::Exec).unwrap();
    assert_eq!(space.resident_pages(&(at + 2 * PAGE..at + 4 * PAGE)), 2);
    assert_eq!(space.resident_bytes(), 2 * PAGE);
    assert_eq!(account.used(), used + 3, "text was copied");
    for page in 0..20 {
        let mut byte = [0];
        space.read(at + page * PAGE, &mut byte).unwrap();
        assert_eq!(byte, [page as u8 + 1]);
    }
    assert_eq!(space.fault(at, Access::Write), Err(FaultError::Denied));
}

#[test]
fn text_that_is_patched_is_copied() {
    let (space, account) = space();
    let file = File::new(1, 2, 2, &account);
    let text = Prot::READ | Prot::EXEC;
    let at = space
        .mmap(AT, 2 * PAGE, text, file.kind(0, false), MapFlags::FIXED)
        .unwrap();
    space.fault(at, Access::Exec).unwrap();
    space.mprotect(at, PAGE, RW).unwrap();
    space.write(at, &[0x90]).unwrap();
    space.mprotect(at, PAGE, text).unwrap();
    let child = space.fork(&account).unwrap();
    let mut byte = [0];
    child.read(at, &mut byte).unwrap();
    assert_eq!(byte, [0x90], "the child lost the copy");
    file.frames[0].read(0, &mut byte);
    assert_eq!(byte, [1], "the file was written");
}

#[test]
fn beyond_the_end_is_a_bus_error() {
    let (space, account) = space();
    let file = File::new(1, 1, 1, &account);
    for shared in [false, true] {
        let at = space
            .mmap(0, 2 * PAGE, RW, file.kind(0, shared), MapFlags::empty())
            .unwrap();
        assert_eq!(
            space.fault(at + PAGE, Access::Read),
            Err(FaultError::BusError)
        );
        assert_eq!(
            space.fault(at + PAGE, Access::Write),
            Err(FaultError::BusError)
        );
        assert_eq!(space.read(at + PAGE, &mut [0]), Err(Errno::EFAULT));
    }
}

#[test]
fn a_hole_is_filled_when_written() {
    let (space, account) = space();
    let file = File::new(1, 1, 3, &account);
    let at = space
        .mmap(0, 3 * PAGE, RW, file.kind(0, true), MapFlags::empty())
        .unwrap();
    let guest = observe(&space);
    space.activate();
    space.read(at + 2 * PAGE, &mut [0]).unwrap();
    assert!(guest.calls.lock().unwrap().is_empty());
    space.write(at + 2 * PAGE, &[7]).unwrap();
    assert_eq!(
        guest.calls.lock().unwrap().first(),
        Some(&(at + 2 * PAGE..at + 3 * PAGE))
    );
    let mut byte = [0];
    space.read(at + 2 * PAGE, &mut byte).unwrap();
    file.hole.read(0, &mut [0]);
    assert_eq!((byte, file.hole.read_u64(0)), ([7], 0));
    // A page that need not be replaced only gets its right.
    space.read(at, &mut byte).unwrap();
    space.write(at, &[8]).unwrap();
    assert_eq!(guest.calls.lock().unwrap().len(), 1);
    assert_eq!(file.frames[0].read_u32(0).to_le_bytes(), [8, 1, 1, 1]);
    hal::task::set_table(None);
}

#[test]
fn shared_memory_is_shared_with_children() {
    let (parent, account) = space();
    let shared = MapKind::Anonymous { shared: true };
    let at = parent
        .mmap(0, 600 * PAGE, RW, shared, MapFlags::empty())
        .unwrap();
    let child = parent.fork(&account).unwrap();
    child.write(at + 599 * PAGE, &[4]).unwrap();
    let mut byte = [0];
    parent.read(at + 599 * PAGE, &mut byte).unwrap();
    assert_eq!(byte, [4]);
    let key = parent.futex_key(at + 599 * PAGE + 8).unwrap();
    assert_eq!(child.futex_key(at + 599 * PAGE + 8), Ok(key));
    // A second mapping of the same memory, at an old length of 0.
    let twice = parent.mremap(at, 0, PAGE, RemapFlags::MAY_MOVE, 0).unwrap();
    assert_eq!(parent.futex_key(twice), parent.futex_key(at));
    // Discarding unmaps, and loses nothing.
    parent.madvise(at, 600 * PAGE, Advice::DontNeed).unwrap();
    assert_eq!(parent.resident_pages(&(at..at + 600 * PAGE)), 0);
    parent.read(at + 599 * PAGE, &mut byte).unwrap();
    assert_eq!(byte, [4]);
    drop((parent, child));
    assert_eq!(account.used(), 0);
}

#[test]
fn private_futexes_are_apart() {
    let (parent, account) = space();
    let at = map(&parent, 1, RW);
    let child = parent.fork(&account).unwrap();
    assert_ne!(parent.futex_key(at), child.futex_key(at));
    assert_eq!(
        parent.futex_key(at + 4),
        Ok(parent.private_futex_key(at + 4))
    );
    assert_eq!(
        parent.private_futex_key(at),
        FutexKey::Private {
            space: parent.id(),
            address: at
        }
    );
    assert_eq!(parent.futex_key(at + PAGE), Err(Errno::EFAULT));
}

#[test]
fn advice_about_forks_is_followed() {
    let (parent, account) = space();
    map_at(&parent, AT, 3, RW);
    parent.write(AT, &[1; 3 * PAGE as usize]).unwrap();
    parent.madvise(AT, PAGE, Advice::DontFork(true)).unwrap();
    parent
        .madvise(AT + PAGE, PAGE, Advice::WipeOnFork(true))
        .unwrap();
    let child = parent.fork(&account).unwrap();
    let read = |space: &Space, page: u64| {
        let mut byte = [9];
        space.read(AT + page * PAGE, &mut byte).map(|()| byte[0])
    };
    assert_eq!(
        [0, 1, 2].map(|page| read(&child, page)),
        [Err(Errno::EFAULT), Ok(0), Ok(1)]
    );
    assert_eq!([0, 1, 2].map(|page| read(&parent, page)), [Ok(1); 3]);
    parent
        .madvise(AT, 2 * PAGE, Advice::DontFork(false))
        .unwrap();
    parent
        .madvise(AT, 3 * PAGE, Advice::WipeOnFork(false))
        .unwrap();
    assert_eq!(
        parent.areas().unwrap().len(),
        1,
        "areas with nothing between them join"
    );
}

#[test]
fn a_stack_grows_to_its_limit() {
    let (space, _) = space();
    let stack = MapFlags::FIXED | MapFlags::GROWS_DOWN;
    space.mmap(AT, 2 * PAGE, RW, ANON(), stack).unwrap();
    space.set_stack_limit(10 * PAGE);
    space.write(AT - 3 * PAGE, &[1]).unwrap();
    assert_eq!(space.mapped_bytes(), 5 * PAGE);
    assert_eq!(space.resident_bytes(), PAGE);
    assert_eq!(space.write(AT - 9 * PAGE, &[1]), Err(Errno::EFAULT));
    space.write(AT - 8 * PAGE, &[1]).unwrap();
    assert_eq!(
        space.fault(AT - 8 * PAGE - 1, Access::Read),
        Err(FaultError::NoArea)
    );
}

#[test]
fn a_stack_keeps_its_distance() {
    let (space, _) = space();
    let stack = MapFlags::FIXED | MapFlags::GROWS_DOWN;
    space.mmap(AT, PAGE, RW, ANON(), stack).unwrap();
    map_at(&space, AT - STACK_GUARD - 4 * PAGE, 2, RW);
    space.write(AT - 2 * PAGE, &[1]).unwrap();
    assert_eq!(
        space.fault(AT - 3 * PAGE, Access::Write),
        Err(FaultError::NoArea)
    );
    // A guard area of the program's own needs no more room.
    space
        .mprotect(AT - STACK_GUARD - 4 * PAGE, 2 * PAGE, Prot::NONE)
        .unwrap();
    space.write(AT - 3 * PAGE, &[1]).unwrap();
}

#[test]
fn a_guest_hears_before_pages_go() {
    let (space, account) = space();
    let guest = observe(&space);
    let at = map(&space, 8, RW);
    let hold = |page: u64| {
        let answer = space.frame_for(at + page * PAGE, Access::Write).unwrap();
        guest.held.lock().unwrap().insert(at + page * PAGE, answer);
    };
    let held = || guest.held.lock().unwrap().len();
    (0..8).for_each(hold);
    space.munmap(at, PAGE).unwrap();
    assert_eq!(held(), 7);
    space.madvise(at + PAGE, PAGE, Advice::DontNeed).unwrap();
    assert_eq!(held(), 6);
    space.mprotect(at + 2 * PAGE, PAGE, R).unwrap();
    assert_eq!(held(), 5);
    space
        .mremap(
            at + 3 * PAGE,
            PAGE,
            PAGE,
            RemapFlags::MAY_MOVE | RemapFlags::FIXED,
            AT,
        )
        .unwrap();
    assert_eq!(held(), 4);
    space
        .mmap(at + 4 * PAGE, PAGE, RW, ANON(), MapFlags::FIXED)
        .unwrap();
    assert_eq!(held(), 3);
    let child = space.fork(&account).unwrap();
    assert_eq!(held(), 0);
    let (frame, writable) = space.frame_for(at + 5 * PAGE, Access::Read).unwrap();
    assert!(!writable);
    guest
        .held
        .lock()
        .unwrap()
        .insert(at + 5 * PAGE, (frame, false));
    space.write(at + 5 * PAGE, &[1]).unwrap();
    assert_eq!(held(), 0, "the copy came without notice");
    drop(child);
    hold(5);
    space.clear();
    assert_eq!(
        (held(), space.mapped_bytes(), space.resident_bytes()),
        (0, 0, 0)
    );
    drop(space);
    assert_eq!(account.used(), 0);
}

#[test]
fn a_guest_hears_of_pages_that_move_away() {
    let (space, account) = space();
    let guest = observe(&space);
    let at = map(&space, 2, RW);
    space.write(at, &[3]).unwrap();
    let answer = space.frame_for(at, Access::Write).unwrap();
    guest.held.lock().unwrap().insert(at, answer);
    let flags = RemapFlags::MAY_MOVE | RemapFlags::DONT_UNMAP;
    let to = space.mremap(at, PAGE, PAGE, flags, 0).unwrap();
    assert!(guest.held.lock().unwrap().is_empty());
    assert_eq!((space.load_u32(to), space.load_u32(at)), (Ok(3), Ok(0)));
    assert_eq!(space.mapped_bytes(), 3 * PAGE);
    drop(space);
    assert_eq!(account.used(), 0);
}

#[test]
fn copies_are_not_forgotten_when_areas_join() {
    let (space, account) = space();
    let file = File::new(1, 3, 3, &account);
    let text = Prot::READ | Prot::EXEC;
    // Of three parts that become one, only one has a copy; each order in turn.
    for patched in 0..3 {
        let map = |page: u64| {
            let at = AT + page * PAGE;
            space
                .mmap(at, PAGE, RW, file.kind(page, false), MapFlags::FIXED)
                .unwrap();
            if page == patched {
                space.write(at, &[0x90]).unwrap();
            }
            space.mprotect(at, PAGE, text).unwrap();
        };
        [2, 0, 1].into_iter().for_each(map);
        assert_eq!(space.areas().unwrap().len(), 1);
        let child = space.fork(&account).unwrap();
        let mut byte = [0];
        child.read(AT + patched * PAGE, &mut byte).unwrap();
        assert_eq!(byte, [0x90], "the child lost the copy of page {patched}");
        space.munmap(AT, 3 * PAGE).unwrap();
    }
}

#[test]
fn copies_are_not_forgotten_when_they_move() {
    let (space, account) = space();
    let file = File::new(1, 2, 2, &account);
    let text = Prot::READ | Prot::EXEC;
    let apart = AT + 64 * PAGE;
    space
        .mmap(apart, PAGE, RW, file.kind(0, false), MapFlags::FIXED)
        .unwrap();
    space.write(apart, &[0x90]).unwrap();
    space.mprotect(apart, PAGE, text).unwrap();
    space
        .mmap(AT + PAGE, PAGE, text, file.kind(1, false), MapFlags::FIXED)
        .unwrap();
    let flags = RemapFlags::MAY_MOVE | RemapFlags::FIXED;
    space.mremap(apart, PAGE, PAGE, flags, AT).unwrap();
    assert_eq!(space.areas().unwrap().len(), 1);
    let child = space.fork(&account).unwrap();
    let mut byte = [0];
    child.read(AT, &mut byte).unwrap();
    assert_eq!(byte, [0x90]);
}

#[test]
fn a_guest_hears_of_the_end() {
    let (space, account) = space();
    let guest = observe(&space);
    let at = map(&space, 2, RW);
    let answer = space.frame_for(at, Access::Write).unwrap();
    guest.held.lock().unwrap().insert(at, answer);
    drop(space);
    assert!(guest.held.lock().unwrap().is_empty());
    assert_eq!(account.used(), 0);
}

#[test]
fn an_observer_that_is_gone_is_not_called() {
    let (space, _) = space();
    let guest = observe(&space);
    let weak = Arc::downgrade(&guest);
    drop(guest);
    let at = map(&space, 1, RW);
    space.munmap(at, PAGE).unwrap();
    let late: Arc<dyn Invalidate> = observe(&space);
    drop(late);
    assert!(weak.upgrade().is_none());
}

#[test]
fn raising_protection_needs_no_flush_of_untouched_pages() {
    let (space, _) = space();
    let at = map(&space, 64, Prot::NONE);
    let before = flushes_finished();
    space.mprotect(at, 32 * PAGE, RW).unwrap();
    space.write(at, &[1; 32 * PAGE as usize]).unwrap();
    assert_eq!(flushes_finished(), before);
    space.munmap(at, 64 * PAGE).unwrap();
    assert_eq!(flushes_finished(), before + 1);
}

#[test]
fn memory_that_was_hidden_comes_back() {
    let (space, _) = space();
    let at = map(&space, 1, RW);
    space.activate();
    space.write(at, &[5]).unwrap();
    space.mprotect(at, PAGE, Prot::NONE).unwrap();
    assert_eq!(space.read(at, &mut [0]), Err(Errno::EFAULT));
    space.mprotect(at, PAGE, RW).unwrap();
    let mut byte = [0];
    space.read(at, &mut byte).unwrap();
    assert_eq!(byte, [5]);
    assert_eq!(space.compare_exchange_u32(at, 5, 6), Ok(5));
    assert_eq!(space.update_u32(at, |word| word | 0x8000_0000), Ok(6));
    assert_eq!(space.load_u32(at), Ok(0x8000_0006));
    hal::task::set_table(None);
}

#[test]
fn strings_end_before_the_hole() {
    let space = Space::new(&account()).unwrap();
    let at = map_at(&space, AT, 1, RW);
    space.write(at + PAGE - 4, b"abc\0").unwrap();
    space.write(at, &[b'x'; 600]).unwrap();
    for active in [false, true] {
        if active {
            space.activate();
        }
        assert_eq!(space.read_cstr(at + PAGE - 4, 100).unwrap(), b"abc");
        assert_eq!(space.read_cstr(at, 5), Err(Errno::ENAMETOOLONG));
        assert_eq!(space.read_cstr(at, 4096).unwrap(), [b'x'; 600]);
        assert_eq!(space.read_cstr(at - 1, 100), Err(Errno::EFAULT));
    }
    space.write(at + PAGE - 4, b"abcd").unwrap();
    assert_eq!(space.read_cstr(at + PAGE - 4, 100), Err(Errno::EFAULT));
    assert_eq!(space.read_cstr(at + PAGE - 4, 4), Err(Errno::ENAMETOOLONG));
    let value: u32 = space.read_value(at + PAGE - 4).unwrap();
    assert_eq!(value.to_le_bytes(), *b"abcd");
    space.write_value(at, &0x0102_0304_0506_0708u64).unwrap();
    assert_eq!(space.load_u32(at + 4), Ok(0x0102_0304));
    hal::task::set_table(None);
}
