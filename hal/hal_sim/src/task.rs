//! [`Task`]: a kernel stack, played by a thread that runs only while it holds a
//! CPU's baton.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use crate::machine::{self, CPU, Machine, lock};
use crate::mem::{OutOfMemory, Root, USER_END};

/// Pages that a task's stack takes: what its owner is charged.
pub const STACK_PAGES: u64 = 8;

type Entry = Box<dyn FnOnce() + Send>;

struct Baton {
    running: bool,
    done: bool,
    cpu: usize,
    entry: Option<Entry>,
}

/// A flow of control. Its page table, bases and FPU area go with it.
pub struct Task {
    baton: Mutex<Baton>,
    passed: Condvar,
    machine: Arc<Machine>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
    static TABLE: RefCell<Option<Arc<Root>>> = const { RefCell::new(None) };
    static BASES: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

static EXIT: OnceLock<fn() -> Arc<Task>> = OnceLock::new();

/// Sets what chooses the next task when one's entry has returned. Once.
pub fn set_exit_hook(hook: fn() -> Arc<Task>) {
    let _ = EXIT.set(hook);
}

impl Task {
    /// A parked task that will run `entry`, then the exit hook.
    pub fn new(entry: Entry) -> Result<Arc<Self>, OutOfMemory> {
        crate::inject::allocation()?;
        Ok(Self::with(false, Some(entry)))
    }

    /// Whether it runs nowhere and could be switched to without waiting.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        let baton = lock(&self.baton);
        !baton.running && !baton.done
    }

    fn with(running: bool, entry: Option<Entry>) -> Arc<Self> {
        let baton = Mutex::new(Baton {
            running,
            done: false,
            cpu: CPU.get(),
            entry,
        });
        Arc::new(Self {
            baton,
            passed: Condvar::new(),
            machine: machine::current(),
        })
    }

    /// Takes the baton for `cpu`; a task that never ran gets its thread.
    fn resume(self: &Arc<Self>, cpu: usize) {
        let mut baton = lock(&self.baton);
        assert!(
            !baton.done,
            "invariant: a task that is done is not scheduled"
        );
        while baton.running {
            baton = self
                .passed
                .wait(baton)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (baton.running, baton.cpu) = (true, cpu);
        if let Some(entry) = baton.entry.take() {
            let task = self.clone();
            std::thread::spawn(move || task.run(entry));
        }
        self.passed.notify_all();
    }

    fn run(self: Arc<Self>, entry: Entry) {
        self.machine.enter(lock(&self.baton).cpu);
        CURRENT.set(Some(self.clone()));
        let whole = catch_unwind(AssertUnwindSafe(|| {
            entry();
            EXIT.get()
                .expect("invariant: the scheduler sets the exit hook")()
        }));
        let Ok(next) = whole else {
            // A test's assertion failed in a task: nobody would come back.
            eprintln!("a task of the simulation panicked");
            std::process::abort();
        };
        next.resume(CPU.get());
        self.park(true);
    }

    fn park(&self, done: bool) {
        let mut baton = lock(&self.baton);
        (baton.running, baton.done) = (false, done);
        self.passed.notify_all();
    }

    fn wait_for_baton(&self) {
        let mut baton = lock(&self.baton);
        while !baton.running {
            baton = self
                .passed
                .wait(baton)
                .unwrap_or_else(PoisonError::into_inner);
        }
        CPU.set(baton.cpu);
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// Makes a task of the thread that plays a CPU. Once per CPU.
#[must_use]
pub fn adopt() -> Arc<Task> {
    let task = Task::with(true, None);
    CURRENT.set(Some(task.clone()));
    task
}

fn current() -> Arc<Task> {
    CURRENT
        .with_borrow(Clone::clone)
        .expect("invariant: a CPU's thread is adopted first")
}

/// Parks the current task and runs `next` until somebody switches back.
pub fn switch_to(next: Arc<Task>) {
    let this = current();
    if Arc::ptr_eq(&this, &next) {
        return;
    }
    // Parked only after `next` has the baton, so that nobody can take this task
    // to another CPU while it is still here: its thread is about to wait.
    next.resume(CPU.get());
    this.park(false);
    this.wait_for_baton();
}

/// Gives the current task an address space (or takes it), now and whenever it
/// runs again.
pub fn set_table(root: Option<&Arc<Root>>) {
    TABLE.set(root.cloned());
}

/// The table that the current task's user accesses go through.
pub(crate) fn table() -> Option<Arc<Root>> {
    TABLE.with_borrow(Clone::clone)
}

pub(crate) fn with_table<R>(ask: impl FnOnce(Option<&Root>) -> R) -> R {
    TABLE.with_borrow(|table| ask(table.as_deref()))
}

/// Sets the FS and GS bases of the current task's program. Addresses that are
/// not a program's are refused.
pub fn set_user_bases(fs_base: u64, gs_base: u64) -> bool {
    let is_good = fs_base < USER_END && gs_base < USER_END;
    if is_good {
        BASES.set((fs_base, gs_base));
    }
    is_good
}

/// The FS and GS bases of the current task's program.
#[must_use]
pub fn user_bases() -> (u64, u64) {
    BASES.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

    static RETURN_TO: Mutex<Option<Arc<Task>>> = Mutex::new(None);

    fn back() -> Arc<Task> {
        lock(&RETURN_TO).take().unwrap()
    }

    #[test]
    fn the_baton_goes_round_and_carries_the_cpu() {
        Machine::new(3).enter(2);
        set_exit_hook(back);
        let main = adopt();
        *lock(&RETURN_TO) = Some(main.clone());
        let trace = Arc::new(Mutex::new(Vec::new()));
        let task = {
            let trace = trace.clone();
            Task::new(Box::new(move || {
                trace.lock().unwrap().push(("first", cpu::id()));
                switch_to(main);
                trace.lock().unwrap().push(("second", cpu::id()));
            }))
            .unwrap()
        };
        trace.lock().unwrap().push(("main", cpu::id()));
        switch_to(task.clone());
        trace.lock().unwrap().push(("main", cpu::id()));
        switch_to(task.clone());
        let expected = [("main", 2), ("first", 2), ("main", 2), ("second", 2)];
        assert_eq!(*trace.lock().unwrap(), expected);
    }
}
