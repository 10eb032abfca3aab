//! [`NestedTable`]: guest-physical memory of one VM.

use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Range;

use super::{Account, Frame, MapError, OutOfMemory, PAGE_SIZE, Prot};

/// No frame is mapped at the guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotMapped {
    /// The first address that is not.
    pub gpa: u64,
}

/// Guest-physical addresses end here (the lower half of four levels).
const END: u64 = 1 << 47;

/// A guest's physical memory. Each mapping holds a reference to its frame; who
/// unmaps gets the frames and lets go of them once no vCPU can reach them.
pub struct NestedTable {
    pages: BTreeMap<u64, (Frame, Prot)>,
    nodes: BTreeMap<(u8, u64), Frame>,
    root: Frame,
    account: Account,
}

impl NestedTable {
    /// Empty guest-physical memory, its tables charged to `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let root = Frame::zeroed(account)?;
        Ok(Self {
            pages: BTreeMap::new(),
            nodes: BTreeMap::new(),
            root,
            account: account.clone(),
        })
    }

    /// The top-level table's physical address, for N_CR3.
    #[must_use]
    pub fn root_phys(&self) -> u64 {
        self.root.phys().0
    }

    /// Maps `frame` at `gpa`. What was there goes to `sink`.
    pub fn map(
        &mut self,
        gpa: u64,
        frame: Frame,
        prot: Prot,
        sink: &mut dyn FnMut(Frame),
    ) -> Result<(), MapError> {
        if gpa >= END || !gpa.is_multiple_of(PAGE_SIZE as u64) {
            return Err(MapError::BadAddress);
        }
        for (level, shift) in [(3u8, 39), (2, 30), (1, 21)] {
            if let Entry::Vacant(node) = self.nodes.entry((level, gpa >> shift)) {
                node.insert(Frame::zeroed(&self.account)?);
            }
        }
        if let Some((old, _)) = self.pages.insert(gpa, (frame, prot)) {
            sink(old);
        }
        Ok(())
    }

    /// Unmaps `range`. The frames go to `sink`, and stay reachable for vCPUs
    /// until these have flushed.
    pub fn unmap(&mut self, range: Range<u64>, sink: &mut dyn FnMut(Frame)) {
        let pages: Vec<u64> = self.pages.range(range).map(|(&gpa, _)| gpa).collect();
        pages
            .iter()
            .filter_map(|gpa| self.pages.remove(gpa))
            .for_each(|(frame, _)| sink(frame));
    }

    /// Takes write access from the pages in `range`.
    pub fn write_protect(&mut self, range: Range<u64>) {
        self.pages
            .range_mut(range)
            .for_each(|(_, page)| page.1 = page.1.without(Prot::WRITE));
    }

    fn page(&self, gpa: u64, need: Prot) -> Result<&Frame, NotMapped> {
        let page = self.pages.get(&(gpa & !(PAGE_SIZE as u64 - 1)));
        page.filter(|(_, prot)| prot.contains(need))
            .map(|(frame, _)| frame)
            .ok_or(NotMapped { gpa })
    }

    /// Where `gpa` is and what its page allows.
    #[must_use]
    pub fn lookup(&self, gpa: u64) -> Option<(u64, Prot)> {
        let offset = gpa & (PAGE_SIZE as u64 - 1);
        self.pages
            .get(&(gpa - offset))
            .map(|(frame, prot)| (frame.phys().0 + offset, *prot))
    }

    /// Copies guest-physical memory; all of the range must be mapped.
    pub fn read_guest(&self, gpa: u64, to: &mut [u8]) -> Result<(), NotMapped> {
        pieces(gpa, to.len(), |at, part| {
            self.page(at, Prot::READ)?
                .read(at as usize % PAGE_SIZE, &mut to[part]);
            Ok(())
        })
    }

    /// Copies to guest-physical memory; all of the range must be mapped
    /// writable.
    pub fn write_guest(&self, gpa: u64, from: &[u8]) -> Result<(), NotMapped> {
        pieces(gpa, from.len(), |at, part| {
            self.page(at, Prot::WRITE)?
                .write(at as usize % PAGE_SIZE, &from[part]);
            Ok(())
        })
    }

    /// The aligned 64-bit word at `gpa`, in one access: for walking a guest's
    /// own tables.
    #[must_use]
    pub fn read_guest_u64(&self, gpa: u64) -> Option<u64> {
        let frame = self
            .page(gpa, Prot::READ)
            .ok()
            .filter(|_| gpa.is_multiple_of(8))?;
        Some(frame.read_u64(gpa as usize % PAGE_SIZE))
    }
}

/// Calls `each` with the address and the part of the buffer of each page.
fn pieces(
    gpa: u64,
    len: usize,
    mut each: impl FnMut(u64, Range<usize>) -> Result<(), NotMapped>,
) -> Result<(), NotMapped> {
    let mut done = 0;
    while done < len {
        let at = gpa.wrapping_add(done as u64);
        let part = (len - done).min(PAGE_SIZE - at as usize % PAGE_SIZE);
        each(at, done..done + part)?;
        done += part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cross_pages_and_stop_at_holes() {
        let account = Account::new(64).unwrap();
        let mut table = NestedTable::new(&account).unwrap();
        for gpa in [0x1000, 0x2000] {
            let frame = Frame::zeroed(&account).unwrap();
            table
                .map(gpa, frame, Prot::READ | Prot::WRITE, &mut |_| ())
                .unwrap();
        }
        table.write_guest(0x1ffe, &[1, 2, 3, 4]).unwrap();
        let mut back = [0; 4];
        table.read_guest(0x1ffe, &mut back).unwrap();
        assert_eq!(back, [1, 2, 3, 4]);
        assert_eq!(
            table.write_guest(0x2ffe, &back),
            Err(NotMapped { gpa: 0x3000 })
        );
        let mut sink = Vec::new();
        table.unmap(0x2000..0x3000, &mut |frame| sink.push(frame));
        assert_eq!((sink.len(), table.lookup(0x2000)), (1, None));
        table.write_protect(0..0x8000);
        assert_eq!(
            table.write_guest(0x1000, &back),
            Err(NotMapped { gpa: 0x1000 })
        );
        drop((table, sink));
        assert_eq!(account.used(), 0);
    }
}
