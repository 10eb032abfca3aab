//! System calls with as little in between as possible.

use std::io::Error;
use std::mem::zeroed;
use std::ptr::null_mut;

/// Calls the kernel: what it returns, or the errno.
pub fn call(number: i64, args: [u64; 6]) -> Result<u64, i32> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the callers pass addresses that the call may use as it does, or
    // such as no memory is at.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        Err(errno())
    } else {
        Ok(result as u64)
    }
}

/// `call!(libc::SYS_x, arguments...)`, missing arguments being 0.
#[macro_export]
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        let given = [$($argument as u64),*];
        let mut all = [0u64; 6];
        all[..given.len()].copy_from_slice(&given);
        $crate::sys::call($number, all)
    }};
}

pub fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Forks; the child ends with what `main` returns. Returns the child's number.
pub fn fork(main: impl FnOnce() -> i32) -> i32 {
    use std::io::Write;
    let _ = std::io::stdout().flush();
    // SAFETY: callers with other threads only do in the child what is safe then.
    match unsafe { libc::fork() } {
        0 => {
            let code = main();
            let _ = std::io::stdout().flush();
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
        child => {
            assert!(child > 0, "fork: {}", Error::last_os_error());
            child
        }
    }
}

pub fn setpgid(pid: i32, group: i32) {
    let _ = call!(libc::SYS_setpgid, pid, group);
}

pub fn kill(pid: i32, signal: i32) {
    let _ = call!(libc::SYS_kill, pid, signal);
}

/// Waits for a child's end; its status.
pub fn wait(child: i32) -> i32 {
    wait_with(child, 0).1
}

/// wait4(2), repeated when interrupted.
pub fn wait_with(child: i32, options: i32) -> (i32, i32) {
    let mut status = 0i32;
    loop {
        match call!(libc::SYS_wait4, child, &raw mut status, options) {
            Ok(pid) => return (pid as i32, status),
            Err(libc::EINTR) => {}
            Err(error) => panic!("wait4({child}): errno {error}"),
        }
    }
}

/// The exit status of a child that must have ended by itself.
pub fn wait_exit(child: i32) -> i32 {
    let status = wait(child);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

/// Waits for a child's end with SIGCHLD, which is in `set`, blocked.
pub fn wait_timeout(child: i32, seconds: i64, set: &libc::sigset_t) -> Option<i32> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds as u64);
    loop {
        let mut status = 0i32;
        if call!(libc::SYS_wait4, child, &raw mut status, libc::WNOHANG) == Ok(child as u64) {
            return Some(status);
        }
        let left = deadline.checked_duration_since(std::time::Instant::now())?;
        let timeout = [left.as_secs(), u64::from(left.subsec_nanos())];
        let _ = call!(
            libc::SYS_rt_sigtimedwait,
            set as *const _,
            0,
            timeout.as_ptr(),
            8
        );
    }
}

/// Reaps whatever has ended.
pub fn reap_all() {
    while call!(libc::SYS_wait4, -1i64, 0, libc::WNOHANG).is_ok_and(|pid| pid > 0) {}
}

pub fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: plain data, set up by sigemptyset.
    unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

pub fn block(set: &libc::sigset_t) {
    // SAFETY: the set is complete.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, null_mut()) };
}

pub fn unblock(set: &libc::sigset_t) {
    // SAFETY: the set is complete.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set, null_mut()) };
}

/// A handler of three arguments.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Sets a signal's action; `handler` may be `SIG_IGN` or `SIG_DFL`.
pub fn action(signal: i32, handler: usize, flags: i32, mask: &[i32]) {
    // SAFETY: the handlers of these checks only use what signal handlers may.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        action.sa_mask = signal_set(mask);
        assert_eq!(
            libc::sigaction(signal, &raw const action, null_mut()),
            0,
            "sigaction"
        );
    }
}

pub fn handle(signal: i32, handler: Handler, flags: i32) {
    action(
        signal,
        handler as *const () as usize,
        flags | libc::SA_SIGINFO,
        &[],
    );
}

/// A pipe: where to read and where to write.
pub fn pipe() -> [i32; 2] {
    let mut ends = [0i32; 2];
    call!(libc::SYS_pipe2, ends.as_mut_ptr(), 0).expect("pipe2");
    ends
}

pub fn close(fd: i32) {
    call!(libc::SYS_close, fd).expect("close");
}

pub fn write(fd: i32, bytes: &[u8]) -> Result<u64, i32> {
    call!(libc::SYS_write, fd, bytes.as_ptr(), bytes.len())
}

pub fn read(fd: i32, bytes: &mut [u8]) -> Result<u64, i32> {
    call!(libc::SYS_read, fd, bytes.as_mut_ptr(), bytes.len())
}

/// Everything up to the end.
pub fn read_all(fd: i32) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match read(fd, &mut piece) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&piece[..count as usize]),
            Err(libc::EINTR) => {}
            Err(error) => panic!("read: errno {error}"),
        }
    }
}

pub fn gettid() -> i32 {
    call!(libc::SYS_gettid).expect("gettid") as i32
}

pub fn getpid() -> i32 {
    call!(libc::SYS_getpid).expect("getpid") as i32
}

/// Private anonymous memory, unmapped at the end.
pub struct Region {
    pub at: u64,
    pub len: usize,
}

pub const PAGE: usize = 4096;
pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Region {
    pub fn new(pages: usize, prot: i32, flags: i32) -> Self {
        Self::of(pages, prot, flags | libc::MAP_ANONYMOUS, -1).expect("mmap")
    }

    pub fn of(pages: usize, prot: i32, flags: i32, fd: i32) -> Result<Self, i32> {
        let len = pages * PAGE;
        let at = call!(libc::SYS_mmap, 0, len, prot, flags, fd, 0)?;
        Ok(Self { at, len })
    }

    pub fn private(pages: usize) -> Self {
        Self::new(pages, READ_WRITE, libc::MAP_PRIVATE)
    }

    pub fn shared(pages: usize) -> Self {
        Self::new(pages, READ_WRITE, libc::MAP_SHARED)
    }

    pub fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.len);
        // SAFETY: inside the mapping.
        unsafe { ((self.at + offset as u64) as *const u8).read_volatile() }
    }

    pub fn put(&self, offset: usize, value: u8) {
        assert!(offset < self.len);
        // SAFETY: inside the mapping.
        unsafe { ((self.at + offset as u64) as *mut u8).write_volatile(value) };
    }

    /// A word that several processes or threads use.
    pub fn word(&self, index: usize) -> &std::sync::atomic::AtomicU32 {
        assert!((index + 1) * 4 <= self.len);
        // SAFETY: inside the mapping, aligned, and only used atomically.
        unsafe { &*((self.at + 4 * index as u64) as *const std::sync::atomic::AtomicU32) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_munmap, self.at, self.len);
    }
}

/// An address below which a page is readable, and at which nothing is.
pub struct Edge(Region);

impl Edge {
    pub fn new() -> Self {
        let region = Region::private(2);
        call!(libc::SYS_munmap, region.at + PAGE as u64, PAGE).expect("munmap");
        Self(Region {
            at: region.at,
            len: {
                std::mem::forget(region);
                PAGE
            },
        })
    }

    /// The address of the last `len` bytes that exist.
    pub fn before(&self, len: usize) -> u64 {
        self.0.at + (PAGE - len) as u64
    }
}

/// The status with which the child ended that runs `main`: for what must crash.
pub fn crash(main: impl FnOnce()) -> i32 {
    wait(fork(|| {
        main();
        0
    }))
}

/// This program.
pub fn own_path() -> String {
    std::fs::read_link("/proc/self/exe")
        .expect("/proc/self/exe")
        .to_string_lossy()
        .into_owned()
}

/// A folder of one's own.
pub fn folder(name: &str) -> String {
    let path = format!("/tmp/user_worlds.{name}.{}", getpid());
    std::fs::create_dir_all(&path).expect("mkdir");
    path
}

/// Milliseconds since some time.
pub fn now_ms() -> u64 {
    let mut time = [0u64; 2];
    call!(
        libc::SYS_clock_gettime,
        libc::CLOCK_MONOTONIC,
        time.as_mut_ptr()
    )
    .expect("clock");
    time[0] * 1000 + time[1] / 1_000_000
}

pub fn sleep_ms(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}
