//! Translations that one CPU changes and others use: a page that was replaced is
//! never seen again, and no two CPUs wait for each other for ever.

use super::program::DATA;
use super::{expect, fail};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use hal::mem::{Account, Flush, Frame, PAGE_SIZE, PageTable, Prot};
use sync::SpinLock;

/// Replacements by each CPU.
const ROUNDS: u32 = 300;

/// What the page of each CPU holds at least.
static PUBLISHED: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Every CPU replaces its own page again and again, and reads those of all.
pub fn run() {
    let cpus = hal::cpu::count();
    expect(cpus > 1, "more than one CPU is needed");
    let Ok(mut table) = PageTable::new(&Account::kernel()) else {
        fail("no memory for a table")
    };
    for cpu in 0..cpus {
        let is_mapped = table.map(page(cpu), frame(0), Prot::READ | Prot::WRITE);
        expect(is_mapped.is_ok(), "the pages can be mapped");
    }
    let table = Arc::new(SpinLock::new(table));
    for cpu in 1..cpus {
        let table = table.clone();
        super::spawn("shootdown", cpu, move || work(&table, cpu, cpus));
    }
    work(&table, 0, cpus);
    while ENDED.load(Ordering::Acquire) < cpus {
        hal::cpu::relax();
    }
}

fn page(cpu: usize) -> u64 {
    DATA + (cpu * PAGE_SIZE) as u64
}

fn frame(value: u32) -> Frame {
    let Ok(frame) = Frame::zeroed(&Account::kernel()) else {
        fail("no memory for a page")
    };
    frame.write_u32(0, value);
    frame
}

fn work(table: &SpinLock<PageTable>, cpu: usize, cpus: usize) {
    let root = table.lock().root().clone();
    hal::task::set_table(Some(&root));
    for value in 1..=ROUNDS {
        let mut flush = Flush::new();
        let mut held = table.lock();
        let replaced = held.replace(
            page(cpu),
            frame(value),
            Prot::READ | Prot::WRITE,
            &mut flush,
        );
        // Half of them wait for the others with the lock held.
        if value % 2 == 0 {
            flush.finish();
            drop(held);
        } else {
            drop(held);
            flush.finish();
        }
        expect(replaced.is_ok(), "a page that is there can be replaced");
        PUBLISHED[cpu].store(value, Ordering::Release);
        for (other, published) in PUBLISHED.iter().enumerate().take(cpus) {
            let least = published.load(Ordering::Acquire);
            let seen = hal::user::load_u32(page(other));
            expect(
                seen.is_ok_and(|seen| seen >= least && seen <= ROUNDS),
                "a page that was replaced is seen again",
            );
        }
    }
    hal::task::set_table(None);
    ENDED.fetch_add(1, Ordering::AcqRel);
}
