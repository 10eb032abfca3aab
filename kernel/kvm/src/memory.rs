//! A VM's memory: [`VmMemory`]. Guest-physical addresses lead through slots to
//! the monitor's address space, which yields frames; the nested table keeps
//! what was found. Whoever takes a page away from the monitor calls
//! [`VmMemory::invalidate`] first, and when that returns no vCPU can reach the
//! page any more.
//!
//! A fault that is being handled meanwhile could map a page that has just been
//! taken away: so every invalidation and every change of slots counts up
//! `changes`, and a fault maps only if the count is what it was before the
//! address space was asked.

use crate::platform::{Backing, BackingFault, Nested};
use crate::shared::{VcpuShared, request};
use crate::slots::{Slot, Slots};
use crate::translate::{GuestMemory, Missing};
use abi::Errno;
use abi::kvm_vm::UserspaceMemoryRegion;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::mem::{Account, Frame, MapError, NestedTable, Prot};
use sync::SpinLock;

const PAGE: u64 = 4096;
/// A bitmap word's pages.
const WORD_PAGES: u64 = 64;
/// Mappings removed under one hold of the lock.
const BATCH: u64 = 512 * PAGE;

/// Why a guest-physical address has no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No slot, or a read-only slot for a write: a device's address.
    Device,
    /// The monitor has no memory there.
    Fault(Errno),
}

/// The vCPUs of a VM, by index.
pub type VcpuList = Arc<Vec<Arc<VcpuShared>>>;

/// The memory of one VM.
pub struct VmMemory {
    nested: Nested,
    slots: SpinLock<Arc<Slots>>,
    changes: AtomicU64,
    vcpus: SpinLock<VcpuList>,
    backing: Arc<dyn Backing>,
}

impl VmMemory {
    /// Without slots, over the monitor's address space.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(backing: Arc<dyn Backing>, account: &Account) -> Result<Self, Errno> {
        let table = NestedTable::new(account).map_err(|_| Errno::ENOMEM)?;
        Ok(VmMemory {
            nested: Arc::new(SpinLock::new(table)),
            slots: SpinLock::new(Arc::default()),
            changes: AtomicU64::new(0),
            vcpus: SpinLock::new(Arc::default()),
            backing,
        })
    }

    /// The nested table.
    #[must_use]
    pub fn nested(&self) -> &Nested {
        &self.nested
    }

    /// The slots as they are now.
    #[must_use]
    pub fn slots(&self) -> Arc<Slots> {
        self.slots.lock().clone()
    }

    /// The vCPUs as they are now.
    #[must_use]
    pub fn vcpus(&self) -> VcpuList {
        self.vcpus.lock().clone()
    }

    /// Adds a vCPU; `make` gets its index.
    ///
    /// # Errors
    /// ENOMEM, or that of `make`.
    pub fn add_vcpu(
        &self,
        make: impl FnOnce(&[Arc<VcpuShared>]) -> Result<Arc<VcpuShared>, Errno>,
    ) -> Result<Arc<VcpuShared>, Errno> {
        let old = self.vcpus();
        let new = make(&old)?;
        let mut list = Vec::new();
        list.try_reserve_exact(old.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        list.extend(old.iter().cloned());
        list.push(new.clone());
        *self.vcpus.lock() = Arc::new(list);
        Ok(new)
    }

    /// SET_USER_MEMORY_REGION. The caller serializes these.
    ///
    /// # Errors
    /// See [`Slots::changed`].
    pub fn set_region(&self, region: UserspaceMemoryRegion) -> Result<(), Errno> {
        let (next, stale) = self.slots().changed(region)?;
        *self.slots.lock() = Arc::new(next);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.remove(stale);
        for vcpu in self.vcpus().iter() {
            vcpu.post(request::CONFIG);
        }
        Ok(())
    }

    /// The monitor's pages in `range` are about to be freed, made read-only or
    /// replaced. When this returns, no vCPU reaches them.
    pub fn invalidate(&self, range: Range<u64>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let slots = self.slots();
        for slot in slots.iter() {
            if let Some(behind) = slot.behind(&range) {
                self.remove(behind);
            }
        }
    }

    /// Unmaps guest-physical addresses, makes all vCPUs forget them, and only
    /// then lets go of the frames.
    fn remove(&self, range: Range<u64>) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start.saturating_add(BATCH));
            let mut frames: Vec<Frame> = Vec::new();
            self.nested
                .lock()
                .unmap(start..end, &mut |frame| frames.push(frame));
            if !frames.is_empty() {
                self.flush();
            }
            start = end;
        }
    }

    /// Makes all vCPUs forget cached translations. Those that are in the guest
    /// have left it when this returns.
    pub fn flush(&self) {
        let vcpus = self.vcpus();
        // All are kicked before the first is waited for.
        for vcpu in vcpus.iter() {
            vcpu.post(request::FLUSH);
        }
        for vcpu in vcpus.iter() {
            if let Some(stay) = vcpu.stay() {
                vcpu.end(stay);
            }
        }
    }

    /// Makes the page of a guest-physical address present in the nested table,
    /// and writable if `write`.
    ///
    /// # Errors
    /// Why there is no page.
    pub fn populate(&self, slots: &Slots, gpa: u64, write: bool) -> Result<(), Absent> {
        let slot = slots.find(gpa).ok_or(Absent::Device)?;
        if write && slot.is_readonly() {
            return Err(Absent::Device);
        }
        let address = slot.address(gpa & !(PAGE - 1));
        let mut old: Option<Frame> = None;
        loop {
            let before = self.changes.load(Ordering::Acquire);
            let (frame, writable) = self.backing.frame(address, write).map_err(fault)?;
            let prot = protection(slot, write, writable);
            let mut nested = self.nested.lock();
            if self.changes.load(Ordering::Acquire) != before {
                continue;
            }
            let sink = &mut |frame| old = Some(frame);
            match nested.map(gpa & !(PAGE - 1), frame, prot, sink) {
                Ok(()) => break,
                Err(MapError::OutOfMemory) => return Err(Absent::Fault(Errno::ENOMEM)),
                Err(_) => return Err(Absent::Fault(Errno::EFAULT)),
            }
        }
        if write {
            slot.mark_dirty(gpa);
        }
        // A page that was replaced here was replaced in the address space first,
        // which has called `invalidate`; what is left is the same frame with
        // other rights.
        drop(old);
        Ok(())
    }

    /// Fetches 64 pages' bits of a slot's dirty bitmap at a time, takes write
    /// access from the pages found, and clears them.
    ///
    /// # Errors
    /// ENOENT where the slot keeps no bitmap, or that of `emit`.
    pub fn take_dirty(
        &self,
        number: u32,
        mut emit: impl FnMut(usize, u64) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let slots = self.slots();
        let slot = slots.by_number(number).ok_or(Errno::ENOENT)?;
        let dirty = slot.dirty.as_ref().ok_or(Errno::ENOENT)?;
        let mut any = false;
        let mut words = Vec::new();
        words
            .try_reserve_exact(dirty.words())
            .map_err(|_| Errno::ENOMEM)?;
        for word in 0..dirty.words() {
            let bits = dirty.take(word);
            words.push(bits);
            if bits != 0 {
                any = true;
                self.protect_word(slot, word as u64, bits);
            }
        }
        if any {
            self.flush();
        }
        words
            .into_iter()
            .enumerate()
            .try_for_each(|(word, bits)| emit(word, bits))
    }

    fn protect_word(&self, slot: &Slot, word: u64, bits: u64) {
        let first = slot.region.guest_phys_addr + word * WORD_PAGES * PAGE;
        let low = u64::from(bits.trailing_zeros());
        let high = WORD_PAGES - u64::from(bits.leading_zeros());
        self.nested
            .lock()
            .write_protect(first + low * PAGE..first + high * PAGE);
    }

    /// Copies guest memory, making pages present as needed.
    ///
    /// # Errors
    /// EFAULT where the guest has no memory.
    pub fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.retry(false, |table| {
            table.read_guest(gpa, bytes).map_err(|missing| missing.gpa)
        })
    }

    /// Copies to guest memory, making pages present as needed.
    ///
    /// # Errors
    /// EFAULT where the guest has no memory.
    pub fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.retry(true, |table| {
            table.write_guest(gpa, bytes).map_err(|missing| missing.gpa)
        })?;
        let slots = self.slots();
        let mut page = gpa & !(PAGE - 1);
        while page < gpa + bytes.len() as u64 {
            if let Some(slot) = slots.find(page) {
                slot.mark_dirty(page);
            }
            page += PAGE;
        }
        Ok(())
    }

    fn retry(
        &self,
        write: bool,
        mut access: impl FnMut(&NestedTable) -> Result<(), u64>,
    ) -> Result<(), Errno> {
        loop {
            let missing = match access(&self.nested.lock()) {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            let slots = self.slots();
            self.populate(&slots, missing, write)
                .map_err(|absent| match absent {
                    Absent::Device => Errno::EFAULT,
                    Absent::Fault(errno) => errno,
                })?;
        }
    }
}

fn fault(fault: BackingFault) -> Absent {
    Absent::Fault(match fault {
        BackingFault::Denied => Errno::EFAULT,
        BackingFault::OutOfMemory => Errno::ENOMEM,
    })
}

/// A page that need not be written is mapped read-only where writes must be
/// noticed: for the dirty log, and before a copy on write.
fn protection(slot: &Slot, write: bool, writable: bool) -> Prot {
    let readable = Prot::READ | Prot::EXEC;
    let noticed = slot.dirty.is_some() && !write;
    if writable && !slot.is_readonly() && !noticed {
        readable | Prot::WRITE
    } else {
        readable
    }
}

/// The nested table under its lock: for walks, which must be quick. What is not
/// present is told, not fetched.
pub struct Present<'a>(pub &'a NestedTable);

impl GuestMemory for Present<'_> {
    #[inline]
    fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), Missing> {
        self.0
            .read_guest(gpa, bytes)
            .map_err(|missing| Missing { gpa: missing.gpa })
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Missing> {
        self.0
            .write_guest(gpa, bytes)
            .map_err(|missing| Missing { gpa: missing.gpa })
    }

    #[inline]
    fn read_u64(&self, gpa: u64) -> Result<u64, Missing> {
        self.0.read_guest_u64(gpa).ok_or(Missing { gpa })
    }
}
