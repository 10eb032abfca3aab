//! Numbers of processes and threads, and who has them.

use crate::{Process, UserThread};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use sync::SpinLock;

/// Numbers are below this, as on Linux with its default `pid_max` of 64-bit.
const LIMIT: u32 = 4_194_304;

struct Registry {
    processes: BTreeMap<u32, Arc<Process>>,
    threads: BTreeMap<u32, Weak<UserThread>>,
    next: u32,
}

static REGISTRY: SpinLock<Registry> = SpinLock::new(Registry {
    processes: BTreeMap::new(),
    threads: BTreeMap::new(),
    next: 1,
});

impl Registry {
    fn take_number(&mut self) -> u32 {
        loop {
            let number = self.next;
            self.next = if number + 1 >= LIMIT { 2 } else { number + 1 };
            if !self.processes.contains_key(&number) && !self.threads.contains_key(&number) {
                return number;
            }
        }
    }
}

/// A number that nobody has. It is the caller's once it is entered below; two
/// callers never get the same before the counter has gone round.
pub(crate) fn take_number() -> u32 {
    REGISTRY.lock().take_number()
}

/// Enters a process under its number.
pub(crate) fn add_process(process: &Arc<Process>) {
    REGISTRY
        .lock()
        .processes
        .insert(process.pid(), process.clone());
}

/// Takes a process out, once its parent knows of its end.
pub(crate) fn remove_process(pid: u32) {
    let process = REGISTRY.lock().processes.remove(&pid);
    drop(process);
}

/// Enters a thread under its number.
pub(crate) fn add_thread(thread: &Arc<UserThread>) {
    REGISTRY
        .lock()
        .threads
        .insert(thread.tid(), Arc::downgrade(thread));
}

/// Takes a thread out.
pub(crate) fn remove_thread(tid: u32) {
    let thread = REGISTRY.lock().threads.remove(&tid);
    drop(thread);
}

/// The process `pid`, a zombie perhaps.
pub fn find_process(pid: u32) -> Option<Arc<Process>> {
    REGISTRY.lock().processes.get(&pid).cloned()
}

/// The thread `tid`.
pub fn find_thread(tid: u32) -> Option<Arc<UserThread>> {
    REGISTRY.lock().threads.get(&tid)?.upgrade()
}

/// The thread that runs here, if it is a program's.
pub fn current_thread() -> Option<Arc<UserThread>> {
    match sched::with_current(|thread| thread.owner()) {
        0 => None,
        tid => find_thread(tid),
    }
}

/// Calls `visit` for every process, by number, without a lock held.
pub fn for_each_process(mut visit: impl FnMut(&Arc<Process>)) {
    let all: Vec<_> = REGISTRY.lock().processes.values().cloned().collect();
    all.iter().for_each(&mut visit);
}

/// How many processes there are.
pub fn process_count() -> usize {
    REGISTRY.lock().processes.len()
}
