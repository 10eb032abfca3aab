//! What the kernel around this crate gives it, beside the crates `hal` and `wait`:
//! [`Platform`] (the processor), [`Monitor`] (the program behind an ioctl), [`Backing`] (its address
//! space) and [`EventFile`] (its eventfds). Tests play all four.

use crate::backend::VcpuBackend;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use hal::mem::{Account, Frame, NestedTable};
use sync::SpinLock;
use x86::cpuid::Answer;

/// The nested table that the vCPUs of one VM share.
pub type Nested = Arc<SpinLock<NestedTable>>;

/// The processor.
pub trait Platform: Sized + Send + Sync + 'static {
    /// The processor's virtualization extension.
    type Hardware: VcpuBackend;
    /// A handle to a thread.
    type Thread: Send + 'static;

    /// A vCPU of the hardware over a VM's nested table.
    ///
    /// # Errors
    /// ENOMEM, or ENODEV where the hardware cannot.
    fn hardware(nested: &Nested, account: &Account) -> Result<Self::Hardware, Errno>;
    /// Executes CPUID.
    fn cpuid(function: u32, index: u32) -> Answer;
    /// Whether all CPUs' time-stamp counters agree and never stop.
    fn tsc_is_stable() -> bool;
    /// Ticks of the time-stamp counter in a millisecond.
    fn tsc_khz() -> u64;
    /// The calling thread, to be asked whether a signal waits for it.
    fn thread() -> Self::Thread;
    /// Whether a signal waits for the thread.
    fn interrupted(thread: &Self::Thread) -> bool;
    /// Lets other threads run, if it is their turn.
    fn preempt();
}

/// Who is told when an eventfd is signalled; must not block.
pub trait Ring: Send + Sync {
    /// It was signalled.
    fn ring(&self);
}

/// Why a page of the monitor cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackingFault {
    /// The monitor has no such page, or may not use it like this.
    Denied,
    /// No memory.
    OutOfMemory,
}

/// The monitor's address space. It tells [`crate::memory::VmMemory::invalidate`]
/// of every page before it is freed, made read-only or replaced.
pub trait Backing: Send + Sync {
    /// The frame behind an address, made present and, if `write`, writable; and
    /// whether it is writable.
    ///
    /// # Errors
    /// The reason why there is none.
    fn frame(&self, address: u64, write: bool) -> Result<(Frame, bool), BackingFault>;
}

/// The program that called: its memory, its files, its signals.
pub trait Monitor {
    /// Copies from the program.
    ///
    /// # Errors
    /// EFAULT.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno>;
    /// Copies to the program.
    ///
    /// # Errors
    /// EFAULT.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno>;
    /// The eventfd behind a descriptor.
    ///
    /// # Errors
    /// EBADF, or EINVAL for another kind of file.
    fn event(&self, fd: i32) -> Result<Arc<dyn EventFile>, Errno>;
}

/// An eventfd.
pub trait EventFile: Send + Sync {
    /// Adds one to its counter. Does not block.
    fn signal(&self);
    /// Resets its counter; whether it was not zero.
    fn consume(&self) -> bool;
    /// Calls `observer` after each [`EventFile::signal`], until the result is
    /// dropped.
    fn subscribe(&self, observer: Weak<dyn Ring>) -> Box<dyn Send + Sync>;
    /// A number that no other open eventfd has.
    fn identity(&self) -> u64;
}
