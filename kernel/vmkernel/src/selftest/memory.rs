//! Memory: copies at the edges of pages, what is only to be read, and what happens
//! when all is used up.

use super::program::{DATA, Program};
use super::{expect, fail};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::mem::{Account, Flush, Frame, OutOfMemory, PAGE_SIZE, Prot};
use hal::user::{self, UserFault};

/// A copy that runs into a page that is not there, or not writable, stops at its
/// first byte and has done all before.
pub fn user_copy() {
    let mut program = Program::new(&[0xcc]);
    let end = DATA + PAGE_SIZE as u64;
    let bytes: [u8; 40] = core::array::from_fn(|at| at as u8 + 1);
    for before in 0..24 {
        let start = end - before as u64;
        let clean = user::copy_out(end - 32, &[0; 32]);
        expect(clean.is_ok(), "the end of the page is there");
        expect(
            user::copy_out(start, &bytes) == Err(UserFault { addr: end }),
            "the copy out stops at the page",
        );
        let mut back = [0; 40];
        expect(
            user::copy_in(start, &mut back) == Err(UserFault { addr: end }),
            "the copy in stops at the page",
        );
        expect(
            back[..before] == bytes[..before],
            "what is before the page was copied",
        );
        expect(
            back[before..].iter().all(|&byte| byte == 0),
            "and nothing else",
        );
    }
    expect(user::load_u32(end - 4).is_ok(), "the last word is there");
    expect(
        user::load_u32(end) == Err(UserFault { addr: end }),
        "a word that is not there",
    );
    expect(
        user::compare_exchange_u32(end, 0, 1).is_err(),
        "nor can it be exchanged",
    );
    for wild in [
        0x7fff_ffff_e000,
        0x8000_0000_0000,
        0xffff_8000_0000_0000,
        u64::MAX - 7,
    ] {
        expect(
            user::copy_in(wild, &mut [0; 16]).is_err(),
            "an address of nobody's",
        );
    }
    read_only_page(&mut program, &bytes);
}

fn read_only_page(program: &mut Program, bytes: &[u8]) {
    let mut flush = Flush::new();
    program
        .table
        .protect(DATA..DATA + 4096, Prot::READ, &mut flush);
    flush.finish();
    expect(
        user::copy_out(DATA, bytes) == Err(UserFault { addr: DATA }),
        "a page for reading is not written",
    );
    expect(user::copy_in(DATA, &mut [0; 8]).is_ok(), "but read");
    let mut flush = Flush::new();
    program
        .table
        .protect(DATA..DATA + 4096, Prot::NONE, &mut flush);
    flush.finish();
    expect(
        user::copy_in(DATA, &mut [0; 8]).is_err(),
        "a page for nothing is not read",
    );
}

/// Frames of the boot archive are never writable, whatever is asked.
pub fn boot_frames() {
    let Some(frame) = hal::mem::boot_frame(0) else {
        fail("no boot archive at a page")
    };
    expect(
        hal::mem::boot_frame(0u64.wrapping_sub(PAGE_SIZE as u64)).is_none(),
        "what is before it is not in it",
    );
    expect(
        hal::mem::boot_frame(1 << 40).is_none(),
        "nor what is behind",
    );
    let mut program = Program::new(&[0xcc]);
    let place = DATA + PAGE_SIZE as u64;
    expect(
        program
            .table
            .map(place, frame, Prot::READ | Prot::WRITE)
            .is_ok(),
        "it can be mapped",
    );
    expect(user::copy_in(place, &mut [0; 8]).is_ok(), "and read");
    expect(user::copy_out(place, &[0; 8]).is_err(), "but not written");
    let mut flush = Flush::new();
    program
        .table
        .protect(place..place + 4096, Prot::READ | Prot::WRITE, &mut flush);
    flush.finish();
    expect(
        user::copy_out(place, &[0; 8]).is_err(),
        "also not when it is asked for later",
    );
}

/// A world that takes all memory is refused at last, and the kernel goes on.
pub fn out_of_memory() {
    let Ok(greedy) = Account::new(u64::MAX) else {
        fail("no account")
    };
    let mut frames = Vec::with_capacity(1 << 20);
    let refused = loop {
        match Frame::alloc(&greedy) {
            Ok(frame) => frames.push(frame),
            Err(OutOfMemory) => break frames.len(),
        }
    };
    expect(
        Frame::alloc_order(3, &greedy).is_err(),
        "nor does it get a large block",
    );
    let free = hal::mem::statistics().free;
    log::info!("{refused} frames given out, {free} left for the kernel");
    expect(free >= 200, "the reserve is there");
    let boxes: Vec<Box<[u8; 1024]>> = (0..500).map(|_| Box::new([1; 1024])).collect();
    expect(
        hal::mem::PageTable::new(&Account::kernel()).is_ok(),
        "the kernel still gets frames",
    );
    drop(boxes);
    // What the kernel took and gave back is not the world's now.
    let crumbs = (0..1000).filter(|_| Frame::alloc(&greedy).is_ok()).count();
    expect(crumbs == 0, "the world gets none of the kernel's");
    frames.truncate(refused / 2);
    expect(
        Frame::alloc(&greedy).is_ok(),
        "with memory given back there is some again",
    );
    expect(greedy.used() == frames.len() as u64, "the account is right");
}

/// Threads come and go, more than are kept; their stacks are used again.
pub fn stacks() {
    const THREADS: u64 = 300;
    static ENDED: AtomicU64 = AtomicU64::new(0);
    let mut left = 0;
    for round in 1..=4 {
        for thread in 0..THREADS {
            let cpu = thread as usize % hal::cpu::count();
            super::spawn("thread", cpu, || {
                // Deep enough to touch most of the stack.
                let room = core::hint::black_box([1u8; 20 << 10]);
                ENDED.fetch_add(u64::from(room[7]), Ordering::AcqRel);
            });
        }
        while ENDED.load(Ordering::Acquire) < round * THREADS {
            hal::cpu::relax();
            sched::yield_now();
        }
        let free = hal::mem::statistics().free;
        expect(
            round < 3 || free + 100 > left,
            "memory gets less with each round",
        );
        left = free;
    }
}
