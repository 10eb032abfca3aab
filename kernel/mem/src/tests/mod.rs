//! Tests of the crate over the simulated machine.

mod errors;
mod faults;
mod model;
mod out_of_memory;
mod placement;
mod property;
mod threads;

use std::collections::BTreeMap;
use std::ops::Range;
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex};
use std::vec;

use hal::mem::{Account, Frame, Prot};

use crate::{FaultError, Invalidate, MapFlags, MapKind, MemoryObject, PAGE, Space};

pub(super) const R: Prot = Prot::READ;
pub(super) const RW: Prot = Prot::READ.union(Prot::WRITE);
pub(super) const ANON: fn() -> MapKind = || MapKind::Anonymous { shared: false };

pub(super) fn account() -> Account {
    Account::new(100_000).unwrap()
}

pub(super) fn space() -> (Arc<Space>, Account) {
    let account = account();
    (Space::new(&account).unwrap(), account)
}

/// Maps private zeros somewhere.
pub(super) fn map(space: &Space, pages: u64, prot: Prot) -> u64 {
    space
        .mmap(0, pages * PAGE, prot, ANON(), MapFlags::empty())
        .unwrap()
}

pub(super) fn map_at(space: &Space, at: u64, pages: u64, prot: Prot) -> u64 {
    space
        .mmap(at, pages * PAGE, prot, ANON(), MapFlags::FIXED)
        .unwrap()
}

/// A file whose page number `n` holds `n + 1` in every byte at the start.
pub(super) struct File {
    id: u64,
    frames: Vec<Frame>,
    /// Pages beyond these are a hole: one frame of zeros until written.
    hole: Frame,
    filled: Mutex<BTreeMap<u64, Frame>>,
    len: u64,
    account: Account,
}

impl File {
    pub(super) fn new(id: u64, filled: u64, len: u64, account: &Account) -> Arc<Self> {
        let page = |n: u64| {
            let frame = Frame::zeroed(account).unwrap();
            frame.write(0, &vec![n as u8 + 1; PAGE as usize]);
            frame
        };
        let frames = (0..filled).map(page).collect();
        let hole = Frame::zeroed(account).unwrap();
        let filled = Mutex::default();
        Arc::new(Self {
            id,
            frames,
            hole,
            filled,
            len,
            account: account.clone(),
        })
    }

    pub(super) fn kind(self: &Arc<Self>, page: u64, shared: bool) -> MapKind {
        MapKind::Object {
            object: self.clone(),
            offset: page * PAGE,
            shared,
            may_write: true,
        }
    }
}

impl MemoryObject for File {
    fn page(&self, index: u64, write: bool) -> Result<Frame, FaultError> {
        if index >= self.len {
            return Err(FaultError::BusError);
        }
        if let Some(frame) = self.frames.get(index as usize) {
            return Ok(frame.clone());
        }
        let mut filled = self.filled.lock().unwrap();
        if let Some(frame) = filled.get(&index) {
            return Ok(frame.clone());
        }
        if !write {
            return Ok(self.hole.clone());
        }
        let frame = Frame::zeroed(&self.account)?;
        filled.insert(index, frame.clone());
        Ok(frame)
    }

    fn present(&self, index: u64) -> Option<Frame> {
        self.frames.get(index as usize).cloned()
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn len_pages(&self) -> u64 {
        self.len
    }
}

/// An observer like a virtual machine: it keeps frames until told to let go.
#[derive(Default)]
pub(super) struct Guest {
    pub(super) held: Mutex<BTreeMap<u64, (Frame, bool)>>,
    pub(super) calls: Mutex<Vec<Range<u64>>>,
}

impl Invalidate for Guest {
    fn invalidate(&self, range: Range<u64>) {
        let mut held = self.held.lock().unwrap();
        // The frames have not been freed or handed to anyone else yet: they are
        // still the ones that were given out, and the guest's own reference is
        // not the only one.
        for (_, (frame, _)) in held.range(range.clone()) {
            assert!(
                frame.ref_count() >= 2,
                "the space let go of a frame before it told"
            );
        }
        held.retain(|va, _| !range.contains(va));
        self.calls.lock().unwrap().push(range);
    }
}

pub(super) fn observe(space: &Space) -> Arc<Guest> {
    let guest = Arc::new(Guest::default());
    let observer: Arc<dyn Invalidate> = guest.clone();
    space.add_observer(Arc::downgrade(&observer)).unwrap();
    guest
}
