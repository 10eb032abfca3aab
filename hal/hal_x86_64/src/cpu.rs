//! The CPU that runs this code, and the others.
//!
//! [`CpuLocal`] is what the assembly finds at GS; everything per-CPU above this
//! crate is a `sync::PerCpu` indexed by [`id`].

use crate::gdt::{self, Gdt, INTERRUPT_STACKS, InterruptStack, TaskState};
use crate::registers::{self, GS_BASE};
pub use crate::registers::{Features, Identity, feature_word, features, identity};
use crate::{apic, mem, task};
use core::alloc::Layout;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub use sync::MAX_CPUS;

/// One CPU's own block. The assembly reaches its fields by offset.
#[repr(C, align(4096))]
pub(crate) struct CpuLocal {
    /// Its own address, so that GS-relative code can get at a pointer.
    this: Cell<*const CpuLocal>,
    /// Kernel stack pointer at the moment of entering ring 3.
    pub(crate) kernel_rsp: Cell<u64>,
    /// Where SYSCALL's entry parks the program's stack pointer.
    pub(crate) scratch: Cell<u64>,
    pub(crate) id: Cell<u32>,
    pub(crate) apic_id: AtomicU32,
    pub(crate) resched: AtomicBool,
    pub(crate) online: AtomicBool,
    /// Added to this CPU's time stamp counter; see `time`.
    pub(crate) tsc_offset: AtomicU64,
    state: UnsafeCell<TaskState>,
    gdt: UnsafeCell<Gdt>,
    stacks: UnsafeCell<[InterruptStack; INTERRUPT_STACKS]>,
    pub(crate) task: task::CpuTask,
    pub(crate) memory: mem::CpuMemory,
}

// SAFETY: a CPU touches the cells of its own block only (through `this_cpu`);
// what others read is atomic.
unsafe impl Sync for CpuLocal {}

impl CpuLocal {
    const fn new() -> Self {
        Self {
            this: Cell::new(core::ptr::null()),
            kernel_rsp: Cell::new(0),
            scratch: Cell::new(0),
            id: Cell::new(0),
            apic_id: AtomicU32::new(0),
            resched: AtomicBool::new(false),
            online: AtomicBool::new(false),
            tsc_offset: AtomicU64::new(0),
            state: UnsafeCell::new(TaskState::new()),
            gdt: UnsafeCell::new(Gdt::new()),
            stacks: UnsafeCell::new([const { InterruptStack::new() }; INTERRUPT_STACKS]),
            task: task::CpuTask::new(),
            memory: mem::CpuMemory::new(),
        }
    }
}

pub(crate) const KERNEL_RSP: usize = offset_of!(CpuLocal, kernel_rsp);
pub(crate) const SCRATCH: usize = offset_of!(CpuLocal, scratch);
/// The task state's `rsp0`, four bytes into the segment: where traps from ring 3
/// begin to push, and the system call entry with them.
pub(crate) const RSP0: usize = offset_of!(CpuLocal, state) + 4;

static FIRST: CpuLocal = CpuLocal::new();
static OTHERS: [sync::Once<&'static CpuLocal>; MAX_CPUS] = [const { sync::Once::new() }; MAX_CPUS];
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// The block of CPU `cpu`, if that CPU was started.
pub(crate) fn block(cpu: usize) -> Option<&'static CpuLocal> {
    if cpu == 0 {
        Some(&FIRST)
    } else {
        OTHERS.get(cpu)?.get().copied()
    }
}

/// This CPU's block.
#[inline(always)]
pub(crate) fn this_cpu() -> &'static CpuLocal {
    let this: *const CpuLocal;
    // SAFETY: GS holds this CPU's block from `install` on; ring 0 never runs
    // with the program's base but for the first and last instructions of an
    // entry.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) this, options(nostack, preserves_flags, readonly));
        &*this
    }
}

/// This CPU's number, from 0.
#[inline(always)]
pub fn id() -> usize {
    let id: u32;
    // SAFETY: as in `this_cpu`.
    unsafe {
        asm!("mov {:e}, gs:[{offset}]", out(reg) id, offset = const offset_of!(CpuLocal, id), options(nostack, preserves_flags, readonly));
    }
    id as usize
}

/// How many CPUs run.
pub fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// Makes `block` this CPU's.
///
/// # Safety
/// No other CPU uses `block`.
unsafe fn install(block: &'static CpuLocal) {
    block.this.set(block);
    // SAFETY: the block is this CPU's alone.
    unsafe {
        gdt::load(
            block.gdt.get(),
            block.state.get(),
            block.stacks.get(),
            block as *const CpuLocal as u64,
        );
        registers::wrmsr(GS_BASE, block as *const CpuLocal as u64);
        registers::wrmsr(registers::KERNEL_GS_BASE, 0);
    }
    block.online.store(true, Ordering::Release);
}

pub(crate) fn init_first() {
    // SAFETY: the first CPU calls this once, before there are others.
    unsafe { install(&FIRST) }
}

/// Gives a starting CPU its block.
pub(crate) fn init_other(block: &'static CpuLocal) {
    // SAFETY: `new_block` made it for the CPU that is being started.
    unsafe { install(block) }
}

/// Makes the block of a CPU that is about to be started.
pub(crate) fn new_block(apic_id: u32) -> Option<&'static CpuLocal> {
    let id = COUNT.load(Ordering::Relaxed);
    if id >= MAX_CPUS {
        return None;
    }
    // Of a CPU that did not come up, the block and its number are still there.
    let block = OTHERS[id]
        .get()
        .copied()
        .or_else(|| OTHERS[id].set(allocate_block()?).ok().copied())?;
    block.id.set(id as u32);
    block.apic_id.store(apic_id, Ordering::Relaxed);
    Some(block)
}

/// A block in memory of its own. It is too large to be built on a stack.
fn allocate_block() -> Option<&'static CpuLocal> {
    static EMPTY: CpuLocal = CpuLocal::new();
    // SAFETY: the layout is not that of nothing; what is allocated is for this
    // block alone, and a copy of a block that nobody used is a block: its cells
    // hold plain values.
    unsafe {
        let block = alloc::alloc::alloc(Layout::new::<CpuLocal>()).cast::<CpuLocal>();
        if block.is_null() {
            return None;
        }
        core::ptr::copy_nonoverlapping(&raw const EMPTY, block, 1);
        Some(&*block)
    }
}

/// Counts a CPU that came up, whichever of those that were asked it is.
pub(crate) fn count_one(block: &CpuLocal) {
    block.apic_id.store(apic::id(), Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::AcqRel);
}

/// Whether this CPU was asked to choose its thread anew.
#[inline(always)]
pub fn need_resched() -> bool {
    this_cpu().resched.load(Ordering::Relaxed)
}

/// Takes the request back, because it is being followed.
#[inline]
pub fn clear_need_resched() {
    // An exchange, so that what was changed before a request is seen by whoever
    // follows it.
    this_cpu().resched.swap(false, Ordering::AcqRel);
}

/// Asks CPU `cpu` to choose its thread anew, wherever it is.
pub fn set_need_resched(cpu: usize) {
    let Some(block) = block(cpu) else { return };
    let asked = block.resched.swap(true, Ordering::AcqRel);
    if !asked && cpu != id() {
        apic::send_ipi(
            block.apic_id.load(Ordering::Relaxed),
            crate::irq::RESCHEDULE,
        );
    }
}

/// Makes CPU `cpu` leave guest or user mode, for it to look at its requests.
pub fn kick(cpu: usize) {
    let Some(block) = block(cpu) else { return };
    if cpu != id() {
        apic::send_ipi(block.apic_id.load(Ordering::Relaxed), crate::irq::KICK);
    }
}

/// One turn of waiting for another CPU: serves what others ask of this one.
#[inline]
pub fn relax() {
    mem::serve_flush_request();
    core::hint::spin_loop();
}

/// Waits for an interrupt and lets it be handled. Returns at once when this CPU
/// has been asked to reschedule.
pub fn idle_wait() {
    if need_resched() {
        return;
    }
    // SAFETY: `sti` takes effect after `hlt` has begun (APM 3, STI), so no
    // interrupt slips in between the check above and the wait; handlers run on
    // this stack as from any kernel code.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}

/// Lets pending interrupts be handled here and now.
pub fn take_interrupts() {
    // SAFETY: as in `idle_wait`.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) }
}

/// A word from the CPU's own source of random numbers, if it has one that
/// delivers.
pub fn random_word() -> Option<u64> {
    let features = features();
    let mut word: u64 = 0;
    let mut is_good: u8 = 0;
    for _ in 0..10 {
        // SAFETY: the instruction is one that CPUID offers.
        unsafe {
            if features.rdseed {
                asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) is_good, options(nomem, nostack));
            } else if features.rdrand {
                asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) is_good, options(nomem, nostack));
            }
        }
        if is_good != 0 {
            return Some(word);
        }
    }
    None
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing is expected to run here again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// The CPUs of a bit mask but this one.
pub(crate) fn others_of(mask: u64) -> u64 {
    mask & !(1 << id())
}
