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
use core::arch::naked_asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU8, Ordering};
use sync::{Once, SpinLock};

const STACK_SIZE: u64 = 32 << 10;
/// Distance of two stacks; the lower half is the guard.
const STACK_STRIDE: u64 = 2 * STACK_SIZE;

const PARKED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// Pages that a task's stack takes: what its owner is charged.
pub const STACK_PAGES: u64 = STACK_SIZE / mem::PAGE_SIZE as u64;

static FREE: SpinLock<FreeStacks> = SpinLock::new(FreeStacks {
    next: STACKS,
    whole: List::EMPTY,
    trimmed: List::EMPTY,
});
static EXIT: Once<fn() -> Arc<Task>> = Once::new();

/// Free stacks that stay whole for the next tasks; of all beyond, only the last
/// page stays, which holds the link.
const KEEP: usize = 64;

/// Free stacks, linked through the first word of their last pages.
struct List {
    /// Address of the first one's lower end, or 0.
    head: u64,
    count: usize,
}

impl List {
    const EMPTY: Self = Self { head: 0, count: 0 };

    fn push(&mut self, base: u64) {
        // SAFETY: the last page of a free stack is mapped and the list's.
        unsafe { link(base).write(self.head) };
        self.head = base;
        self.count += 1;
    }

    fn pop(&mut self) -> Option<u64> {
        let base = self.head;
        if base == 0 {
            return None;
        }
        // SAFETY: as `push`, which wrote the link.
        self.head = unsafe { link(base).read() };
        self.count -= 1;
        Some(base)
    }
}

fn link(base: u64) -> *mut u64 {
    (base + STACK_SIZE - mem::PAGE_SIZE as u64) as *mut u64
}

struct FreeStacks {
    /// Where no stack was ever.
    next: u64,
    whole: List,
    trimmed: List,
}

/// A kernel stack, below which nothing is mapped.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Address of the lower end.
    base: u64,
}

impl Stack {
    fn new() -> Result<Self, OutOfMemory> {
        let mut free = FREE.lock();
        if let Some(base) = free.whole.pop() {
            return Ok(Self { base });
        }
        let trimmed = free.trimmed.pop();
        let base = trimmed.unwrap_or(free.next + STACK_STRIDE - STACK_SIZE);
        if let Err(error) = mem::map_stack(base, base + STACK_SIZE) {
            if trimmed.is_some() {
                free.trimmed.push(base);
            }
            return Err(error);
        }
        if trimmed.is_none() {
            free.next += STACK_STRIDE;
        }
        Ok(Self { base })
    }

    pub(crate) fn top(&self) -> u64 {
        self.base + STACK_SIZE
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut free = FREE.lock();
        if free.whole.count < KEEP {
            return free.whole.push(self.base);
        }
        drop(free);
        mem::unmap_stack(self.base, self.top() - mem::PAGE_SIZE as u64);
        FREE.lock().trimmed.push(self.base);
    }
}

type Entry = Box<dyn FnOnce() + Send>;

/// A flow of control.
pub struct Task {
    state: AtomicU8,
    rsp: UnsafeCell<u64>,
    fs_base: Cell<u64>,
    gs_base: Cell<u64>,
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
            fpu: UnsafeCell::new(None),
            root: UnsafeCell::new(None),
            entry: SpinLock::new(entry),
            _stack: stack,
        }
    }
}

/// A stack for a CPU that is being started. Once the CPU has it, it must never be
/// dropped.
pub(crate) fn boot_stack() -> Result<ManuallyDrop<Stack>, OutOfMemory> {
    Stack::new().map(ManuallyDrop::new)
}

/// Goes on in `main` on a guarded stack.
pub(crate) fn leave_boot_stack(main: extern "C" fn() -> !) -> ! {
    let Ok(stack) = boot_stack() else {
        panic!("no memory for the first CPU's stack")
    };
    // SAFETY: the stack is mapped and nobody else's; nothing on the old one is
    // used again.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "push rbp", "jmp {}", in(reg) stack.top(), in(reg) main, options(noreturn))
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
    // SAFETY: what `current` names, the CPU holds a reference to; the result is
    // used on this task only.
    let current = unsafe { this_cpu().task.current.get().as_ref() };
    current.expect("invariant: a CPU adopts its flow before it uses tasks")
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
    // SAFETY: as above. Only a task with a table runs a program.
    if unsafe { &*from.root.get() }.is_some() {
        from.fs_base.set(registers::fs_base());
        from.gs_base.set(registers::user_gs_base());
    }
}

#[inline]
fn enter_user_state(next: &Task) {
    // SAFETY: the task was just taken for this CPU.
    let (root, area) = unsafe { (&*next.root.get(), &*next.fpu.get()) };
    if let Some(root) = root {
        root.load();
        registers::set_fs_base(next.fs_base.get());
        registers::set_user_gs_base(next.gs_base.get());
    }
    if let Some(area) = area {
        area.load();
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
    if old.is_none() && slot.is_some() {
        // What is loaded is some other program's.
        registers::set_fs_base(0);
        registers::set_user_gs_base(0);
    }
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
    registers::set_fs_base(fs_base);
    registers::set_user_gs_base(gs_base);
    true
}

/// The FS and GS bases of the current task's program.
pub fn user_bases() -> (u64, u64) {
    (registers::fs_base(), registers::user_gs_base())
}

/// Makes `area` the current task's live state, and gives back the one it had.
pub(crate) fn swap_fpu(area: Option<Arc<FpuArea>>) -> Option<Arc<FpuArea>> {
    let task = current();
    // SAFETY: the task runs here, so its cells are ours.
    let slot = unsafe { &mut *task.fpu.get() };
    if let Some(old) = slot {
        old.save();
        old.end_live();
    }
    if let Some(new) = &area {
        new.begin_live();
        new.load();
    }
    core::mem::replace(slot, area)
}

pub(crate) fn live_fpu_is(area: &FpuArea) -> bool {
    // SAFETY: the task runs here, so its cells are ours.
    unsafe { &*current().fpu.get() }
        .as_ref()
        .is_some_and(|live| core::ptr::eq(&**live, area))
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(area) = self.fpu.get_mut() {
            area.end_live();
        }
    }
}
