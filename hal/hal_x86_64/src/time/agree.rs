//! Whether the time stamp counters of the CPUs agree: each CPU asks the first
//! one for its counter when it starts, while that one waits for it anyway.

use super::{raw_tsc, source, tsc_hz};
use crate::cpu::{self, this_cpu};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use timekeeping::{Agreement, OffsetCheck};

/// Questions that a CPU asks, if it has the time.
const ROUNDS: u32 = 40;
/// Questions that it asks in any case.
const LEAST: u32 = 4;
/// The part of a second that it has for more: on a busy emulator each may take long.
const TIME: u64 = 500;
/// In place of a question: the counters disagree.
const DISAGREE: u32 = u32::MAX;
/// How long an answer is waited for, in turns of a loop: seconds.
const PATIENCE: u32 = 200_000_000;

static QUESTION: AtomicU32 = AtomicU32::new(0);
static ANSWERED: AtomicU32 = AtomicU32::new(0);
static ANSWER: AtomicU64 = AtomicU64::new(0);

/// On the first CPU, while it waits for another one to start.
pub(crate) fn answer() {
    let question = QUESTION.load(Ordering::Acquire);
    if question == ANSWERED.load(Ordering::Relaxed) {
        return;
    }
    if question == DISAGREE {
        source::disagree();
    }
    ANSWER.store(raw_tsc(), Ordering::Release);
    ANSWERED.store(question, Ordering::Release);
}

/// On a starting CPU, before it reads the clock: compares its counter with the
/// first CPU's, and corrects it or has another clock taken.
pub(crate) fn check_with_first() {
    let mut check = OffsetCheck::new();
    let (start, time) = (raw_tsc(), tsc_hz() / TIME);
    for round in 0..ROUNDS {
        let asked = raw_tsc();
        let Some(answer) = ask(false) else { break };
        let received = raw_tsc();
        check.add(asked, answer, received);
        if round + 1 >= LEAST && received.wrapping_sub(start) > time {
            break;
        }
    }
    match check.agreement() {
        Agreement::Equal(error) => source::note(error, false),
        Agreement::Shifted { offset, error } => {
            this_cpu().tsc_offset.store(offset, Ordering::Release);
            source::note(error, true);
        }
        Agreement::Unstable | Agreement::Unknown => {
            ask(true);
        }
    }
}

/// Asks, and waits for the answer. One CPU does so at a time.
fn ask(is_disagreement: bool) -> Option<u64> {
    let last = ANSWERED.load(Ordering::Acquire);
    let next = last.wrapping_add(1) % DISAGREE;
    let question = if is_disagreement { DISAGREE } else { next };
    QUESTION.store(question, Ordering::Release);
    for _ in 0..PATIENCE {
        if ANSWERED.load(Ordering::Acquire) == question {
            return Some(ANSWER.load(Ordering::Acquire));
        }
        cpu::relax();
    }
    None
}
