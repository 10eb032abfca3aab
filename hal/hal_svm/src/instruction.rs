//! The few privileged instructions of this crate, one function each.

use core::arch::asm;

/// Reads an MSR.
///
/// # Safety
/// The MSR exists on this CPU.
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the MSR; reading has no other effect.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes an MSR.
///
/// # Safety
/// The MSR exists, and nothing in the kernel relies on its old value.
#[inline]
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller vouches for the register and the value.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// Stores FS, GS, TR, LDTR and the system-call MSRs of this CPU into a page.
///
/// # Safety
/// `page` is the physical address of a page owned by the caller; SVM is on.
#[inline]
pub unsafe fn vmsave(page: u64) {
    // SAFETY: the caller owns the page.
    unsafe { asm!("vmsave rax", in("rax") page, options(nostack, preserves_flags)) }
}

/// Reads XCR0.
///
/// # Safety
/// CR4.OSXSAVE is set.
#[inline]
pub unsafe fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for OSXSAVE.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes XCR0.
///
/// # Safety
/// The value is valid for this CPU, and the kernel saves no extended state
/// until the old value is back.
#[inline]
pub unsafe fn xsetbv(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// Loads DR0 to DR3.
///
/// # Safety
/// The kernel uses no breakpoints of its own.
#[inline]
pub unsafe fn load_breakpoints(addresses: &[u64; 4]) {
    // SAFETY: breakpoint addresses do nothing until DR7 enables them.
    unsafe {
        asm!("mov dr0, {0}", "mov dr1, {1}", "mov dr2, {2}", "mov dr3, {3}",
            in(reg) addresses[0], in(reg) addresses[1], in(reg) addresses[2], in(reg) addresses[3],
            options(nostack, preserves_flags));
    }
}
