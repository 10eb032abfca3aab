//! One CPU's queue: what waits for the CPU, what runs on it, and the choice
//! between them.

use indexed_heap::{IndexedHeap, Key};

use crate::entity::scale;
use crate::slots::{NO_SLOT, Slot, Slots, Waiting};
use crate::{
    CpuLoad, Entity, LATENCY, LEAD_MAX, PERIOD_RESERVED, RESERVABLE, SLEEPER_CREDIT, SLICE_MAX,
    SLICE_MIN, SLICE_RESERVED, WAKE_MARGIN, WHOLE_CPU,
};

/// How many waiting threads [`RunQueue::steal`] looks at.
const STEAL_TRIES: usize = 32;

/// Whether the running thread should make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// Yes: call [`RunQueue::pick`] soon.
    Now,
    /// Not yet: call [`RunQueue::tick`] at this time, or never.
    Later(Option<u64>),
}

/// A virtual time as a key.
#[derive(Clone, Copy, Debug)]
struct Virtual(u64);

impl Key for Virtual {
    #[inline]
    fn precedes(self, other: Self) -> bool {
        precedes(self.0, other.0)
    }
}

/// The thread on the CPU.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// Time up to which it has been charged.
    since: u64,
    slice_start: u64,
    /// Virtual time at `since`.
    vruntime: u64,
    weight_factor: u64,
    weight: u32,
    /// It runs because it was behind its reservation.
    due: bool,
    /// The slice then, in ns.
    reserved_slice: u64,
    limited: bool,
}

impl Running {
    /// Virtual time now.
    #[inline]
    fn vruntime_at(&self, now: u64) -> u64 {
        self.vruntime
            .wrapping_add(scale(now.saturating_sub(self.since), self.weight_factor))
    }
}

/// A thread that was taken from another CPU's queue, on its way.
#[derive(Debug)]
pub struct Stolen<Id> {
    /// The thread.
    pub id: Id,
    lag: i64,
    reservation: u32,
}

/// One CPU's queue. `Id` names a thread; it is handed back, never looked at.
#[derive(Debug)]
pub struct RunQueue<Id> {
    cpu: u32,
    slots: Slots<Id>,
    /// Those that may run, by virtual time.
    ready: IndexedHeap<Virtual>,
    /// Of those, the ones with a reservation, by when they are due.
    reserved: IndexedHeap<u64>,
    /// Those whose limit makes them wait, by until when.
    throttled: IndexedHeap<u64>,
    running: Option<Running>,
    /// What [`RunQueue::pick`] found out for [`RunQueue::start`].
    picked: (u64, bool),
    /// Virtual time: no thread that stays runnable falls behind it for long.
    virtual_time: u64,
    /// Weights of `ready` and of the running thread.
    weight: u64,
    /// Sum of the reservations granted here, in parts per million.
    granted: u32,
}

impl<Id> RunQueue<Id> {
    /// The queue of CPU `cpu`, with room for `threads` to wait.
    #[must_use]
    pub fn new(cpu: u32, threads: usize) -> Self {
        let mut queue = Self::without_room(cpu);
        queue.reserve(threads);
        queue
    }

    /// The queue of CPU `cpu`, which allocates when the first thread waits.
    #[must_use]
    pub const fn without_room(cpu: u32) -> Self {
        Self {
            cpu,
            slots: Slots::new(),
            ready: IndexedHeap::new(),
            reserved: IndexedHeap::new(),
            throttled: IndexedHeap::new(),
            running: None,
            picked: (0, false),
            virtual_time: 0,
            weight: 0,
            granted: 0,
        }
    }

    /// Makes room for `threads` to wait. Called where threads are created, it
    /// keeps all other calls from allocating.
    pub fn reserve(&mut self, threads: usize) {
        self.slots.reserve(threads);
        let capacity = self.slots.capacity();
        self.ready.reserve(capacity);
        self.reserved.reserve(capacity);
        self.throttled.reserve(capacity);
    }

    /// Adds a thread that was asleep or is new, and waits nowhere. `yielding`
    /// says that the running thread is about to sleep, so that preempting it
    /// gains nothing.
    #[inline(always)]
    pub fn wake(&mut self, id: Id, entity: &mut Entity, now: u64, yielding: bool) -> Preempt {
        debug_assert!(!entity.is_queued(), "a thread that waits was woken");
        entity.forget_credit(now);
        self.catch_up(now);
        if entity.queue != self.cpu {
            let lag = entity.vruntime.wrapping_sub(entity.left_at);
            entity.vruntime = self.virtual_time.wrapping_add(lag);
            entity.queue = self.cpu;
            entity.came_at = now;
        }
        entity.vruntime = self.bounded(entity.vruntime);
        self.insert(id, entity, now);
        self.preempt(entity, now, yielding)
    }

    /// Chooses the thread to run next and takes it from the queue; none if
    /// the CPU is to idle until [`RunQueue::next_event`]. [`RunQueue::start`]
    /// must follow for the thread named.
    #[inline(always)]
    pub fn pick(&mut self, now: u64) -> Option<Id> {
        if !self.throttled.is_empty() {
            self.release(now);
        }
        let (slot, due) = match self.reserved.top() {
            Some((at, slot)) if at <= now => {
                self.reserved.pop();
                self.ready.remove(slot);
                (slot, true)
            }
            other => {
                let (_, slot) = self.ready.pop()?;
                if other.is_some() {
                    self.reserved.remove(slot);
                }
                (slot, false)
            }
        };
        let waiting = self.slots.remove(slot)?;
        self.weight -= u64::from(waiting.weight);
        self.picked = (waiting.vruntime, due);
        Some(waiting.id)
    }

    /// Puts the thread that [`RunQueue::pick`] named on the CPU. Says when to
    /// call [`RunQueue::tick`], if ever.
    #[inline(always)]
    pub fn start(&mut self, entity: &mut Entity, now: u64) -> Option<u64> {
        let (vruntime, due) = self.picked;
        entity.slot = NO_SLOT;
        entity.vruntime = vruntime;
        if !due && precedes(self.virtual_time, vruntime) {
            self.virtual_time = vruntime;
        }
        self.weight += u64::from(entity.params().weight);
        self.running = Some(Running {
            since: now,
            slice_start: now,
            vruntime,
            weight_factor: entity.weight_factor,
            weight: entity.params().weight,
            due,
            reserved_slice: if due {
                reserved_slice(entity.params().reservation)
            } else {
                0
            },
            limited: entity.is_limited(),
        });
        self.next_event()
    }

    /// Leaves the thread that [`RunQueue::pick`] named off the CPU, instead of
    /// [`RunQueue::start`]: it may not run here any more. It waits nowhere then.
    pub fn decline(&mut self, entity: &mut Entity) {
        entity.slot = NO_SLOT;
        entity.vruntime = self.picked.0;
        entity.left_at = self.virtual_time;
        entity.queue = self.cpu;
    }

    /// Takes note that the entitlement of the running thread, charged just
    /// before, has changed.
    pub fn refresh(&mut self, entity: &Entity) {
        let Some(running) = &mut self.running else {
            return;
        };
        let weight = entity.params().weight;
        self.weight = self.weight - u64::from(running.weight) + u64::from(weight);
        running.weight = weight;
        running.weight_factor = entity.weight_factor;
        running.limited = entity.is_limited();
        running.due &= entity.is_reserved();
    }

    /// Charges the running thread for the time up to `now`; returns that time.
    #[inline(always)]
    pub fn charge(&mut self, entity: &mut Entity, now: u64) -> u64 {
        let Some(running) = &mut self.running else {
            return 0;
        };
        let ns = now.saturating_sub(running.since);
        entity.advance(ns, now);
        if running.due {
            let most = self.virtual_time.wrapping_add(LEAD_MAX);
            if precedes(most, entity.vruntime) {
                entity.vruntime = most;
            }
        }
        running.since = now;
        running.vruntime = entity.vruntime;
        let vruntime = entity.vruntime;
        self.move_on(vruntime);
        ns
    }

    /// Moves virtual time to the least of all, the running thread having
    /// `vruntime`.
    #[inline(always)]
    fn move_on(&mut self, vruntime: u64) {
        let mut least = vruntime;
        if let Some((Virtual(top), _)) = self.ready.top()
            && precedes(top, least)
        {
            least = top;
        }
        if precedes(self.virtual_time, least) {
            self.virtual_time = least;
        }
    }

    /// As far as the running thread has come by now, which may be alone and
    /// uncharged for long.
    #[inline(always)]
    fn catch_up(&mut self, now: u64) {
        if let Some(running) = &self.running {
            let vruntime = running.vruntime_at(now);
            self.move_on(vruntime);
        }
    }

    /// Where the queue is, for threads that come from another or go there: at
    /// the running thread, as one that waits cannot be behind the least of
    /// those that wait, and what it is owed would be lost on the way.
    fn reference(&self, now: u64) -> u64 {
        match &self.running {
            Some(running) if !running.due => running.vruntime_at(now),
            _ => self.virtual_time,
        }
    }

    /// Puts the running thread, charged, back into the queue.
    #[inline]
    pub fn requeue(&mut self, id: Id, entity: &mut Entity, now: u64) {
        self.stop();
        self.insert(id, entity, now);
    }

    /// As [`RunQueue::requeue`], behind whoever is next: sched_yield(2).
    pub fn requeue_behind(&mut self, id: Id, entity: &mut Entity, now: u64) {
        if let Some((Virtual(top), _)) = self.ready.top()
            && !precedes(top, entity.vruntime)
        {
            entity.vruntime = top.wrapping_add(1);
        }
        self.requeue(id, entity, now);
    }

    /// Takes the running thread, charged, off the CPU to sleep or to end.
    #[inline(always)]
    pub fn block(&mut self, entity: &mut Entity) {
        self.stop();
        entity.left_at = self.virtual_time;
        entity.queue = self.cpu;
    }

    #[inline(always)]
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.weight -= u64::from(running.weight);
        }
    }

    /// Takes a waiting thread out: to change its entitlement, move or end it.
    /// None if it does not wait here.
    pub fn remove(&mut self, entity: &mut Entity, now: u64) -> Option<Id> {
        self.catch_up(now);
        let waiting = self.take(entity.slot)?;
        entity.slot = NO_SLOT;
        entity.vruntime = waiting.vruntime;
        entity.left_at = self.virtual_time;
        Some(waiting.id)
    }

    /// To be called when a time named by [`Preempt::Later`],
    /// [`RunQueue::start`] or [`RunQueue::next_event`] has come; at other
    /// times it does no harm.
    pub fn tick(&mut self, now: u64) -> Preempt {
        self.release(now);
        let Some(running) = self.running else {
            let nobody = self.ready.is_empty();
            return if nobody {
                Preempt::Later(self.next_event())
            } else {
                Preempt::Now
            };
        };
        if !running.due && self.reserved.top().is_some_and(|(at, _)| at <= now) {
            return Preempt::Now;
        }
        if now.saturating_sub(running.slice_start) >= self.slice(&running) {
            let own = running.vruntime_at(now);
            let behind = self
                .ready
                .top()
                .is_some_and(|(other, _)| precedes(other.0, own));
            if running.limited || running.due || behind {
                return Preempt::Now;
            }
            self.running = Some(Running {
                slice_start: now,
                ..running
            });
        }
        Preempt::Later(self.next_event())
    }

    /// When [`RunQueue::tick`] next has something to decide, if ever: no
    /// timer is needed for a thread alone on its CPU.
    #[must_use]
    #[inline(always)]
    pub fn next_event(&self) -> Option<u64> {
        let Some(running) = &self.running else {
            return self.throttled.top().map(|(at, _)| at);
        };
        let mut event = u64::MAX;
        if !self.ready.is_empty() || running.limited {
            event = running.slice_start.saturating_add(self.slice(running));
        }
        if let Some((at, _)) = self.reserved.top()
            && !running.due
        {
            event = event.min(at);
        }
        if let Some((at, _)) = self.throttled.top() {
            event = event.min(at);
        }
        (event != u64::MAX).then_some(event)
    }

    /// The length of a slice with as many as there are now.
    #[inline(always)]
    fn slice(&self, running: &Running) -> u64 {
        if running.due {
            return running.reserved_slice;
        }
        match self.ready.len() {
            0 | 1 => SLICE_MAX,
            waiting => (LATENCY / (waiting as u64 + 1)).clamp(SLICE_MIN, SLICE_MAX),
        }
    }

    /// Takes a waiting thread for another CPU: one of at most `max_weight`,
    /// whose reservation fits into `room`, and that `may_move`. Of several the
    /// one that has been here longest, so that moving goes around.
    /// [`RunQueue::arrive`] of the other queue must follow.
    pub fn steal(
        &mut self,
        max_weight: u64,
        room: u32,
        now: u64,
        mut may_move: impl FnMut(&Id) -> bool,
    ) -> Option<Stolen<Id>> {
        let mut fits = |waiting: &Waiting<Id>| {
            u64::from(waiting.weight) <= max_weight
                && waiting.reservation <= room
                && may_move(&waiting.id)
        };
        let (_, slot) = self
            .ready
            .slots()
            .rev()
            .take(STEAL_TRIES)
            .filter_map(|slot| Some((self.slots.get(slot)?, slot)))
            .filter(|(waiting, _)| fits(waiting))
            .map(|(waiting, slot)| (waiting.came_at, slot))
            .min_by_key(|(came_at, _)| *came_at)?;
        self.catch_up(now);
        let waiting = self.take(slot)?;
        self.granted -= waiting.reservation.min(self.granted);
        Some(Stolen {
            id: waiting.id,
            lag: waiting.vruntime.wrapping_sub(self.reference(now)) as i64,
            reservation: waiting.reservation,
        })
    }

    /// Adds a thread that was taken from another CPU's queue.
    pub fn arrive(&mut self, stolen: Stolen<Id>, entity: &mut Entity, now: u64) -> Preempt {
        self.granted += stolen.reservation;
        entity.queue = self.cpu;
        entity.came_at = now;
        self.catch_up(now);
        let lag = stolen.lag.clamp(-2 * SLICE_MAX as i64, LEAD_MAX as i64);
        entity.vruntime = self.reference(now).wrapping_add_signed(lag);
        self.insert(stolen.id, entity, now);
        self.preempt(entity, now, false)
    }

    /// Grants a reservation on this CPU, if there is room for it.
    #[must_use]
    pub fn grant(&mut self, reservation: u32) -> bool {
        let fits = reservation <= RESERVABLE.saturating_sub(self.granted);
        if fits {
            self.granted += reservation;
        }
        fits
    }

    /// Takes back what [`RunQueue::grant`] granted.
    pub fn revoke(&mut self, reservation: u32) {
        self.granted = self.granted.saturating_sub(reservation);
    }

    /// What [`crate::placement`] and [`crate::balance`] need to know.
    #[must_use]
    #[inline(always)]
    pub fn load(&self) -> CpuLoad {
        let running = u32::from(self.running.is_some());
        CpuLoad {
            weight: self.weight,
            runnable: self.ready.len() as u32 + running,
            waiting: self.ready.len() as u32,
            granted: self.granted,
        }
    }

    /// Whether no thread is on the CPU.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// A virtual time within the bounds that sleep and moving allow.
    #[inline(always)]
    fn bounded(&self, vruntime: u64) -> u64 {
        let lag = vruntime.wrapping_sub(self.virtual_time) as i64;
        self.virtual_time
            .wrapping_add_signed(lag.clamp(-(SLEEPER_CREDIT as i64), LEAD_MAX as i64))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.reserve(self.slots.capacity() * 2 + 8);
    }

    #[inline(always)]
    fn insert(&mut self, id: Id, entity: &mut Entity, now: u64) {
        if self.slots.is_full() {
            self.grow();
        }
        let params = entity.params();
        let weight = params.weight;
        let slot = self.slots.insert(Waiting {
            id,
            weight,
            reservation: params.reservation,
            vruntime: entity.vruntime,
            reserve_at: entity.reserve_at,
            came_at: entity.came_at,
        });
        entity.slot = slot;
        if entity.is_throttled(now) {
            self.throttled.push(entity.limit_at, slot);
            return;
        }
        self.weight += u64::from(weight);
        self.ready.push(Virtual(entity.vruntime), slot);
        if entity.is_reserved() {
            self.reserved.push(entity.reserve_at, slot);
        }
    }

    /// Takes a thread out of wherever it waits.
    fn take(&mut self, slot: Slot) -> Option<Waiting<Id>> {
        let waiting = self.slots.remove(slot)?;
        if self.ready.remove(slot).is_some() {
            self.weight -= u64::from(waiting.weight);
            self.reserved.remove(slot);
        } else {
            self.throttled.remove(slot);
        }
        Some(waiting)
    }

    /// Lets those run whose limit allows it again.
    #[cold]
    #[inline(never)]
    fn release(&mut self, now: u64) {
        if self.throttled.top().is_some_and(|(at, _)| at <= now) {
            self.catch_up(now);
        }
        while let Some((_, slot)) = self.throttled.top().filter(|(at, _)| *at <= now) {
            self.throttled.pop();
            let Some(waiting) = self.slots.get(slot) else {
                continue;
            };
            let vruntime = self.bounded(waiting.vruntime);
            let (weight, reservation) = (waiting.weight, waiting.reservation);
            let reserve_at = waiting.reserve_at.max(now);
            self.slots.set_vruntime(slot, vruntime);
            self.weight += u64::from(weight);
            self.ready.push(Virtual(vruntime), slot);
            if reservation != 0 {
                self.reserved.push(reserve_at, slot);
            }
        }
    }

    #[inline(always)]
    fn preempt(&self, entity: &Entity, now: u64, yielding: bool) -> Preempt {
        let Some(running) = &self.running else {
            return Preempt::Now;
        };
        if !running.due && !entity.is_throttled(now) {
            if entity.is_due(now) {
                return Preempt::Now;
            }
            let margin = || scale(WAKE_MARGIN, entity.weight_factor);
            let behind = || {
                precedes(
                    entity.vruntime.wrapping_add(margin()),
                    running.vruntime_at(now),
                )
            };
            if !yielding && behind() {
                return Preempt::Now;
            }
        }
        Preempt::Later(self.next_event())
    }
}

/// The slice of a thread that is behind a reservation of so many parts per
/// million.
fn reserved_slice(reservation: u32) -> u64 {
    let slice = PERIOD_RESERVED * u64::from(reservation) / u64::from(WHOLE_CPU);
    slice.clamp(SLICE_RESERVED / 20, SLICE_RESERVED)
}

/// Order of virtual times, which wrap.
#[inline]
const fn precedes(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}
