//! [`Task`]: a flow of control with a stack of its own, and switching to it.
//!
//! A task is parked or runs on one CPU; `switch_to` waits for a task that is
//! just leaving another CPU and never enters one twice, so that no choice of
//! the scheduler can corrupt a stack. Two CPUs that wait so for each other's
//! task wait for ever: a scheduler asks [`Task::is_parked`] before it gives a
//! task to another CPU.

use crate::cpu::{self, this_cpu};
use crate::fpu::FpuArea;
use crate::layout::STACKS;
use crate::mem::{self, OutOfMemory, Root};
use crate::registers;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use sync::{Once, SpinLock};

const STACK_SIZE: u64 = 32 << 10;
/// Distance of two stacks; the lower half is the guard.
const STACK_STRIDE: u64 = 2 * STACK_SIZE;

const PARKED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// Pages that a task's stack takes: what its owner is charged.
pub const STACK_PAGES: u64 = STACK_SIZE / mem::PAGE_SIZE as u64;

static FREE_STACKS: SpinLock<Vec<u64>> = SpinLock::new(Vec::new());
static NEXT_STACK: AtomicU64 = AtomicU64::new(STACKS);
static EXIT: Once<fn() -> Arc<Task>> = Once::new();

/// A kernel stack. Freed ones are kept mapped for the next task.
#[derive(Debug)]
struct Stack {
    /// Address of the lower end.
    base: u64,
}

impl Stack {
    fn new() -> Result<Self, OutOfMemory> {
        if let Some(base) = FREE_STACKS.lock().pop() {
            return Ok(Self { base });
        }
        let base =
            NEXT_STACK.fetch_add(STACK_STRIDE, Ordering::Relaxed) + STACK_STRIDE - STACK_SIZE;
        mem::map_stack(base, base + STACK_SIZE)?;
        Ok(Self { base })
    }

    fn top(&self) -> u64 {
        self.base + STACK_SIZE
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        FREE_STACKS.lock().push(self.base);
    }
}

type Entry = Box<dyn FnOnce() + Send>;

/// A flow of control.
pub struct Task {
    state: AtomicU8,
    rsp: UnsafeCell<u64>,
    fs_base: Cell<u64>,
    gs_base: Cell<u64>,
    has_bases: Cell<bool>,
    fpu: UnsafeCell<Option<Arc<FpuArea>>>,
    root: UnsafeCell<Option<Arc<Root>>>,
    entry: SpinLock<Option<Entry>>,
    /// None for the flow in which a CPU was started.
    _stack: Option<Stack>,
}

// SAFETY: the cells are touched by the CPU that runs the task, or switches to or
// from it; `state` makes that one CPU at a time.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

/// What a CPU knows of tasks.
pub(crate) struct CpuTask {
    current: Cell<*const Task>,
    /// The task just switched from, until the new one has let go of it.
    previous: Cell<*const Task>,
    previous_state: Cell<u8>,
}

impl CpuTask {
    pub(crate) const fn new() -> Self {
        Self {
            current: Cell::new(core::ptr::null()),
            previous: Cell::new(core::ptr::null()),
            previous_state: Cell::new(PARKED),
        }
    }
}

impl core::fmt::Debug for Task {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Task")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Task {
    /// A parked task that will run `entry`, then the exit hook.
    pub fn new(entry: Entry) -> Result<Arc<Self>, OutOfMemory> {
        let stack = Stack::new()?;
        let top = stack.top();
        // Six registers and the return address for `switch_stacks`, below a zero
        // that ends backtraces.
        let rsp = top - 8 * 8;
        // SAFETY: the stack is mapped and nobody else's.
        unsafe {
            for slot in 0..6 {
                (rsp as *mut u64).add(slot).write(0);
            }
            (rsp as *mut u64).add(6).write(start as *const () as u64);
            (rsp as *mut u64).add(7).write(0);
        }
        Ok(Arc::new(Self::with(PARKED, rsp, Some(entry), Some(stack))))
    }

    /// Whether it runs nowhere and could be switched to without waiting.
    #[inline]
    pub fn is_parked(&self) -> bool {
        self.state.load(Ordering::Acquire) == PARKED
    }

    fn with(state: u8, rsp: u64, entry: Option<Entry>, stack: Option<Stack>) -> Self {
        Self {
            state: AtomicU8::new(state),
            rsp: UnsafeCell::new(rsp),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            has_bases: Cell::new(false),
            fpu: UnsafeCell::new(None),
            root: UnsafeCell::new(None),
            entry: SpinLock::new(entry),
            _stack: stack,
        }
    }
}

/// Where a CPU that is being started finds its stack: the address of the upper
/// end. The stack is the CPU's for good.
pub(crate) fn boot_stack() -> Result<u64, OutOfMemory> {
    let stack = Stack::new()?;
    let top = stack.top();
    core::mem::forget(stack);
    Ok(top)
}

/// Goes on in `main` on a guarded stack.
pub(crate) fn leave_boot_stack(main: extern "C" fn() -> !) -> ! {
    let Ok(top) = boot_stack() else { panic!("no memory for the first CPU's stack") };
    // SAFETY: the stack is mapped and nobody else's; nothing on the old one is
    // used again.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "push rbp", "jmp {}", in(reg) top, in(reg) main, options(noreturn))
    }
}

/// Makes a task of the flow in which this CPU runs. Once per CPU.
pub fn adopt() -> Arc<Task> {
    let task = Arc::new(Task::with(RUNNING, 0, None, None));
    this_cpu().task.current.set(Arc::into_raw(task.clone()));
    task
}

/// Sets what chooses the next task when one's entry has returned. Once.
pub fn set_exit_hook(hook: fn() -> Arc<Task>) {
    let _ = EXIT.set(hook);
}

#[inline]
fn current() -> &'static Task {
    // SAFETY: `current` is set by `adopt` before any task is used, and the CPU
    // holds a reference to it; the result is used on this task only.
    unsafe { &*this_cpu().task.current.get() }
}

/// Parks the current task and runs `next` until somebody switches back.
#[inline]
pub fn switch_to(next: Arc<Task>) {
    switch(next, PARKED);
}

#[inline]
fn switch(next: Arc<Task>, leave_as: u8) {
    let from = current();
    if core::ptr::eq(from, &*next) {
        return;
    }
    // A task that another CPU is just leaving is parked in a moment.
    while next
        .state
        .compare_exchange(PARKED, RUNNING, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        assert!(
            next.state.load(Ordering::Relaxed) != DONE,
            "invariant: a task that is done is not scheduled"
        );
        cpu::relax();
    }
    leave_user_state(from);
    enter_user_state(&next);
    let load = next.rsp.get();
    let cpu = &this_cpu().task;
    cpu.previous.set(from);
    cpu.previous_state.set(leave_as);
    cpu.current.set(Arc::into_raw(next));
    // SAFETY: `next` was parked, so its stack pointer is that of a complete
    // switch frame, and the exchange above made it ours alone.
    unsafe { switch_stacks(from.rsp.get(), *load) };
    let_go();
}

/// On the new task: the one before is no longer in use.
#[inline]
fn let_go() {
    let cpu = &this_cpu().task;
    let previous = cpu.previous.get();
    // SAFETY: the CPU's reference from when it was current; given up here.
    let previous = unsafe { Arc::from_raw(previous) };
    previous
        .state
        .store(cpu.previous_state.get(), Ordering::Release);
}

#[inline]
fn leave_user_state(from: &Task) {
    // SAFETY: the task runs here, so its cells are ours.
    if let Some(area) = unsafe { &*from.fpu.get() } {
        area.save();
    }
    if from.has_bases.get() {
        from.fs_base.set(registers::fs_base());
        from.gs_base.set(registers::user_gs_base());
    }
}

#[inline]
fn enter_user_state(next: &Task) {
    // SAFETY: the task was just taken for this CPU.
    unsafe {
        if let Some(root) = &*next.root.get() {
            root.load();
        }
        if let Some(area) = &*next.fpu.get() {
            area.load();
        }
    }
    if next.has_bases.get() {
        registers::set_fs_base(next.fs_base.get());
        registers::set_user_gs_base(next.gs_base.get());
    }
}

#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(save: *mut u64, load: u64) {
    naked_asm!(
        "push rbp; push rbx; push r12; push r13; push r14; push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15; pop r14; pop r13; pop r12; pop rbx; pop rbp",
        "ret",
    )
}

/// Where a new task begins.
extern "C" fn start() -> ! {
    let_go();
    let entry = current().entry.lock().take();
    if let Some(entry) = entry {
        entry();
    }
    let choose = EXIT
        .get()
        .expect("invariant: the scheduler sets the hook before it makes tasks");
    switch(choose(), DONE);
    unreachable!("a task that is done is never switched to")
}

/// Gives the current task an address space (or takes it), now and whenever it
/// runs again.
pub fn set_table(root: Option<&Arc<Root>>) {
    let task = current();
    // SAFETY: the task runs here, so its cells are ours.
    let slot = unsafe { &mut *task.root.get() };
    let old = core::mem::replace(slot, root.cloned());
    match slot {
        Some(root) => root.load(),
        None => {
            if let Some(old) = &old {
                old.unload();
            }
        }
    }
}

/// Sets the FS and GS bases of the current task's program. Addresses that are
/// not a program's are refused.
pub fn set_user_bases(fs_base: u64, gs_base: u64) -> bool {
    if fs_base >= crate::layout::USER_END || gs_base >= crate::layout::USER_END {
        return false;
    }
    current().has_bases.set(true);
    registers::set_fs_base(fs_base);
    registers::set_user_gs_base(gs_base);
    true
}

/// The FS and GS bases of the current task's program.
pub fn user_bases() -> (u64, u64) {
    (registers::fs_base(), registers::user_gs_base())
}

pub(crate) fn swap_fpu(area: Option<Arc<FpuArea>>) -> Option<Arc<FpuArea>> {
    let task = current();
    // SAFETY: the task runs here, so its cells are ours.
    let slot = unsafe { &mut *task.fpu.get() };
    if let Some(old) = slot {
        old.save();
        old.set_live(false);
    }
    if let Some(new) = &area {
        new.load();
        new.set_live(true);
    }
    core::mem::replace(slot, area)
}

pub(crate) fn live_fpu_is(area: &FpuArea) -> bool {
    // SAFETY: as above.
    unsafe { &*current().fpu.get() }
        .as_ref()
        .is_some_and(|live| core::ptr::eq(&**live, area))
}

/// Whether another CPU runs the task that has `area` live.
pub(crate) fn is_running_elsewhere(_area: &FpuArea) -> bool {
    false
}
