//! [`NestedTable`]: guest-physical memory of one VM.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Account, Frame, MapError, OutOfMemory, PAGE_SIZE, PhysAddr, Prot};

/// No frame is mapped at the guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotMapped {
    /// The first address that is not.
    pub gpa: u64,
}

/// Frames by guest-physical address. It holds them by reference, and never frees
/// one itself: what is unmapped goes to the caller, who flushes first.
pub struct NestedTable {
    pages: BTreeMap<u64, (Frame, Prot)>,
    nodes: BTreeMap<(u8, u64), Frame>,
    root: Frame,
    account: Account,
}

impl NestedTable {
    /// An empty table, paid for by `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        let root = Frame::zeroed(account)?;
        Ok(Self {
            pages: BTreeMap::new(),
            nodes: BTreeMap::new(),
            root,
            account: account.clone(),
        })
    }

    /// Where the table's root lies, for the VMCB.
    #[must_use]
    pub fn root_phys(&self) -> PhysAddr {
        self.root.phys()
    }

    /// Maps a frame (of any order up to 2 MiB, aligned to its size).
    pub fn map(&mut self, gpa: u64, frame: Frame, prot: Prot) -> Result<(), MapError> {
        let len = frame.len() as u64;
        assert!(
            gpa.is_multiple_of(len),
            "guest address {gpa:#x} is not aligned to its frame"
        );
        if self.find(gpa).is_some() || self.pages.range(gpa..gpa + len).next().is_some() {
            return Err(MapError::AlreadyMapped);
        }
        for (level, shift) in [(3u8, 39), (2, 30), (1, 21)] {
            let key = (level, gpa >> shift);
            let needed = level > 1 || frame.order() < 9;
            if needed && !self.nodes.contains_key(&key) {
                self.nodes.insert(key, Frame::zeroed(&self.account)?);
            }
        }
        self.pages.insert(gpa, (frame, prot));
        Ok(())
    }

    /// Unmaps what begins in `range`; the frames go to `sink`.
    pub fn unmap(&mut self, range: Range<u64>, sink: &mut Vec<Frame>) {
        let pages: Vec<u64> = self.pages.range(range).map(|(&gpa, _)| gpa).collect();
        sink.extend(
            pages
                .iter()
                .filter_map(|gpa| self.pages.remove(gpa))
                .map(|(frame, _)| frame),
        );
    }

    /// Gives what begins in `range` the protection `prot`.
    pub fn protect(&mut self, range: Range<u64>, prot: Prot) {
        self.pages
            .range_mut(range)
            .for_each(|(_, page)| page.1 = prot);
    }

    fn find(&self, gpa: u64) -> Option<(u64, &Frame, Prot)> {
        let (&start, (frame, prot)) = self.pages.range(..=gpa).next_back()?;
        (gpa - start < frame.len() as u64).then_some((start, frame, *prot))
    }

    /// The physical address behind `gpa`, and what its mapping allows.
    #[must_use]
    pub fn lookup(&self, gpa: u64) -> Option<(PhysAddr, Prot)> {
        self.find(gpa)
            .map(|(start, frame, prot)| (PhysAddr(frame.phys().0 + gpa - start), prot))
    }

    /// Copies guest memory out.
    pub fn read_guest(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), NotMapped> {
        self.pieces(gpa, bytes.len(), |frame, offset, part| {
            frame.read(offset, &mut bytes[part])
        })
    }

    /// Copies into guest memory.
    pub fn write_guest(&self, gpa: u64, bytes: &[u8]) -> Result<(), NotMapped> {
        self.pieces(gpa, bytes.len(), |frame, offset, part| {
            frame.write(offset, &bytes[part])
        })
    }

    fn pieces(
        &self,
        gpa: u64,
        len: usize,
        mut each: impl FnMut(&Frame, usize, Range<usize>),
    ) -> Result<(), NotMapped> {
        let mut done = 0;
        while done < len {
            let at = gpa + done as u64;
            let (start, frame, _) = self.find(at).ok_or(NotMapped { gpa: at })?;
            let offset = (at - start) as usize;
            let part = (len - done).min(PAGE_SIZE - offset % PAGE_SIZE);
            each(frame, offset, done..done + part);
            done += part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cross_pages_and_stop_at_holes() {
        let account = Account::new(64).unwrap();
        let mut table = NestedTable::new(&account).unwrap();
        for gpa in [0x1000, 0x2000] {
            table
                .map(gpa, Frame::zeroed(&account).unwrap(), Prot::READ)
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
        table.unmap(0x2000..0x3000, &mut sink);
        assert_eq!((sink.len(), table.lookup(0x2000)), (1, None));
        drop((table, sink));
        assert_eq!(account.used(), 0);
    }
}
