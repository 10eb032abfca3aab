//! Each refusal that mmap(2), munmap(2), mprotect(2), madvise(2), mremap(2) and
//! brk(2) list.

use std::prelude::rust_2024::*;

use abi::Errno;
use hal::mem::{Account, Prot};

use super::{ANON, File, R, RW, account, map, map_at, space};
use crate::{
    Access, Advice, FaultError, MIN_ADDRESS, MapFlags, MapKind, PAGE, RemapFlags, Space, USER_END,
};

const AT: u64 = 0x10_0000_0000;
const FIXED: MapFlags = MapFlags::FIXED;
const ANYWHERE: MapFlags = MapFlags::empty();

#[test]
fn mmap_refuses_what_makes_no_sense() {
    let (space, account) = space();
    let file = File::new(1, 1, 4, &account);
    let mmap = |at, len, flags| space.mmap(at, len, RW, ANON(), flags);
    assert_eq!(mmap(0, 0, ANYWHERE), Err(Errno::EINVAL));
    assert_eq!(mmap(0, u64::MAX, ANYWHERE), Err(Errno::ENOMEM));
    assert_eq!(mmap(0, USER_END, ANYWHERE), Err(Errno::ENOMEM));
    assert_eq!(mmap(AT + 1, PAGE, FIXED), Err(Errno::EINVAL));
    assert_eq!(mmap(USER_END, PAGE, FIXED), Err(Errno::ENOMEM));
    assert_eq!(mmap(USER_END - PAGE, 2 * PAGE, FIXED), Err(Errno::ENOMEM));
    assert_eq!(mmap(MIN_ADDRESS - PAGE, PAGE, FIXED), Err(Errno::EPERM));
    let offset = |offset, len| {
        let kind = MapKind::Object {
            object: file.clone(),
            offset,
            shared: true,
            may_write: true,
        };
        space.mmap(0, len, R, kind, ANYWHERE)
    };
    assert_eq!(offset(1, PAGE), Err(Errno::EINVAL));
    assert_eq!(
        offset(0u64.wrapping_sub(PAGE), 2 * PAGE),
        Err(Errno::EOVERFLOW)
    );
    let stack = MapFlags::GROWS_DOWN;
    assert_eq!(
        space.mmap(0, PAGE, RW, file.kind(0, false), stack),
        Err(Errno::EINVAL)
    );
    let shared = MapKind::Anonymous { shared: true };
    assert_eq!(space.mmap(0, PAGE, RW, shared, stack), Err(Errno::EINVAL));
}

#[test]
fn noreplace_keeps_what_is_there() {
    let (space, _) = space();
    map_at(&space, AT, 1, RW);
    let over = |at, len| space.mmap(at, len, RW, ANON(), MapFlags::FIXED_NOREPLACE);
    assert_eq!(over(AT - PAGE, 2 * PAGE), Err(Errno::EEXIST));
    assert_eq!(over(AT - PAGE, PAGE), Ok(AT - PAGE));
}

#[test]
fn a_read_only_file_cannot_be_written_through() {
    let (space, account) = space();
    let file = File::new(1, 1, 4, &account);
    let kind = |shared| MapKind::Object {
        object: file.clone(),
        offset: 0,
        shared,
        may_write: false,
    };
    assert_eq!(
        space.mmap(0, PAGE, RW, kind(true), ANYWHERE),
        Err(Errno::EACCES)
    );
    let at = space.mmap(0, PAGE, R, kind(true), ANYWHERE).unwrap();
    assert_eq!(space.mprotect(at, PAGE, RW), Err(Errno::EACCES));
    let private = space.mmap(0, PAGE, R, kind(false), ANYWHERE).unwrap();
    assert_eq!(space.mprotect(private, PAGE, RW), Ok(()));
}

#[test]
fn limits_are_enomem() {
    let account = Account::new(6).unwrap();
    let space = Space::new(&account).unwrap();
    space.set_address_space_limit(8 * PAGE);
    let at = map(&space, 7, RW);
    assert_eq!(
        space.mmap(0, 2 * PAGE, RW, ANON(), ANYWHERE),
        Err(Errno::ENOMEM)
    );
    // What is replaced does not count twice.
    assert_eq!(space.mmap(at, 7 * PAGE, RW, ANON(), FIXED), Ok(at));
    assert_eq!(
        space.mremap(at, 7 * PAGE, 9 * PAGE, RemapFlags::MAY_MOVE, 0),
        Err(Errno::ENOMEM)
    );
    // The root and three tables leave two pages.
    assert_eq!(space.fault(at, Access::Write), Ok(()));
    assert_eq!(space.fault(at + PAGE, Access::Write), Ok(()));
    assert_eq!(
        space.fault(at + 2 * PAGE, Access::Write),
        Err(FaultError::OutOfMemory)
    );
    assert_eq!(space.write(at + 2 * PAGE, &[1]), Err(Errno::ENOMEM));
}

#[test]
fn munmap_refuses_what_makes_no_sense() {
    let (space, _) = space();
    assert_eq!(space.munmap(AT + 1, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, 0), Err(Errno::EINVAL));
    assert_eq!(space.munmap(USER_END, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, PAGE), Ok(()));
}

#[test]
fn mprotect_changes_up_to_the_gap() {
    let (space, _) = space();
    map_at(&space, AT, 2, RW);
    map_at(&space, AT + 3 * PAGE, 1, RW);
    assert_eq!(space.mprotect(AT + 8, PAGE, R), Err(Errno::EINVAL));
    assert_eq!(space.mprotect(AT, 0, R), Ok(()));
    assert_eq!(space.mprotect(AT - PAGE, PAGE, R), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(USER_END, PAGE, R), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(AT, 4 * PAGE, R), Err(Errno::ENOMEM));
    assert_eq!(space.write(AT + PAGE, &[1]), Err(Errno::EFAULT));
    assert_eq!(space.write(AT + 3 * PAGE, &[1]), Ok(()));
}

#[test]
fn mprotect_of_a_stack_goes_from_its_start() {
    let (space, _) = space();
    space
        .mmap(AT, 4 * PAGE, RW, ANON(), FIXED | MapFlags::GROWS_DOWN)
        .unwrap();
    map_at(&space, AT + 0x10_0000, 1, RW);
    let all = RW | Prot::EXEC;
    assert_eq!(space.mprotect_grows_down(AT + 3 * PAGE, PAGE, all), Ok(()));
    assert!(
        space
            .areas()
            .unwrap()
            .iter()
            .any(|it| it.prot == all && it.range.start == AT)
    );
    assert_eq!(
        space.mprotect_grows_down(AT + 0x10_0000, PAGE, all),
        Err(Errno::EINVAL)
    );
}

#[test]
fn madvise_refuses_what_makes_no_sense() {
    let (space, account) = space();
    let file = File::new(1, 1, 4, &account);
    map_at(&space, AT, 1, RW);
    space
        .mmap(AT + PAGE, PAGE, R, file.kind(0, true), FIXED)
        .unwrap();
    let advise = |at, len, advice| space.madvise(at, len, advice);
    assert_eq!(advise(AT + 1, PAGE, Advice::DontNeed), Err(Errno::EINVAL));
    assert_eq!(advise(AT, 0, Advice::DontNeed), Ok(()));
    assert_eq!(advise(AT, 3 * PAGE, Advice::DontNeed), Err(Errno::ENOMEM));
    assert_eq!(advise(AT, 3 * PAGE, Advice::Hint), Err(Errno::ENOMEM));
    assert_eq!(advise(AT, 2 * PAGE, Advice::Free), Err(Errno::EINVAL));
    assert_eq!(
        advise(AT, 2 * PAGE, Advice::WipeOnFork(true)),
        Err(Errno::EINVAL)
    );
    assert_eq!(advise(AT, PAGE, Advice::Remove), Err(Errno::EINVAL));
    assert_eq!(
        advise(AT + PAGE, PAGE, Advice::Remove),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(
        advise(AT, 2 * PAGE, Advice::Populate(Access::Write)),
        Err(Errno::EINVAL)
    );
    assert_eq!(advise(AT, 2 * PAGE, Advice::Populate(Access::Read)), Ok(()));
    assert_eq!(space.resident_pages(&(AT..AT + 2 * PAGE)), 2);
    assert_eq!(Advice::from_abi(12), None);
    assert_eq!(Advice::from_abi(4), Some(Advice::DontNeed));
}

#[test]
fn mremap_refuses_what_makes_no_sense() {
    let (space, _) = space();
    map_at(&space, AT, 4, RW);
    map_at(&space, AT + 8 * PAGE, 1, RW);
    let (moves, fixed) = (
        RemapFlags::MAY_MOVE,
        RemapFlags::MAY_MOVE | RemapFlags::FIXED,
    );
    let remap = |old, len, new, flags, to| space.mremap(old, len, new, flags, to);
    assert_eq!(remap(AT + 1, PAGE, PAGE, moves, 0), Err(Errno::EINVAL));
    assert_eq!(remap(AT, PAGE, 0, moves, 0), Err(Errno::EINVAL));
    assert_eq!(remap(AT, 0, PAGE, moves, 0), Err(Errno::EINVAL));
    assert_eq!(
        remap(AT, PAGE, PAGE, RemapFlags::FIXED, AT - PAGE),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(AT, 2 * PAGE, PAGE, fixed, AT + PAGE),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(AT, PAGE, PAGE, fixed, AT + 0x10_0008),
        Err(Errno::EINVAL)
    );
    assert_eq!(remap(AT, PAGE, PAGE, fixed, 0), Err(Errno::EPERM));
    assert_eq!(remap(AT, PAGE, PAGE, fixed, USER_END), Err(Errno::EINVAL));
    assert_eq!(remap(AT - PAGE, PAGE, PAGE, moves, 0), Err(Errno::EFAULT));
    assert_eq!(remap(AT, 5 * PAGE, 6 * PAGE, moves, 0), Err(Errno::EFAULT));
    assert_eq!(
        remap(AT, 4 * PAGE, 9 * PAGE, RemapFlags::empty(), 0),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        remap(AT, PAGE, 2 * PAGE, RemapFlags::empty(), 0),
        Err(Errno::ENOMEM)
    );
    let keeps = RemapFlags::DONT_UNMAP | moves;
    assert_eq!(remap(AT, PAGE, 2 * PAGE, keeps, 0), Err(Errno::EINVAL));
}

#[test]
fn too_many_areas_are_enomem() {
    let (space, _) = space();
    // Every second page differs, so that nothing can be joined.
    for n in 0..32_765 {
        map_at(&space, AT + n * 2 * PAGE, 1, R);
        map_at(&space, AT + (n * 2 + 1) * PAGE, 1, RW);
    }
    let last = space
        .mmap(AT - 0x10_0000, 3 * PAGE, R, ANON(), FIXED)
        .unwrap();
    let before = space.mapped_bytes();
    assert_eq!(
        space.mmap(0, PAGE, RW, ANON(), ANYWHERE),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.munmap(last + PAGE, PAGE), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(last + PAGE, PAGE, RW), Err(Errno::ENOMEM));
    assert_eq!(space.mapped_bytes(), before);
    assert_eq!(space.munmap(last, 3 * PAGE), Ok(()));
    assert_eq!(map(&space, 1, RW), space.layout().mmap_top - PAGE);
}

#[test]
fn user_addresses_end() {
    let space = Space::new(&account()).unwrap();
    for active in [false, true] {
        if active {
            space.activate();
        }
        let mut byte = [0; 8];
        assert_eq!(space.read(u64::MAX, &mut byte), Err(Errno::EFAULT));
        assert_eq!(space.read(USER_END - 4, &mut byte), Err(Errno::EFAULT));
        assert_eq!(
            space.write(0xffff_8000_0000_0000, &byte),
            Err(Errno::EFAULT)
        );
        assert_eq!(space.read_cstr(USER_END, 10), Err(Errno::EFAULT));
        assert_eq!(space.load_u32(2), Err(Errno::EINVAL));
        assert_eq!(
            space.compare_exchange_u32(u64::MAX - 3, 0, 0),
            Err(Errno::EFAULT)
        );
    }
    assert_eq!(space.fault(u64::MAX, Access::Read), Err(FaultError::NoArea));
}
