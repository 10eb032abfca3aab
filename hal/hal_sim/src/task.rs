//! [`Task`]: a kernel stack, played by a thread that runs only while it holds a
//! CPU's baton.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use crate::machine::{self, CPU, Machine, lock};
use crate::mem::OutOfMemory;

#[derive(Default)]
struct Baton {
    running: bool,
    cpu: usize,
    entry: Option<Box<dyn FnOnce() + Send>>,
}

/// Something that can run on a CPU. Its page table and FPU area go with it.
pub struct Task {
    baton: Mutex<Baton>,
    passed: Condvar,
    machine: Arc<Machine>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

static EXIT_HOOK: OnceLock<fn() -> Arc<Task>> = OnceLock::new();

/// Sets what chooses the next task when one has returned. Called once.
pub fn set_exit_hook(hook: fn() -> Arc<Task>) {
    let set = EXIT_HOOK.get_or_init(|| hook);
    assert!(std::ptr::fn_addr_eq(*set, hook), "there is one exit hook");
}

impl Task {
    /// A task that has not run; it begins in `entry`.
    pub fn new(entry: Box<dyn FnOnce() + Send>) -> Result<Arc<Task>, OutOfMemory> {
        crate::inject::allocation()?;
        Ok(Self::with(Baton {
            entry: Some(entry),
            ..Baton::default()
        }))
    }

    fn with(baton: Baton) -> Arc<Task> {
        let machine = machine::current();
        Arc::new(Self {
            baton: Mutex::new(baton),
            passed: Condvar::new(),
            machine,
        })
    }

    /// Takes the baton for `cpu`; a task that never ran gets its thread.
    fn resume(self: &Arc<Self>, cpu: usize) {
        let mut baton = lock(&self.baton);
        assert!(!baton.running, "the task runs elsewhere");
        (baton.running, baton.cpu) = (true, cpu);
        if let Some(entry) = baton.entry.take() {
            let task = self.clone();
            std::thread::spawn(move || task.run(entry));
        }
        self.passed.notify_one();
    }

    fn run(self: Arc<Self>, entry: Box<dyn FnOnce() + Send>) {
        self.machine.enter(lock(&self.baton).cpu);
        CURRENT.set(Some(self.clone()));
        entry();
        let next = EXIT_HOOK
            .get()
            .expect("invariant: the scheduler sets the exit hook")();
        lock(&self.baton).running = false;
        next.resume(CPU.get());
    }

    fn wait_for_baton(&self) {
        let mut baton = lock(&self.baton);
        while !baton.running {
            baton = self
                .passed
                .wait(baton)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        CPU.set(baton.cpu);
    }
}

/// The task that runs here. A thread that was none becomes one (the boot or idle
/// task of its CPU).
#[must_use]
pub fn current() -> Arc<Task> {
    CURRENT.with_borrow_mut(|current| {
        let adopt = || {
            Task::with(Baton {
                running: true,
                cpu: CPU.get(),
                entry: None,
            })
        };
        current.get_or_insert_with(adopt).clone()
    })
}

/// Makes a task of the thread that calls: the idle task of its CPU.
#[must_use]
pub fn adopt() -> Arc<Task> {
    current()
}

/// Parks the current task and runs `next` on this CPU; returns when something
/// switches back, maybe on another CPU. Panics if `next` is running.
pub fn switch_to(next: Arc<Task>) {
    let this = current();
    if Arc::ptr_eq(&this, &next) {
        return;
    }
    lock(&this.baton).running = false;
    next.resume(CPU.get());
    this.wait_for_baton();
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
        let main = current();
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
