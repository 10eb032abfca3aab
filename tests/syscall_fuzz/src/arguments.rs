//! What the calls are given: [`Arguments`].

use crate::call;
use crate::numbers::Numbers;

/// Where the calls may do as they like.
pub const FOLDER: &str = "/tmp/syscall_fuzz";

/// Calls that would end the test instead of failing it.
const LEFT_OUT: [i64; 9] = [
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_chroot,
    libc::SYS_mount,
    libc::SYS_umount2,
    // The parent would wait for a child that shares its stack.
    libc::SYS_vfork,
    libc::SYS_exit,
];

/// A child's memory and descriptors.
pub struct Arguments {
    memory: u64,
    fds: Vec<u64>,
}

const PAGE: u64 = 4096;
const PATHS: [&str; 12] = [
    ".",
    "..",
    "a",
    "b",
    "c/d",
    "a/../b",
    "/dev/null",
    "/dev/zero",
    "/proc/self/maps",
    "",
    "/",
    "c",
];

impl Arguments {
    /// Memory of several kinds side by side, and descriptors of all kinds.
    pub fn new(numbers: &mut Numbers) -> Self {
        let memory = call(libc::SYS_mmap, [0, 16 * PAGE, 3, 0x22, u64::MAX, 0]) as u64;
        for at in (0..8 * PAGE).step_by(8) {
            let word = Self::word(memory, numbers);
            // SAFETY: inside the mapping.
            unsafe { ((memory + at) as *mut u64).write_volatile(word) };
        }
        // Paths, each in 64 bytes.
        for (index, path) in PATHS.iter().enumerate() {
            let bytes: Vec<u8> = path.bytes().chain([0]).collect();
            let to = (memory + 64 * index as u64) as *mut u8;
            // SAFETY: inside the mapping.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }
        // One page that is read only, one of nothing, then zeros.
        call(libc::SYS_mprotect, [memory + 12 * PAGE, PAGE, 1, 0, 0, 0]);
        call(libc::SYS_munmap, [memory + 13 * PAGE, PAGE, 0, 0, 0, 0]);
        let scratch = memory + 8 * PAGE;
        let made = [
            (libc::SYS_pipe2, [scratch, 0o4000, 0, 0, 0, 0]),
            (libc::SYS_eventfd2, [0, 0o4000, 0, 0, 0, 0]),
            (libc::SYS_timerfd_create, [1, 0o4000, 0, 0, 0, 0]),
            (libc::SYS_epoll_create1, [0; 6]),
            (libc::SYS_socketpair, [1, 1 | 0o4000, 0, scratch, 0, 0]),
            (libc::SYS_socketpair, [1, 2 | 0o4000, 0, scratch, 0, 0]),
            (libc::SYS_socketpair, [1, 5, 0, scratch, 0, 0]),
            (libc::SYS_socket, [1, 1, 0, 0, 0, 0]),
            (libc::SYS_memfd_create, [memory + 128, 0, 0, 0, 0, 0]),
            (libc::SYS_open, [memory + 128, 0o102, 0o600, 0, 0, 0]),
            (libc::SYS_open, [memory, 0, 0, 0, 0, 0]),
            (libc::SYS_open, [memory + 6 * 64, 2, 0, 0, 0, 0]),
        ];
        for (number, args) in made {
            call(number, args);
        }
        Self {
            memory,
            fds: (0..20).collect(),
        }
    }

    /// Words that structures are made of.
    fn word(memory: u64, numbers: &mut Numbers) -> u64 {
        match numbers.below(8) {
            0 | 1 => 0,
            2 => numbers.below(32),
            3 => memory + numbers.below(16 * PAGE),
            4 => numbers.next(),
            5 => numbers.below(4096) << 32 | numbers.below(4096),
            6 => 1 << numbers.below(64),
            _ => u64::MAX - numbers.below(16),
        }
    }

    /// A call and its arguments.
    pub fn choose(&self, numbers: &mut Numbers) -> (u64, [u64; 6]) {
        let number = loop {
            let number = match numbers.below(50) {
                0 => numbers.next(),
                _ => numbers.below(460),
            };
            if !LEFT_OUT.contains(&(number as i64)) {
                break number;
            }
        };
        let mut args = [0; 6].map(|_: u64| self.argument(numbers));
        // Its own group, itself or nobody: the others have done nothing.
        let is_kill = [libc::SYS_kill, libc::SYS_tkill, libc::SYS_rt_sigqueueinfo];
        if is_kill.contains(&(number as i64)) {
            args[0] = numbers.pick(&[0, u64::from(std::process::id()), 1 << 22]);
        }
        let of_others = [
            libc::SYS_prlimit64,
            libc::SYS_setpriority,
            libc::SYS_setpgid,
        ];
        if of_others.contains(&(number as i64)) {
            args[0] = 0;
        }
        if number as i64 == libc::SYS_tgkill || number as i64 == libc::SYS_rt_tgsigqueueinfo {
            args[0] = u64::from(std::process::id());
        }
        if number as i64 == libc::SYS_clone {
            // No memory shared with a child that would run on the same stack.
            args[0] &= !(libc::CLONE_VM as u64 | libc::CLONE_VFORK as u64);
        }
        (number, args)
    }

    fn argument(&self, numbers: &mut Numbers) -> u64 {
        match numbers.below(16) {
            0 => 0,
            1..=3 => numbers.pick(&self.fds),
            4 => self.memory + 64 * numbers.below(PATHS.len() as u64),
            5 | 6 => self.memory + (numbers.below(16 * PAGE) & !7),
            7 => self.memory + numbers.below(16 * PAGE),
            8 => numbers.below(16) * PAGE,
            9 => numbers.below(256),
            10 => 1 << numbers.below(64),
            11 => numbers.next(),
            12 => numbers.pick(&[
                u64::MAX,
                1 << 63,
                1 << 47,
                0x7fff_ffff_f000,
                0xffff_ffff_8000_0000,
            ]),
            13 => u64::MAX - numbers.below(4096),
            14 => numbers.below(1 << 20),
            _ => -100i64 as u64,
        }
    }
}
