//! Vector and floating-point state (APM 2, 11.5): saved and loaded eagerly, at
//! every change of task. The kernel itself never uses these registers.

use crate::mem::OutOfMemory;
use crate::task;
use alloc::sync::Arc;
use core::alloc::Layout;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// x87, SSE, AVX and the three parts of AVX-512: what programs and guests get.
const COMPONENTS: u64 = 0b1110_0111;
/// Legacy area and XSAVE header.
const MINIMUM: usize = 576;
const MXCSR: usize = 24;
const MXCSR_MASK: u32 = 0xffff;
const HEADER: usize = 512;

static ENABLED: AtomicU64 = AtomicU64::new(0);
static SIZE: AtomicUsize = AtomicUsize::new(MINIMUM);

/// Enables the components on this CPU.
pub(crate) fn init_cpu() {
    if !crate::cpu::features().xsave {
        return;
    }
    let leaf = __cpuid_count(0xd, 0);
    let offered = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    let enabled = offered & COMPONENTS;
    set_xcr0(enabled);
    ENABLED.store(enabled, Ordering::Relaxed);
    SIZE.store(
        (__cpuid_count(0xd, 0).ebx as usize).max(MINIMUM),
        Ordering::Relaxed,
    );
}

/// The components in use, as XCR0 has them; 0 where the CPU knows FXSAVE only.
pub fn components() -> u64 {
    ENABLED.load(Ordering::Relaxed)
}

/// Bytes of a state in the standard format.
pub fn size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

fn set_xcr0(value: u64) {
    // SAFETY: `value` is a subset of what CPUID offers, with x87 in it.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("edx") (value >> 32) as u32, in("eax") value as u32, options(nomem, nostack, preserves_flags))
    }
}

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadState;

/// A saved state. While a task has it live, the registers are newer, and no other
/// task may ask for it.
#[derive(Debug)]
pub struct FpuArea {
    bytes: UnsafeCell<NonNull<u8>>,
    is_live: AtomicBool,
}

// SAFETY: the bytes are touched by the task that has the area live, or, when
// none has, under the exclusion of `is_live` (see `hold`).
unsafe impl Send for FpuArea {}
// SAFETY: as above.
unsafe impl Sync for FpuArea {}

fn layout() -> Layout {
    Layout::from_size_align(size(), 64).expect("invariant: a small size, a power of two")
}

impl FpuArea {
    /// A fresh state: FCW 037Fh, MXCSR 1F80h, all else initial.
    pub fn new() -> Result<Arc<Self>, OutOfMemory> {
        // SAFETY: the size is not zero.
        let bytes =
            NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout()) }).ok_or(OutOfMemory)?;
        // SAFETY: both offsets lie in the area.
        unsafe {
            bytes.cast::<u16>().write(0x037f);
            bytes.add(MXCSR).cast::<u32>().write(0x1f80);
            // With these components marked present their (zero) contents count,
            // x87 and SSE control words above included.
            bytes.add(HEADER).cast::<u64>().write(3);
        }
        Ok(Arc::new(Self {
            bytes: UnsafeCell::new(bytes),
            is_live: AtomicBool::new(false),
        }))
    }

    /// A copy of the state.
    pub fn duplicate(&self) -> Result<Arc<Self>, OutOfMemory> {
        let copy = Self::new()?;
        self.hold(|from| {
            // SAFETY: both areas are `size` long, and `copy` is ours alone.
            unsafe { core::ptr::copy_nonoverlapping(from, copy.pointer(), size()) }
        });
        Ok(copy)
    }

    /// Copies the state, in XSAVE's standard format.
    pub fn read(&self, to: &mut [u8]) {
        let len = to.len().min(size());
        self.hold(|from| {
            // SAFETY: `len` bytes lie within both.
            unsafe { core::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), len) }
        });
    }

    /// Replaces the state. What XRSTOR would refuse is refused here.
    pub fn write(&self, from: &[u8]) -> Result<(), BadState> {
        let len = from.len().min(size());
        if len < MINIMUM {
            return Err(BadState);
        }
        let word = |at: usize| u64::from_le_bytes(from[at..at + 8].try_into().unwrap_or([0xff; 8]));
        let mxcsr = word(MXCSR) as u32;
        let present = word(HEADER);
        let header_rest = (8..64).step_by(8).all(|at| word(HEADER + at) == 0);
        if mxcsr & !MXCSR_MASK != 0 || present & !(components() | 3) != 0 || !header_rest {
            return Err(BadState);
        }
        self.hold(|to| {
            // SAFETY: `len` bytes lie within both.
            unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, len) }
        });
        Ok(())
    }

    fn pointer(&self) -> *mut u8 {
        // SAFETY: the pointer itself never changes.
        unsafe { (*self.bytes.get()).as_ptr() }
    }

    /// Lets `access` have the bytes; if the calling task has the area live, its
    /// registers are saved before and loaded after. That another task has it live is
    /// a bug of the caller's, and the end.
    fn hold(&self, access: impl FnOnce(*mut u8)) {
        let live_here = task::live_fpu_is(self);
        if live_here {
            self.save();
        } else {
            self.begin_live();
        }
        access(self.pointer());
        if live_here {
            self.load();
        } else {
            self.end_live();
        }
    }

    #[inline]
    pub(crate) fn save(&self) {
        let area = self.pointer();
        let enabled = ENABLED.load(Ordering::Relaxed);
        // SAFETY: the area is aligned and large enough for what XCR0 enables.
        unsafe {
            if enabled == 0 {
                asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
            } else if crate::cpu::features().xsaveopt {
                asm!("xsaveopt64 [{}]", in(reg) area, in("edx") (enabled >> 32) as u32, in("eax") enabled as u32, options(nostack, preserves_flags));
            } else {
                asm!("xsave64 [{}]", in(reg) area, in("edx") (enabled >> 32) as u32, in("eax") enabled as u32, options(nostack, preserves_flags));
            }
        }
    }

    #[inline]
    pub(crate) fn load(&self) {
        let area = self.pointer();
        let enabled = ENABLED.load(Ordering::Relaxed);
        // SAFETY: the area holds a state that was saved or checked by `write`.
        unsafe {
            if enabled == 0 {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
            } else {
                asm!("xrstor64 [{}]", in(reg) area, in("edx") (enabled >> 32) as u32, in("eax") enabled as u32, options(nostack, preserves_flags));
            }
        }
    }

    /// Takes the bytes for a task, or for one access. They have one owner at a
    /// time, or two CPUs could write them at once.
    pub(crate) fn begin_live(&self) {
        let was_live = self.is_live.swap(true, Ordering::Acquire);
        assert!(
            !was_live,
            "invariant: one task has an FPU state live, and only it reaches it"
        );
    }

    pub(crate) fn end_live(&self) {
        self.is_live.store(false, Ordering::Release);
    }
}

impl Drop for FpuArea {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; a live area is held by its
        // task and not dropped.
        unsafe { alloc::alloc::dealloc(self.pointer(), layout()) }
    }
}

/// Makes `area` the current task's live state, saving the one it had, which is
/// returned.
pub fn activate(area: Option<Arc<FpuArea>>) -> Option<Arc<FpuArea>> {
    task::swap_fpu(area)
}
