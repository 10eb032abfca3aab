//! The shared half of a LAPIC: [`Posted`]. Any CPU adds an interrupt or an
//! event here without a lock; the vCPU's own thread takes them.
//!
//! # Ordering
//!
//! One word, `state`, holds the pending bits *and* where the vCPU is (in the
//! guest, blocked, or in the kernel). All decisions are read-modify-writes of
//! that one word, and a single atomic has one modification order that every
//! CPU agrees on. So no store-then-load argument between two words is needed:
//!
//! - *No lost wake-up.* A poster sets a pending bit and in the same operation
//!   learns the place. The owner sets its place and in the same operation
//!   learns the pending bits. Whichever comes second in the order sees the
//!   other: either the owner refuses to enter (or to block), or the poster is
//!   told to kick. An owner in the kernel needs no kick: it must pass
//!   [`Posted::enter`] or [`Posted::block`] before it can stop looking.
//!   The owner calls `enter` with interrupts of the CPU held off up to the
//!   world switch, so that a kick that arrives in between is still pending
//!   there and ends the guest's run at once.
//! - *One kick for many.* Only the poster that turns the pending part from
//!   zero to non-zero kicks: between that and the owner's `take` nothing
//!   clears it, and the kick is on its way.
//! - *No lost vector.* A vector's bit is set before `VECTORS` (release), and
//!   the owner clears `VECTORS` (acquire) before it takes the bits. If the
//!   poster's `VECTORS` came before that clearing, its bit is visible to the
//!   taking; if after, `VECTORS` stays set for the next round.
//! - *Coalescing.* A poster that finds the vector's bit already set stops:
//!   the one that set it either has raised `VECTORS` or is about to, and the
//!   owner takes both as one, as an IRR bit does.
//! - *Trigger mode.* The level bit is written before the vector's bit
//!   (release), so who takes the vector sees the trigger mode that belongs to
//!   it. Two senders that disagree about one vector at the same moment get one
//!   of the two, as on the bus.

use crate::message::{Message, Mode};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a poster must do for the target to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kick {
    /// Nothing: it is in the kernel, or was told already.
    None,
    /// It runs the guest: interrupt its CPU.
    Interrupt,
    /// Its thread sleeps in halt: wake it.
    Wake,
}

/// What was pending for a vCPU, as [`Posted::take`] returns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u32);

impl Events {
    /// Vectors wait to be taken in by [`crate::Lapic::merge`].
    pub const VECTORS: Self = Self(1);
    /// A non-maskable interrupt.
    pub const NMI: Self = Self(1 << 1);
    /// A system management interrupt.
    pub const SMI: Self = Self(1 << 2);
    /// INIT: handled before a start-up that is pending too.
    pub const INIT: Self = Self(1 << 3);
    /// Start-up; the page is [`Events::startup_page`].
    pub const STARTUP: Self = Self(1 << 4);
    /// The 8259A's output may have changed: look at it again.
    pub const EXTINT: Self = Self(1 << 5);
    /// Requests of the kernel that have nothing to do with interrupts.
    pub const REQUESTS: u32 = 12;

    const PAGE_SHIFT: u32 = 8;
    const PAGE: u32 = 0xff << Self::PAGE_SHIFT;
    const REQUEST_SHIFT: u32 = 16;
    const PENDING: u32 = 0x3f | ((1 << Self::REQUESTS) - 1) << Self::REQUEST_SHIFT;

    /// The kernel's own request number `n` (below [`Events::REQUESTS`]), for
    /// a flush of nested translations and the like.
    #[inline]
    pub const fn request(n: u32) -> Self {
        Self(1 << Self::REQUEST_SHIFT << (n % Self::REQUESTS))
    }

    /// Nothing at all was pending.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 & Self::PENDING == 0
    }

    /// One of `other` was pending.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 & Self::PENDING != 0
    }

    /// Start address of a [`Events::STARTUP`], in pages.
    #[inline]
    pub const fn startup_page(self) -> u8 {
        (self.0 >> Self::PAGE_SHIFT) as u8
    }
}

impl core::ops::BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const IN_GUEST: u32 = 1 << 30;
const BLOCKED: u32 = 1 << 31;

/// Interrupts and events that wait for one vCPU.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Posted {
    state: AtomicU32,
    vectors: [AtomicU64; 4],
    levels: [AtomicU64; 4],
}

impl Posted {
    /// Nothing pending, vCPU in the kernel.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            vectors: [const { AtomicU64::new(0) }; 4],
            levels: [const { AtomicU64::new(0) }; 4],
        }
    }

    /// Posts `vector`. `None` if it was pending already (coalesced).
    #[inline]
    pub fn post_vector(&self, vector: u8, level: bool) -> Option<Kick> {
        let word = usize::from(vector >> 6);
        let bit = 1u64 << (vector & 63);
        if level {
            self.levels[word].fetch_or(bit, Ordering::Relaxed);
        } else if self.levels[word].load(Ordering::Relaxed) & bit != 0 {
            self.levels[word].fetch_and(!bit, Ordering::Relaxed);
        }
        if self.vectors[word].fetch_or(bit, Ordering::Release) & bit != 0 {
            return None;
        }
        Some(self.post(Events::VECTORS))
    }

    /// Posts events other than vectors and start-up.
    #[inline]
    pub fn post(&self, events: Events) -> Kick {
        let bits = events.0 & Events::PENDING;
        Self::kick(self.state.fetch_or(bits, Ordering::AcqRel))
    }

    /// Posts INIT. It cancels a start-up that was not taken yet.
    pub fn post_init(&self) -> Kick {
        self.replace(Events::STARTUP.0 | Events::PAGE, Events::INIT.0)
    }

    /// Posts start-up at `page << 12`. Whether the vCPU waits for it is the
    /// owner's to know.
    pub fn post_startup(&self, page: u8) -> Kick {
        let new = Events::STARTUP.0 | u32::from(page) << Events::PAGE_SHIFT;
        self.replace(Events::PAGE, new)
    }

    /// Posts what `message` asks of this vCPU, which is one of its
    /// destinations. `None`: coalesced, or nothing to deliver.
    #[inline]
    pub fn deliver(&self, message: &Message) -> Option<Kick> {
        match message.mode {
            Mode::Fixed | Mode::LowestPriority => self.post_vector(message.vector, message.level),
            Mode::Nmi => Some(self.post(Events::NMI)),
            Mode::Smi => Some(self.post(Events::SMI)),
            Mode::Init => Some(self.post_init()),
            Mode::Startup => Some(self.post_startup(message.vector)),
            Mode::ExtInt => Some(self.post(Events::EXTINT)),
            Mode::Reserved => None,
        }
    }

    /// Owner: whether there is anything to take. One load.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.state.load(Ordering::Relaxed) & Events::PENDING == 0
    }

    /// Owner: takes all events. Vectors stay until [`Posted::take_word`].
    #[inline]
    pub fn take(&self) -> Events {
        Events(self.state.fetch_and(IN_GUEST | BLOCKED, Ordering::AcqRel))
    }

    /// Owner: declares that the guest runs from now on. `false`: something is
    /// pending, take it first; the vCPU stays in the kernel.
    #[inline]
    pub fn enter(&self) -> bool {
        self.occupy(IN_GUEST)
    }

    /// Owner: back from the guest.
    #[inline]
    pub fn leave(&self) {
        self.state.fetch_and(!IN_GUEST, Ordering::Relaxed);
    }

    /// Owner: declares that its thread sleeps until woken. `false`: something
    /// is pending, do not sleep.
    #[inline]
    pub fn block(&self) -> bool {
        self.occupy(BLOCKED)
    }

    /// Owner: awake again.
    #[inline]
    pub fn unblock(&self) {
        self.state.fetch_and(!BLOCKED, Ordering::Relaxed);
    }

    /// Owner: takes vectors `64 * word ..` as a bit set, with the bit set of
    /// those that are level-triggered.
    #[inline]
    pub(crate) fn take_word(&self, word: usize) -> (u64, u64) {
        if self.vectors[word].load(Ordering::Relaxed) == 0 {
            return (0, 0);
        }
        let vectors = self.vectors[word].swap(0, Ordering::Acquire);
        (vectors, self.levels[word].load(Ordering::Relaxed) & vectors)
    }

    /// Owner: forgets vectors and events, for a reset or a restored state.
    pub fn clear(&self) {
        self.state.fetch_and(IN_GUEST | BLOCKED, Ordering::AcqRel);
        for word in &self.vectors {
            word.store(0, Ordering::Relaxed);
        }
    }

    fn occupy(&self, place: u32) -> bool {
        let old = self.state.fetch_or(place, Ordering::AcqRel);
        if old & Events::PENDING == 0 {
            return true;
        }
        self.state.fetch_and(!place, Ordering::Relaxed);
        false
    }

    fn replace(&self, clear: u32, set: u32) -> Kick {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let new = old & !clear | set;
            match self
                .state
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Self::kick(old),
                Err(seen) => old = seen,
            }
        }
    }

    #[inline]
    fn kick(old: u32) -> Kick {
        if old & (IN_GUEST | BLOCKED) == 0 || old & Events::PENDING != 0 {
            Kick::None
        } else if old & IN_GUEST != 0 {
            Kick::Interrupt
        } else {
            Kick::Wake
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn first_poster_kicks_a_running_target_and_only_once() {
        let posted = Posted::new();
        assert!(posted.enter());
        assert_eq!(posted.post_vector(0x40, false), Some(Kick::Interrupt));
        assert_eq!(posted.post_vector(0x41, false), Some(Kick::None));
        assert_eq!(posted.post_vector(0x41, false), None);
        posted.leave();
        assert!(posted.take().contains(Events::VECTORS));
        assert_eq!(posted.take_word(1), (3, 0));
        assert_eq!(posted.take_word(1), (0, 0));
    }

    #[test]
    fn sleeper_is_woken_and_a_vcpu_in_the_kernel_is_left_alone() {
        let posted = Posted::new();
        assert_eq!(posted.post(Events::NMI), Kick::None);
        assert!(!posted.block());
        assert!(posted.take().contains(Events::NMI));
        assert!(posted.block());
        assert_eq!(posted.post(Events::request(11)), Kick::Wake);
        posted.unblock();
        assert!(posted.take().contains(Events::request(11)));
    }

    #[test]
    fn pending_event_refuses_entry() {
        let posted = Posted::new();
        let _ = posted.post(Events::EXTINT);
        assert!(!posted.enter());
        assert_eq!(posted.post(Events::EXTINT), Kick::None);
        assert!(posted.take().contains(Events::EXTINT));
        assert!(posted.enter());
    }

    #[test]
    fn init_cancels_startup_and_the_last_startup_page_counts() {
        let posted = Posted::new();
        let _ = posted.post_startup(0x9f);
        let _ = posted.post_init();
        let events = posted.take();
        assert!(events.contains(Events::INIT));
        assert!(!events.contains(Events::STARTUP));
        let _ = posted.post_startup(0x9f);
        let _ = posted.post_startup(0x08);
        assert_eq!(posted.take().startup_page(), 0x08);
        assert!(posted.take().is_empty());
    }

    #[test]
    fn trigger_mode_follows_the_last_sender() {
        let posted = Posted::new();
        let _ = posted.post_vector(0xff, true);
        assert_eq!(posted.take_word(3), (1 << 63, 1 << 63));
        let _ = posted.post_vector(0xff, false);
        assert_eq!(posted.take_word(3), (1 << 63, 0));
    }

    /// Posters run against an owner that enters, sleeps and takes; each vector
    /// is posted once and must come out once, without the owner ever resting
    /// on a missed kick.
    #[test]
    fn no_vector_is_lost_between_threads() {
        let posted = Arc::new(Posted::new());
        let kicked = Arc::new(AtomicBool::new(false));
        let posters: std::vec::Vec<_> = (0..4u8)
            .map(|word| {
                let (posted, kicked) = (posted.clone(), kicked.clone());
                thread::spawn(move || {
                    for vector in word * 64..=word * 64 + 63 {
                        match posted.post_vector(vector, false) {
                            Some(Kick::Interrupt | Kick::Wake) => {
                                kicked.store(true, Ordering::Release);
                            }
                            Some(Kick::None) => {}
                            None => panic!("vector {vector} was posted once only"),
                        }
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 256 {
            if posted.enter() {
                while !kicked.swap(false, Ordering::AcqRel) {
                    core::hint::spin_loop();
                }
                posted.leave();
            }
            if posted.take().contains(Events::VECTORS) {
                seen += (0..4)
                    .map(|word| posted.take_word(word).0.count_ones())
                    .sum::<u32>();
            }
        }
        for poster in posters {
            poster.join().expect("invariant: posters do not panic");
        }
        assert_eq!(seen, 256);
    }
}
