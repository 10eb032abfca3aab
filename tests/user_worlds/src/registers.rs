//! Registers: vector state and others, kept across switches, calls and signals.

use crate::sys::{self, fork, handle, wait_exit};
use crate::{Check, call};
use std::arch::asm;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub const CHECKS: &[Check] = &[
    ("registers_vectors_stay_with_their_thread", vectors),
    ("registers_survive_signals", signals),
    ("registers_of_a_child", child),
    ("registers_across_calls", calls),
    ("registers_control_words", control_words),
];

type Wide = [u64; 4];

/// Fills YMM0, YMM7 and YMM15 with `value`, spins or calls, and reads them back.
fn keep(value: &Wide, number: u64) -> [Wide; 3] {
    let mut found = [[0u64; 4]; 3];
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: AVX is there; the addresses are those of the arrays.
        unsafe {
            asm!(
                "vmovdqu ymm0, [{value}]",
                "vmovdqu ymm7, [{value}]",
                "vmovdqu ymm15, [{value}]",
                "mov r8d, 2000",
                "2: dec r8d",
                "jnz 2b",
                "syscall",
                "vmovdqu [{found}], ymm0",
                "vmovdqu [{found} + 32], ymm7",
                "vmovdqu [{found} + 64], ymm15",
                "vzeroupper",
                value = in(reg) value.as_ptr(),
                found = in(reg) found.as_mut_ptr(),
                inlateout("rax") number => _,
                out("rcx") _, out("r11") _, out("r8") _,
                out("ymm0") _, out("ymm7") _, out("ymm15") _,
            );
        }
        found
    } else {
        [*value; 3]
    }
}

fn vectors() {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let stop = &stop;
            scope.spawn(move || {
                for round in 0..300 {
                    let value = [thread << 32 | round, thread, round, !thread];
                    assert_eq!(keep(&value, libc::SYS_sched_yield as u64), [value; 3]);
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    });
    assert!(stop.into_inner());
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn spoil(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    let value = [0xdead; 4];
    let _ = keep(&value, libc::SYS_getppid as u64);
}

fn signals() {
    handle(libc::SIGALRM, spoil, libc::SA_RESTART);
    let every = [0u64, 1_000, 0, 1_000];
    call!(libc::SYS_setitimer, 0, every.as_ptr(), 0).expect("setitimer");
    let mut round = 0u64;
    while HANDLED.load(Ordering::SeqCst) < 100 {
        round += 1;
        let value = [round, !round, 5, 6];
        assert_eq!(keep(&value, libc::SYS_getppid as u64), [value; 3]);
    }
    let off = [0u64; 4];
    call!(libc::SYS_setitimer, 0, off.as_ptr(), 0).expect("setitimer");
}

/// A child has its parent's vectors, and changes only its own.
fn child() {
    for round in 0..20u64 {
        let child = fork(|| {
            let value = [round, 1, 2, 3];
            i32::from(keep(&value, libc::SYS_sched_yield as u64) != [value; 3])
        });
        let value = [round, 9, 8, 7];
        assert_eq!(keep(&value, libc::SYS_sched_yield as u64), [value; 3]);
        assert_eq!(wait_exit(child), 0);
    }
}

/// All but RAX, RCX and R11 are as before a call.
fn calls() {
    let (mut r12, mut r13, mut r14, mut r15) = (12u64, 13u64, 14u64, 15u64);
    let (mut rdi, mut rsi, mut rdx) = (1u64, 2u64, 3u64);
    let (mut r8, mut r9, mut r10) = (8u64, 9u64, 10u64);
    let pid: u64;
    // SAFETY: getpid changes no memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") libc::SYS_getpid as u64 => pid,
            inlateout("rdi") rdi, inlateout("rsi") rsi, inlateout("rdx") rdx,
            inlateout("r8") r8, inlateout("r9") r9, inlateout("r10") r10,
            inlateout("r12") r12, inlateout("r13") r13,
            inlateout("r14") r14, inlateout("r15") r15,
            out("rcx") _, out("r11") _,
        );
    }
    assert_eq!(pid, sys::getpid() as u64);
    assert_eq!([rdi, rsi, rdx, r8, r9, r10], [1, 2, 3, 8, 9, 10]);
    assert_eq!([r12, r13, r14, r15], [12, 13, 14, 15]);
}

/// MXCSR and the x87 control word belong to a thread; a new one inherits them.
fn control_words() {
    fn mxcsr() -> u32 {
        let mut word = 0u32;
        // SAFETY: stores four bytes.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word) };
        word
    }
    assert_eq!(mxcsr() & !0x3f, 0x1f80);
    let rounded = 0x7f80u32;
    // SAFETY: a valid value, set back below.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const rounded) };
    handle(libc::SIGUSR1, spoil, 0);
    sys::kill(sys::getpid(), libc::SIGUSR1);
    std::thread::yield_now();
    let found = mxcsr();
    let usual = 0x1f80u32;
    // SAFETY: the value that it had.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const usual) };
    assert_eq!(found & !0x3f, 0x7f80);
}
