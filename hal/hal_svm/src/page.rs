//! A frame that the processor and this crate alone use, as a value: [`Page`].

use core::ops::{Deref, DerefMut};
use hal::mem::{Account, Frame, OutOfMemory};
use x86::vmcb::Vmcb;

/// A VMCB in a frame of its own. No program and no guest ever has the frame
/// mapped: it is never handed out.
pub struct Page {
    frame: Frame,
    vmcb: *mut Vmcb,
}

// SAFETY: the pointer leads to the frame that this value owns.
unsafe impl Send for Page {}

impl Page {
    /// A page of zeroes, charged to `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let frame = Frame::zeroed(account)?;
        let vmcb = hal::mem::to_virtual(frame.phys().0).cast();
        Ok(Page { frame, vmcb })
    }

    /// Its physical address.
    #[inline]
    pub fn phys(&self) -> u64 {
        self.frame.phys().0
    }
}

impl Deref for Page {
    type Target = Vmcb;
    #[inline]
    fn deref(&self) -> &Vmcb {
        // SAFETY: a whole frame, aligned, any bytes are a valid Vmcb; the
        // processor changes it only inside `world_switch`, which takes `&mut`.
        unsafe { &*self.vmcb }
    }
}

impl DerefMut for Page {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vmcb {
        // SAFETY: as `deref`, and `&mut self` is exclusive.
        unsafe { &mut *self.vmcb }
    }
}
