//! Signals: handlers and their stacks, masks, restarts, queues, groups.

use crate::sys::{self, Region, action, fork, handle, signal_set, wait_exit};
use crate::{Check, call};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

pub const CHECKS: &[Check] = &[
    ("signal_handler_gets_its_arguments", arguments),
    ("signal_runs_on_its_stack", own_stack),
    ("signal_masks_and_pending", masks),
    ("signal_nested_and_masked_in_handlers", nested),
    ("signal_real_time_ones_queue", queue),
    ("signal_restart_or_not", restart),
    ("signal_child", child_signal),
    ("signal_groups", groups),
    ("signal_suspend_and_wait", suspend),
    ("signal_timed_wait_of_ignored", wait_ignored),
    ("signal_faults", faults),
    ("signal_fault_in_handler_kills", fault_in_handler),
    ("signal_bad_stack_kills", bad_stack),
    ("signal_sleep_survives_stop", sleep_survives_stop),
    ("signal_stop_storm", stop_storm),
    ("signal_timers", timers),
    ("signal_errors", errors),
    ("signal_bad_return", bad_return),
    ("signal_storm", storm),
];

static COUNT: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);
static PLACE: AtomicU64 = AtomicU64::new(0);

type Info = *mut libc::siginfo_t;
type Frame = *mut libc::c_void;

fn field(info: Info, at: usize) -> u64 {
    // SAFETY: the kernel passes 128 bytes.
    unsafe { info.cast::<u8>().add(at).cast::<u64>().read_unaligned() }
}

extern "C" fn note(signal: i32, info: Info, _: Frame) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    LAST.store(signal, Ordering::SeqCst);
    VALUE.store(field(info, 16), Ordering::SeqCst);
    PLACE.store(&raw const signal as u64, Ordering::SeqCst);
}

fn raise(signal: i32) {
    call!(libc::SYS_tgkill, sys::getpid(), sys::gettid(), signal).expect("tgkill");
}

fn arguments() {
    handle(libc::SIGUSR1, note, 0);
    sys::kill(sys::getpid(), libc::SIGUSR1);
    assert_eq!(COUNT.load(Ordering::SeqCst), 1);
    assert_eq!(LAST.load(Ordering::SeqCst), libc::SIGUSR1);
    // Who sent it: pid and uid.
    assert_eq!(VALUE.load(Ordering::SeqCst) as u32 as i32, sys::getpid());
    handle(libc::SIGUSR2, note, libc::SA_RESETHAND);
    raise(libc::SIGUSR2);
    let mut now = [0u64; 4];
    call!(
        libc::SYS_rt_sigaction,
        libc::SIGUSR2,
        0,
        now.as_mut_ptr(),
        8
    )
    .expect("sigaction");
    assert_eq!(now[0], 0);
}

fn own_stack() {
    let stack = Region::private(8);
    let words = [stack.at, 0, stack.len as u64];
    call!(libc::SYS_sigaltstack, words.as_ptr(), 0).expect("sigaltstack");
    handle(libc::SIGUSR1, note, libc::SA_ONSTACK);
    handle(libc::SIGUSR2, note, 0);
    let inside = || {
        let place = PLACE.load(Ordering::SeqCst);
        place > stack.at && place < stack.at + stack.len as u64
    };
    raise(libc::SIGUSR1);
    assert!(inside(), "not on its stack");
    raise(libc::SIGUSR2);
    assert!(!inside(), "on another's stack");
    let mut now = [0u64; 3];
    call!(libc::SYS_sigaltstack, 0, now.as_mut_ptr()).expect("sigaltstack");
    assert_eq!(
        (now[0], now[1] as u32, now[2]),
        (stack.at, 0, stack.len as u64)
    );
    let small = [stack.at, 0, 100];
    assert_eq!(
        call!(libc::SYS_sigaltstack, small.as_ptr(), 0),
        Err(libc::ENOMEM)
    );
    let wrong = [stack.at, 77, 8192];
    assert_eq!(
        call!(libc::SYS_sigaltstack, wrong.as_ptr(), 0),
        Err(libc::EINVAL)
    );
    let off = [0u64, 2, 0];
    call!(libc::SYS_sigaltstack, off.as_ptr(), 0).expect("sigaltstack");
}

fn pending() -> u64 {
    let mut set = 0u64;
    call!(libc::SYS_rt_sigpending, &raw mut set, 8).expect("sigpending");
    set
}

fn masks() {
    handle(libc::SIGUSR1, note, 0);
    let set = signal_set(&[libc::SIGUSR1]);
    sys::block(&set);
    for _ in 0..3 {
        sys::kill(sys::getpid(), libc::SIGUSR1);
    }
    assert_eq!(
        (COUNT.load(Ordering::SeqCst), pending()),
        (0, 1 << (libc::SIGUSR1 - 1))
    );
    sys::unblock(&set);
    assert_eq!((COUNT.load(Ordering::SeqCst), pending()), (1, 0));
    // SIGKILL and SIGSTOP are never blocked.
    let all = u64::MAX;
    let mut before = 0u64;
    call!(
        libc::SYS_rt_sigprocmask,
        libc::SIG_SETMASK,
        &raw const all,
        0,
        8
    )
    .expect("mask");
    call!(libc::SYS_rt_sigprocmask, 0, 0, &raw mut before, 8).expect("mask");
    assert_eq!(before, all & !(1 << 8 | 1 << 18));
    // What is ignored does not wait.
    sys::kill(sys::getpid(), libc::SIGUSR1);
    action(libc::SIGUSR1, libc::SIG_IGN, 0, &[]);
    assert_eq!(pending(), 0);
}

fn nested() {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    static DEEPEST: AtomicU32 = AtomicU32::new(0);
    extern "C" fn deeper(signal: i32, _: Info, _: Frame) {
        let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
        DEEPEST.fetch_max(depth, Ordering::SeqCst);
        if COUNT.fetch_add(1, Ordering::SeqCst) < 5 {
            raise(signal);
        }
        DEPTH.fetch_sub(1, Ordering::SeqCst);
    }
    handle(libc::SIGUSR1, deeper, 0);
    raise(libc::SIGUSR1);
    assert_eq!(
        (COUNT.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (6, 1)
    );
    COUNT.store(0, Ordering::SeqCst);
    handle(libc::SIGUSR1, deeper, libc::SA_NODEFER);
    raise(libc::SIGUSR1);
    assert_eq!(
        (COUNT.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (6, 6)
    );
    // A handler's own mask.
    extern "C" fn outer(_: i32, _: Info, _: Frame) {
        raise(libc::SIGUSR2);
        LAST.store(COUNT.load(Ordering::SeqCst) as i32, Ordering::SeqCst);
    }
    COUNT.store(0, Ordering::SeqCst);
    handle(libc::SIGUSR2, deeper_once, 0);
    extern "C" fn deeper_once(_: i32, _: Info, _: Frame) {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
    action(
        libc::SIGUSR1,
        outer as *const () as usize,
        libc::SA_SIGINFO,
        &[libc::SIGUSR2],
    );
    raise(libc::SIGUSR1);
    assert_eq!(
        (LAST.load(Ordering::SeqCst), COUNT.load(Ordering::SeqCst)),
        (0, 1)
    );
}

fn queue() {
    static SUM: AtomicU64 = AtomicU64::new(0);
    extern "C" fn add(_: i32, info: Info, _: Frame) {
        let value = field(info, 24);
        SUM.store(SUM.load(Ordering::SeqCst) * 10 + value, Ordering::SeqCst);
    }
    let signal = libc::SIGRTMIN() + 3;
    handle(signal, add, 0);
    let set = signal_set(&[signal]);
    sys::block(&set);
    for value in 1..=5u64 {
        let mut info = [0u64; 16];
        info[0] = signal as u64;
        info[1] = libc::SI_QUEUE as u32 as u64;
        info[2] = sys::getpid() as u64;
        info[3] = value;
        call!(
            libc::SYS_rt_sigqueueinfo,
            sys::getpid(),
            signal,
            info.as_ptr()
        )
        .expect("queue");
    }
    sys::unblock(&set);
    assert_eq!(SUM.load(Ordering::SeqCst), 12345);
    // Nobody may pretend to be the kernel.
    let info = [0u64; 16];
    assert_eq!(
        call!(libc::SYS_rt_sigqueueinfo, 1, signal, info.as_ptr()),
        Err(libc::EPERM)
    );
}

/// A child that sends `signal` when this thread is likely to wait, until killed.
fn pester(signal: i32) -> i32 {
    let target = sys::getpid();
    fork(|| {
        loop {
            sys::sleep_ms(5);
            sys::kill(target, signal);
        }
    })
}

fn restart() {
    let ends = sys::pipe();
    handle(libc::SIGUSR1, note, 0);
    let pest = pester(libc::SIGUSR1);
    assert_eq!(sys::read(ends[0], &mut [0]), Err(libc::EINTR));
    handle(libc::SIGUSR1, note, libc::SA_RESTART);
    let count = COUNT.load(Ordering::SeqCst);
    let writer = fork(|| {
        sys::sleep_ms(50);
        let _ = sys::write(ends[1], b"x");
        0
    });
    assert_eq!(sys::read(ends[0], &mut [0]), Ok(1));
    assert!(COUNT.load(Ordering::SeqCst) > count);
    // Sleeping and polling are never restarted.
    let time = [5u64, 0];
    let mut rest = [0u64; 2];
    assert_eq!(
        call!(libc::SYS_nanosleep, time.as_ptr(), rest.as_mut_ptr()),
        Err(libc::EINTR)
    );
    assert!(rest[0] == 4 && rest[1] > 0, "{rest:?}");
    assert_eq!(call!(libc::SYS_poll, 0, 0, 5000), Err(libc::EINTR));
    assert_eq!(call!(libc::SYS_pause), Err(libc::EINTR));
    sys::kill(pest, libc::SIGKILL);
    sys::wait(pest);
    assert_eq!(wait_exit(writer), 0);
}

fn child_signal() {
    static PID: AtomicU64 = AtomicU64::new(0);
    static CODE: AtomicU64 = AtomicU64::new(0);
    extern "C" fn noted(_: i32, info: Info, _: Frame) {
        CODE.store(field(info, 8), Ordering::SeqCst);
        PID.store(field(info, 16), Ordering::SeqCst);
        VALUE.store(field(info, 24), Ordering::SeqCst);
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
    handle(libc::SIGCHLD, noted, 0);
    let child = fork(|| 9);
    while COUNT.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(PID.load(Ordering::SeqCst) as u32 as i32, child);
    assert_eq!(CODE.load(Ordering::SeqCst) as u32 as i32, libc::CLD_EXITED);
    assert_eq!(VALUE.load(Ordering::SeqCst) as u32, 9);
    assert_eq!(wait_exit(child), 9);
}

fn groups() {
    let ready = sys::pipe();
    let leader = fork(|| {
        sys::setpgid(0, 0);
        for _ in 0..3 {
            fork(|| {
                let _ = sys::write(ready[1], b"r");
                loop {
                    let _ = call!(libc::SYS_pause);
                }
            });
        }
        let _ = sys::write(ready[1], b"r");
        // Every child dies of the signal, and so does this one.
        loop {
            let _ = call!(libc::SYS_pause);
        }
    });
    let mut count = 0;
    while count < 4 {
        count += sys::read(ready[0], &mut [0; 4]).expect("read");
    }
    assert_eq!(call!(libc::SYS_kill, -leader, libc::SIGTERM), Ok(0));
    let status = sys::wait(leader);
    assert_eq!(libc::WTERMSIG(status), libc::SIGTERM);
    assert_eq!(call!(libc::SYS_kill, 1 << 22, 0), Err(libc::ESRCH));
}

fn suspend() {
    handle(libc::SIGUSR1, note, 0);
    let set = signal_set(&[libc::SIGUSR1]);
    sys::block(&set);
    sys::kill(sys::getpid(), libc::SIGUSR1);
    let none = 0u64;
    assert_eq!(
        call!(libc::SYS_rt_sigsuspend, &raw const none, 8),
        Err(libc::EINTR)
    );
    assert_eq!(COUNT.load(Ordering::SeqCst), 1);
    // Blocked again afterwards.
    sys::kill(sys::getpid(), libc::SIGUSR1);
    assert_eq!(COUNT.load(Ordering::SeqCst), 1);
    let mut info = [0u32; 32];
    let time = [5u64, 0];
    let taken = call!(
        libc::SYS_rt_sigtimedwait,
        &raw const set,
        info.as_mut_ptr(),
        time.as_ptr(),
        8
    );
    assert_eq!(taken, Ok(libc::SIGUSR1 as u64));
    assert_eq!(
        (info[0] as i32, info[4] as i32),
        (libc::SIGUSR1, sys::getpid())
    );
    let time = [0u64, 1_000_000];
    let late = call!(
        libc::SYS_rt_sigtimedwait,
        &raw const set,
        0,
        time.as_ptr(),
        8
    );
    assert_eq!(late, Err(libc::EAGAIN));
    // ppoll lets it through for the time of the call.
    sys::kill(sys::getpid(), libc::SIGUSR1);
    let polled = call!(libc::SYS_ppoll, 0, 0, 0, &raw const none, 8);
    assert_eq!(
        (polled, COUNT.load(Ordering::SeqCst)),
        (Err(libc::EINTR), 2)
    );
}

/// A signal that is ignored by default, but blocked and waited for, comes.
fn wait_ignored() {
    let set = signal_set(&[libc::SIGCHLD]);
    sys::block(&set);
    for delay in 0..10 {
        let child = fork(|| {
            sys::sleep_ms(delay);
            0
        });
        let time = [10u64, 0];
        let taken = call!(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            0,
            time.as_ptr(),
            8
        );
        assert_eq!(taken, Ok(libc::SIGCHLD as u64));
        wait_exit(child);
    }
}

fn dies_of(main: impl FnOnce()) -> i32 {
    let status = sys::crash(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            action(signal, libc::SIG_DFL, 0, &[]);
        }
        main();
    });
    assert!(libc::WIFSIGNALED(status), "status {status:#x}");
    libc::WTERMSIG(status)
}

fn touch(address: u64) {
    // SAFETY: the process that calls this is to die of it, or handles it.
    unsafe { (address as *mut u8).write_volatile(1) };
}

fn faults() {
    assert_eq!(dies_of(|| touch(16)), libc::SIGSEGV);
    assert_eq!(dies_of(|| touch(1 << 63)), libc::SIGSEGV);
    let constant = Region::new(1, libc::PROT_READ, libc::MAP_PRIVATE);
    assert_eq!(dies_of(|| touch(constant.at)), libc::SIGSEGV);
    // SAFETY: the process is to die.
    assert_eq!(dies_of(|| unsafe { std::arch::asm!("ud2") }), libc::SIGILL);
    // SAFETY: the process is to die.
    assert_eq!(dies_of(|| unsafe { std::arch::asm!("hlt") }), libc::SIGSEGV);
    // SAFETY: the process is to die.
    assert_eq!(
        // SAFETY: the process is to die.
        dies_of(|| unsafe { std::arch::asm!("int3") }),
        libc::SIGTRAP
    );
    // SAFETY: the process is to die.
    let divide = || unsafe {
        std::arch::asm!("xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    };
    assert_eq!(dies_of(divide), libc::SIGFPE);
    // A jump to nowhere.
    // SAFETY: the process is to die.
    let jump = || unsafe { std::arch::asm!("mov rax, 0x800000000000", "jmp rax", out("rax") _) };
    assert_eq!(dies_of(jump), libc::SIGSEGV);
    // A handler learns the address and may put it right.
    extern "C" fn repair(_: i32, info: Info, _: Frame) {
        let address = field(info, 16);
        PLACE.store(address, Ordering::SeqCst);
        VALUE.store(field(info, 8), Ordering::SeqCst);
        let page = address & !(sys::PAGE as u64 - 1);
        let _ = call!(libc::SYS_mprotect, page, sys::PAGE, sys::READ_WRITE);
    }
    handle(libc::SIGSEGV, repair, 0);
    touch(constant.at + 5);
    assert_eq!(PLACE.load(Ordering::SeqCst), constant.at + 5);
    assert_eq!(VALUE.load(Ordering::SeqCst) as u32, 2, "SEGV_ACCERR");
    assert_eq!(constant.get(5), 1);
}

fn fault_in_handler() {
    extern "C" fn worse(_: i32, _: Info, _: Frame) {
        touch(16);
    }
    let signal = dies_of(|| {
        handle(libc::SIGSEGV, worse, 0);
        touch(32);
    });
    assert_eq!(signal, libc::SIGSEGV);
    // A blocked fault kills as well.
    let signal = dies_of(|| {
        handle(libc::SIGSEGV, worse, 0);
        sys::block(&signal_set(&[libc::SIGSEGV]));
        touch(16);
    });
    assert_eq!(signal, libc::SIGSEGV);
}

fn bad_stack() {
    for base in [4096u64, 0x7fff_ffff_0000, 1 << 63, u64::MAX - 4095] {
        let status = sys::crash(|| {
            let words = [base, 0, 1 << 16];
            let _ = call!(libc::SYS_sigaltstack, words.as_ptr(), 0);
            handle(libc::SIGUSR1, note, libc::SA_ONSTACK);
            raise(libc::SIGUSR1);
        });
        assert_eq!(
            libc::WTERMSIG(status),
            libc::SIGSEGV,
            "{base:#x}: {status:#x}"
        );
    }
}

/// A stop is no reason to return early.
fn sleep_survives_stop() {
    let child = fork(|| {
        let start = sys::now_ms();
        let time = [0u64, 300_000_000];
        let slept = call!(libc::SYS_nanosleep, time.as_ptr(), 0);
        let polled = call!(libc::SYS_poll, 0, 0, 200);
        i32::from(slept != Ok(0) || polled != Ok(0) || sys::now_ms() - start < 499)
    });
    for _ in 0..5 {
        sys::sleep_ms(40);
        sys::kill(child, libc::SIGSTOP);
        sys::sleep_ms(10);
        sys::kill(child, libc::SIGCONT);
    }
    assert_eq!(wait_exit(child), 0);
}

/// However stops and continues fall, the last one counts.
fn stop_storm() {
    let counter = Region::shared(1);
    let child = fork(|| {
        loop {
            counter.word(0).fetch_add(1, Ordering::SeqCst);
            let _ = call!(libc::SYS_getppid);
        }
    });
    for _ in 0..3000 {
        sys::kill(child, libc::SIGSTOP);
        sys::kill(child, libc::SIGCONT);
    }
    let before = counter.word(0).load(Ordering::SeqCst);
    let start = sys::now_ms();
    while counter.word(0).load(Ordering::SeqCst) == before {
        assert!(sys::now_ms() - start < 20_000, "it stays stopped");
        std::thread::yield_now();
    }
    sys::kill(child, libc::SIGKILL);
    sys::wait(child);
}

fn timers() {
    handle(libc::SIGALRM, note, 0);
    let every = [0u64, 5_000, 0, 5_000];
    call!(libc::SYS_setitimer, 0, every.as_ptr(), 0).expect("setitimer");
    while COUNT.load(Ordering::SeqCst) < 10 {
        let _ = call!(libc::SYS_pause);
    }
    let mut left = [0u64; 4];
    call!(libc::SYS_getitimer, 0, left.as_mut_ptr()).expect("getitimer");
    assert!(
        left[1] == 5_000 && left[3] > 0 && left[3] <= 5_000,
        "{left:?}"
    );
    let off = [0u64; 4];
    call!(libc::SYS_setitimer, 0, off.as_ptr(), 0).expect("setitimer");
    let count = COUNT.load(Ordering::SeqCst);
    sys::sleep_ms(20);
    assert_eq!(COUNT.load(Ordering::SeqCst), count);
    assert_eq!(call!(libc::SYS_alarm, 100), Ok(0));
    assert_eq!(call!(libc::SYS_alarm, 0), Ok(100));
    let wrong = [0u64, 1_000_000, 0, 0];
    assert_eq!(
        call!(libc::SYS_setitimer, 0, wrong.as_ptr(), 0),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_getitimer, 7, left.as_mut_ptr()),
        Err(libc::EINVAL)
    );
}

fn errors() {
    let action = [0u64; 4];
    for signal in [0, 65, -1, libc::SIGKILL, libc::SIGSTOP] {
        let result = call!(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0, 8);
        assert_eq!(result, Err(libc::EINVAL), "signal {signal}");
    }
    assert_eq!(
        call!(libc::SYS_rt_sigaction, 10, 0, 0, 4),
        Err(libc::EINVAL)
    );
    assert_eq!(
        call!(libc::SYS_rt_sigprocmask, 9, action.as_ptr(), 0, 8),
        Err(libc::EINVAL)
    );
    assert_eq!(call!(libc::SYS_kill, sys::getpid(), 65), Err(libc::EINVAL));
}

/// Frames that a program made up: it may die, and nothing else.
fn bad_return() {
    let mut numbers = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..200u64 {
        let status = sys::crash(|| {
            for signal in 1..32 {
                if ![9, 19].contains(&signal) {
                    action(signal, libc::SIG_DFL, 0, &[]);
                }
            }
            let region = Region::private(4);
            for at in 0..2048 {
                numbers ^= numbers << 13;
                numbers ^= numbers >> 7;
                numbers ^= numbers << 17;
                let word = match (round + at) % 5 {
                    0 => numbers,
                    1 => 1 << 47,
                    2 => u64::MAX,
                    3 => region.at + (numbers & 0xfff),
                    _ => 0,
                };
                // SAFETY: inside the region.
                unsafe { ((region.at + at * 8) as *mut u64).write_volatile(word) };
            }
            let stack = region.at + (round % 64) * 8;
            // SAFETY: the process does not go on from here.
            unsafe {
                std::arch::asm!(
                    "mov rsp, {stack}",
                    "mov eax, 15",
                    "syscall",
                    "ud2",
                    stack = in(reg) stack,
                    options(noreturn)
                );
            }
        });
        assert!(
            libc::WIFSIGNALED(status) || libc::WIFEXITED(status),
            "{status:#x}"
        );
    }
}

/// Threads that signal each other from all sides.
fn storm() {
    handle(libc::SIGUSR1, note, libc::SA_RESTART);
    let own = sys::getpid();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    sys::kill(own, libc::SIGUSR1);
                    let _ = call!(libc::SYS_getppid);
                }
            });
        }
    });
    assert!(COUNT.load(Ordering::SeqCst) > 0);
}
