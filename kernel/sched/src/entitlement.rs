//! What a thread is due and where it may run, and changing both.
//!
//! A reservation is granted by one CPU, the thread's *home*, and the thread runs
//! nowhere else while it has one.

use crate::cpu::{self as cpus, CPUS};
use crate::thread::Thread;
use crate::wake;
use alloc::sync::Arc;
use hal::{cpu, time};
use sched_policy::{CpuSet, Params, ParamsError, Preempt, placement};
use sync::SpinLock;

/// One change of reservations or affinity at a time.
static CHANGE: SpinLock<()> = SpinLock::new(());

/// Why a thread cannot have what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntitlementError {
    /// A value out of its range.
    Params(ParamsError),
    /// No allowed CPU has so much unreserved time, in parts per million.
    NoRoom(u32),
}

impl core::fmt::Display for EntitlementError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Params(error) => error.fmt(f),
            Self::NoRoom(ppm) => write!(
                f,
                "a reservation of {ppm} ppm: no allowed CPU has so much left; at most {} of each are given away",
                sched_policy::RESERVABLE
            ),
        }
    }
}

impl From<ParamsError> for EntitlementError {
    fn from(error: ParamsError) -> Self {
        Self::Params(error)
    }
}

impl Thread {
    /// What it is due.
    pub fn params(&self) -> Params {
        *self.entity.lock().params()
    }

    /// Changes what it is due, from now on.
    ///
    /// # Errors
    /// A value out of range, or no room for the reservation; nothing has
    /// changed then.
    pub fn set_params(self: &Arc<Self>, params: Params) -> Result<(), EntitlementError> {
        params.check()?;
        let _change = CHANGE.lock();
        self.reserve(params.reservation, self.allowed())?;
        self.apply(params);
        Ok(())
    }

    /// Changes its share relative to others; the nearest allowed weight is used.
    pub fn set_weight(self: &Arc<Self>, weight: u32) {
        let _change = CHANGE.lock();
        self.apply(Params {
            weight: weight.clamp(1, sched_policy::WEIGHT_MAX),
            ..self.params()
        });
    }

    /// Changes the CPUs it may run on, and moves it if it is elsewhere.
    ///
    /// # Errors
    /// It has a reservation that none of them has room for; nothing has changed
    /// then.
    pub fn set_affinity(self: &Arc<Self>, cpus: u64) -> Result<(), EntitlementError> {
        let change = CHANGE.lock();
        let allowed = CpuSet(cpus);
        if self.home().is_some_and(|home| !allowed.contains(home)) {
            self.reserve(self.params().reservation, allowed)?;
        }
        self.set_allowed(allowed);
        drop(change);
        self.leave_forbidden();
        Ok(())
    }

    /// Gives back what it has reserved, because it ends.
    #[inline]
    pub(crate) fn give_back_reservation(&self) {
        if self.home().is_some() {
            let _change = CHANGE.lock();
            self.revoke();
        }
    }

    fn revoke(&self) {
        let Some(home) = self.home() else { return };
        let cpu = CPUS.get(home);
        let mut local = cpu.local.lock();
        local.queue.revoke(self.params().reservation);
        cpu.publish_always(&local);
        self.set_home(None);
    }

    /// Exchanges its reservation for one of `ppm` on one of `allowed`.
    fn reserve(&self, ppm: u32, allowed: CpuSet) -> Result<(), EntitlementError> {
        let before = self.home();
        self.revoke();
        if ppm == 0 {
            return Ok(());
        }
        let allowed = allowed.and(cpus::online());
        match placement::choose_home(ppm, allowed, |cpu| CPUS.get(cpu).load()) {
            Some(home) => {
                self.grant(home, ppm);
                Ok(())
            }
            None => {
                if let Some(before) = before {
                    self.grant(before, self.params().reservation);
                }
                Err(EntitlementError::NoRoom(ppm))
            }
        }
    }

    fn grant(&self, home: usize, ppm: u32) {
        let cpu = CPUS.get(home);
        let mut local = cpu.local.lock();
        let granted = local.queue.grant(ppm);
        debug_assert!(granted, "there was room, and changes exclude each other");
        cpu.publish_always(&local);
        self.set_home(Some(home));
    }

    /// Changes the account, wherever the thread is.
    fn apply(self: &Arc<Self>, params: Params) {
        const CHECKED: &str = "invariant: the values were checked";
        let now = time::now_ns();
        let (number, cpu, mut guard) = self.lock_cpu();
        let local = &mut *guard;
        let mut entity = self.entity.lock();
        if self.cpu() != number {
            drop((entity, guard));
            return self.apply(params);
        }
        if entity.is_queued() {
            let id = local.queue.remove(&mut entity, now);
            entity.set_params(params, now).expect(CHECKED);
            let preempt = match id {
                Some(id) => local.queue.wake(id, &mut entity, now, false),
                None => Preempt::Later(None),
            };
            drop(entity);
            wake::act_on(cpu, number, guard, preempt);
        } else if local.runs(self) {
            local.queue.charge(&mut entity, now);
            entity.set_params(params, now).expect(CHECKED);
            local.queue.refresh(&entity);
            cpu.publish(local);
            drop((entity, guard));
            // It may have to move, to wait or to be timed.
            cpu::set_need_resched(number);
        } else {
            entity.set_params(params, now).expect(CHECKED);
        }
    }

    /// Moves it, now or soon, if it runs or waits where it must not.
    fn leave_forbidden(self: &Arc<Self>) {
        let (number, cpu, mut guard) = self.lock_cpu();
        if self.may_run_on(number) {
            return;
        }
        let local = &mut *guard;
        let mut entity = self.entity.lock();
        if self.cpu() != number {
            drop((entity, guard));
            return self.leave_forbidden();
        }
        if local.runs(self) {
            drop((entity, guard));
            cpu::set_need_resched(number);
        } else if entity.is_queued() && self.task().is_parked() {
            let removed = local.queue.remove(&mut entity, time::now_ns());
            drop(entity);
            cpu.publish(local);
            drop(guard);
            if let Some(thread) = removed {
                wake::enqueue(&thread);
            }
        }
        // One that is still leaving the CPU is moved when it is chosen; one that
        // sleeps is queued elsewhere when it wakes.
    }

    /// Locks the CPU that it was on last when asked; it may have moved since.
    fn lock_cpu(&self) -> (usize, &'static cpus::Cpu, cpus::LocalGuard) {
        let number = self.cpu();
        let cpu = CPUS.get(number);
        (number, cpu, cpu.local.lock())
    }

    /// Time it has spent running, in nanoseconds, up to now.
    pub fn run_ns(&self) -> u64 {
        let (number, _, mut guard) = self.lock_cpu();
        let local = &mut *guard;
        let mut entity = self.entity.lock();
        if self.cpu() == number && local.runs(self) {
            local.queue.charge(&mut entity, time::now_ns());
        }
        entity.used()
    }
}

impl cpus::Local {
    /// Whether `thread` is on this CPU, in the books.
    fn runs(&self, thread: &Thread) -> bool {
        let is_current = self
            .current
            .as_ref()
            .is_some_and(|current| core::ptr::eq(&**current, thread));
        is_current && !self.is_idle && !self.queue.is_idle()
    }
}
