//! Memory: mappings and what they allow, demand, copies, files, brk.

use crate::sys::{self, PAGE, READ_WRITE, Region, fork, wait_exit};
use crate::{Check, call};

pub const CHECKS: &[Check] = &[
    ("memory_mmap_flags_and_errors", mmap_flags),
    ("memory_protection", protection),
    ("memory_demand_and_dontneed", demand),
    ("memory_remap", remap),
    ("memory_of_files", of_files),
    ("memory_beyond_the_end_of_a_file", beyond_end),
    ("memory_brk", brk),
    ("memory_stack_grows", stack_grows),
    ("memory_advice_and_residency", advice),
    ("memory_threads_fault_together", faults_together),
    ("memory_copy_on_write_chain", copy_chain),
];

fn mmap(at: u64, len: usize, prot: i32, flags: i32) -> Result<u64, i32> {
    call!(
        libc::SYS_mmap,
        at,
        len,
        prot,
        flags | libc::MAP_ANONYMOUS,
        -1i64,
        0
    )
}

fn mmap_flags() {
    let private = libc::MAP_PRIVATE;
    assert_eq!(mmap(0, 0, READ_WRITE, private), Err(libc::EINVAL));
    assert_eq!(mmap(0, PAGE, READ_WRITE, 0), Err(libc::EINVAL));
    assert_eq!(mmap(0, 1 << 47, READ_WRITE, private), Err(libc::ENOMEM));
    assert_eq!(mmap(0, usize::MAX, READ_WRITE, private), Err(libc::ENOMEM));
    assert_eq!(
        mmap(1, PAGE, READ_WRITE, private | libc::MAP_FIXED),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_mmap, 0, PAGE, 1, private, 999, 0),
        Err(libc::EBADF)
    );
    assert_eq!(
        call!(libc::SYS_mmap, 0, PAGE, 1, private, 0, 5),
        Err(libc::EINVAL)
    );
    assert_eq!(call!(libc::SYS_munmap, 1, PAGE), Err(libc::EINVAL));
    let region = Region::private(4);
    region.put(PAGE, 9);
    let taken = mmap(
        region.at,
        PAGE,
        READ_WRITE,
        private | libc::MAP_FIXED_NOREPLACE,
    );
    assert_eq!(taken, Err(libc::EEXIST));
    assert_eq!(
        mmap(
            region.at + PAGE as u64,
            PAGE,
            READ_WRITE,
            private | libc::MAP_FIXED
        ),
        Ok(region.at + PAGE as u64)
    );
    assert_eq!(region.get(PAGE), 0);
    // A hint is followed where there is room.
    let free = region.at;
    call!(libc::SYS_munmap, free, PAGE).expect("munmap");
    assert_eq!(mmap(free, PAGE, READ_WRITE, private), Ok(free));
    let populated = Region::new(16, READ_WRITE, private | libc::MAP_POPULATE);
    let mut there = [0u8; 16];
    call!(
        libc::SYS_mincore,
        populated.at,
        populated.len,
        there.as_mut_ptr()
    )
    .expect("mincore");
    assert_eq!(there, [1; 16]);
}

fn dies(main: impl FnOnce()) -> i32 {
    let status = sys::crash(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            sys::action(signal, libc::SIG_DFL, 0, &[]);
        }
        main();
    });
    if libc::WIFSIGNALED(status) {
        libc::WTERMSIG(status)
    } else {
        0
    }
}

/// Reads for the reading's sake.
fn touched<T>(_value: T) {}

fn protection() {
    let region = Region::private(3);
    region.put(PAGE, 5);
    call!(
        libc::SYS_mprotect,
        region.at + PAGE as u64,
        PAGE,
        libc::PROT_READ
    )
    .expect("mprotect");
    assert_eq!(region.get(PAGE), 5);
    assert_eq!(dies(|| region.put(PAGE, 6)), libc::SIGSEGV);
    call!(libc::SYS_mprotect, region.at + PAGE as u64, PAGE, 0).expect("mprotect");
    assert_eq!(dies(|| touched(region.get(PAGE))), libc::SIGSEGV);
    call!(libc::SYS_mprotect, region.at, region.len, READ_WRITE).expect("mprotect");
    region.put(PAGE, 6);
    assert_eq!(region.get(PAGE), 6);
    assert_eq!(
        call!(libc::SYS_mprotect, region.at + 1, PAGE, 1),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_mprotect, 0x1000, PAGE, 1),
        Err(libc::ENOMEM)
    );
    assert_eq!(
        call!(libc::SYS_mprotect, region.at, PAGE, 0x40),
        Err(libc::EINVAL)
    );
    // Code runs where it may, and not where it may not.
    let code = [0xb8, 42, 0, 0, 0, 0xc3]; // mov eax, 42; ret
    for (at, byte) in code.into_iter().enumerate() {
        region.put(at, byte);
    }
    let run = || {
        // SAFETY: the bytes above are a function, where the page may be executed.
        let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(region.at) };
        function()
    };
    assert_eq!(dies(|| touched(run())), libc::SIGSEGV);
    call!(
        libc::SYS_mprotect,
        region.at,
        PAGE,
        libc::PROT_READ | libc::PROT_EXEC
    )
    .expect("mprotect");
    assert_eq!(run(), 42);
}

fn demand() {
    // More than there is memory for, of which little is touched.
    let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
    let region = Region::new(1 << 20, READ_WRITE, flags);
    for page in (0..1 << 20).step_by(1 << 12) {
        assert_eq!(region.get(page * PAGE), 0);
        region.put(page * PAGE + 7, 1);
    }
    call!(
        libc::SYS_madvise,
        region.at,
        region.len,
        libc::MADV_DONTNEED
    )
    .expect("madvise");
    for page in (0..1 << 20).step_by(1 << 12) {
        assert_eq!(region.get(page * PAGE + 7), 0);
    }
}

fn remap() {
    let region = Region::private(4);
    for page in 0..4 {
        region.put(page * PAGE, page as u8 + 1);
    }
    let at = call!(
        libc::SYS_mremap,
        region.at,
        region.len,
        64 * PAGE,
        libc::MREMAP_MAYMOVE,
        0
    )
    .expect("mremap");
    std::mem::forget(region);
    let region = Region { at, len: 64 * PAGE };
    assert!((0..4).all(|page| region.get(page * PAGE) == page as u8 + 1));
    assert_eq!(region.get(63 * PAGE), 0);
    assert_eq!(
        call!(libc::SYS_mremap, at, region.len, 2 * PAGE, 0, 0),
        Ok(at)
    );
    assert_eq!(dies(|| touched(region.get(3 * PAGE))), libc::SIGSEGV);
    let other = Region::private(2);
    let fixed = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    assert_eq!(
        call!(libc::SYS_mremap, at, 2 * PAGE, 2 * PAGE, fixed, other.at),
        Ok(other.at)
    );
    assert_eq!(other.get(PAGE), 2);
    assert_eq!(
        call!(libc::SYS_mremap, at + 1, PAGE, PAGE, 0, 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_mremap, 0x1000, PAGE, 2 * PAGE, 1, 0),
        Err(libc::EFAULT)
    );
}

fn memory_file(len: usize) -> i32 {
    let fd = call!(libc::SYS_memfd_create, c"memory".as_ptr(), 0).expect("memfd") as i32;
    call!(libc::SYS_ftruncate, fd, len).expect("ftruncate");
    fd
}

fn of_files() {
    let fd = memory_file(3 * PAGE);
    let shared = Region::of(3, READ_WRITE, libc::MAP_SHARED, fd).expect("mmap");
    let private = Region::of(3, READ_WRITE, libc::MAP_PRIVATE, fd).expect("mmap");
    shared.put(PAGE + 1, 7);
    assert_eq!(private.get(PAGE + 1), 7);
    private.put(PAGE + 1, 8);
    assert_eq!(shared.get(PAGE + 1), 7);
    let mut bytes = [0];
    assert_eq!(
        call!(libc::SYS_pread64, fd, bytes.as_mut_ptr(), 1, PAGE + 1),
        Ok(1)
    );
    assert_eq!(bytes, [7]);
    assert_eq!(call!(libc::SYS_pwrite64, fd, [9u8].as_ptr(), 1, 5), Ok(1));
    assert_eq!((shared.get(5), private.get(5)), (9, 9));
    let child = fork(|| {
        shared.put(0, 66);
        private.put(0, 77);
        0
    });
    assert_eq!(wait_exit(child), 0);
    assert_eq!((shared.get(0), private.get(0)), (66, 66));
    assert_eq!(
        call!(libc::SYS_msync, shared.at, shared.len, libc::MS_SYNC),
        Ok(0)
    );
    assert_eq!(
        call!(libc::SYS_msync, 0x1000, PAGE, libc::MS_SYNC),
        Err(libc::ENOMEM)
    );
    // Only what is open for it may be written.
    let path = c"/bin/busybox";
    let fd = call!(libc::SYS_open, path.as_ptr(), libc::O_RDONLY).expect("open") as i32;
    assert_eq!(
        Region::of(1, READ_WRITE, libc::MAP_SHARED, fd).err(),
        Some(libc::EACCES)
    );
    let constant = Region::of(1, libc::PROT_READ, libc::MAP_SHARED, fd).expect("mmap");
    assert_eq!(constant.get(1), b'E');
    assert_eq!(
        call!(libc::SYS_mprotect, constant.at, PAGE, READ_WRITE),
        Err(libc::EACCES)
    );
    let [from, _to] = sys::pipe();
    assert_eq!(
        Region::of(1, libc::PROT_READ, libc::MAP_SHARED, from).err(),
        Some(libc::ENODEV)
    );
}

fn beyond_end() {
    let fd = memory_file(PAGE + 100);
    let region = Region::of(4, READ_WRITE, libc::MAP_SHARED, fd).expect("mmap");
    assert_eq!(region.get(PAGE + 200), 0);
    assert_eq!(dies(|| touched(region.get(2 * PAGE))), libc::SIGBUS);
    call!(libc::SYS_ftruncate, fd, 3 * PAGE).expect("ftruncate");
    assert_eq!(region.get(2 * PAGE), 0);
    region.put(2 * PAGE, 3);
    call!(libc::SYS_ftruncate, fd, PAGE).expect("ftruncate");
    assert_eq!(dies(|| touched(region.get(2 * PAGE))), libc::SIGBUS);
    // The kernel meets the same end.
    let [_from, to] = sys::pipe();
    assert_eq!(
        call!(libc::SYS_write, to, region.at + 3 * PAGE as u64, 8),
        Err(libc::EFAULT)
    );
}

fn brk() {
    let end = call!(libc::SYS_brk, 0).expect("brk");
    assert_eq!(
        call!(libc::SYS_brk, end + 10 * PAGE as u64),
        Ok(end + 10 * PAGE as u64)
    );
    // SAFETY: the heap was just extended to here.
    unsafe { ((end + 5 * PAGE as u64) as *mut u8).write_volatile(4) };
    assert_eq!(call!(libc::SYS_brk, end), Ok(end));
    assert_eq!(call!(libc::SYS_brk, u64::MAX), Ok(end));
    assert_eq!(call!(libc::SYS_brk, 1), Ok(end));
}

fn stack_grows() {
    #[inline(never)]
    fn deeper(level: u32) -> u64 {
        let room = std::hint::black_box([u64::from(level); 500]);
        if level == 0 {
            0
        } else {
            deeper(level - 1) + room[7] - u64::from(level)
        }
    }
    // Four of the eight MiB.
    let child = fork(|| deeper(1000) as i32);
    assert_eq!(wait_exit(child), 0);
}

fn advice() {
    let region = Region::private(8);
    region.put(3 * PAGE, 1);
    let mut there = [9u8; 8];
    call!(libc::SYS_mincore, region.at, region.len, there.as_mut_ptr()).expect("mincore");
    assert_eq!(there, [0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(
        call!(libc::SYS_madvise, region.at, PAGE, 999),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_madvise, region.at + 1, PAGE, 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_mincore, 0x1000, PAGE, there.as_mut_ptr()),
        Err(libc::ENOMEM)
    );
    for advice in [libc::MADV_WILLNEED, libc::MADV_SEQUENTIAL, libc::MADV_FREE] {
        assert_eq!(
            call!(libc::SYS_madvise, region.at, region.len, advice),
            Ok(0)
        );
    }
}

fn faults_together() {
    let region = Region::shared(256);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let region = &region;
            scope.spawn(move || {
                for page in 0..256 {
                    region.put(page * PAGE + thread, thread as u8 + 1);
                }
            });
        }
    });
    for page in 0..256 {
        for thread in 0..4 {
            assert_eq!(region.get(page * PAGE + thread), thread as u8 + 1);
        }
    }
    // Mapping and unmapping beside each other.
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for round in 0..100u8 {
                    let own = Region::private(8);
                    (0..8).for_each(|page| own.put(page * PAGE, thread ^ round));
                    assert!((0..8).all(|page| own.get(page * PAGE) == thread ^ round));
                }
            });
        }
    });
}

fn copy_chain() {
    let region = Region::private(16);
    (0..16).for_each(|page| region.put(page * PAGE, 1));
    fn descend(region: &Region, depth: u8) -> i32 {
        if depth == 12 {
            return 0;
        }
        region.put(usize::from(depth) * PAGE, depth + 100);
        let child = fork(|| descend(region, depth + 1));
        let result = wait_exit(child);
        let holds = (0..16).all(|page| {
            let expected = if page <= depth { page + 100 } else { 1 };
            region.get(usize::from(page) * PAGE) == expected
        });
        result + i32::from(!holds)
    }
    assert_eq!(descend(&region, 0), 0);
}
