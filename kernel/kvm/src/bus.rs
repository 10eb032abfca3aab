//! Ports and addresses that are tied to eventfds: [`Bus`]. Like the slots, the
//! table is replaced, never changed.

use crate::platform::EventFile;
use abi::Errno;
use abi::kvm_vm::IoEventFd;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most ties of a VM.
pub const MAX_TIES: usize = 1000;

/// One tie.
#[derive(Clone)]
pub struct Tie {
    is_port: bool,
    address: u64,
    /// 0: any.
    length: u32,
    value: Option<u64>,
    event: Arc<dyn EventFile>,
}

/// The ties of a VM.
#[derive(Clone, Default)]
pub struct Bus {
    /// Sorted by (port or memory, address).
    ties: Vec<Tie>,
}

impl Bus {
    /// The eventfd that a write signals.
    #[inline]
    #[must_use]
    pub fn find(
        &self,
        is_port: bool,
        address: u64,
        length: u32,
        value: u64,
    ) -> Option<&dyn EventFile> {
        if self.ties.is_empty() {
            return None;
        }
        let key = (is_port, address);
        let first = self
            .ties
            .partition_point(|tie| (tie.is_port, tie.address) < key);
        self.ties[first..]
            .iter()
            .take_while(|tie| (tie.is_port, tie.address) == key)
            .find(|tie| tie.matches(length, value))
            .map(|tie| &*tie.event)
    }

    /// The table after IOEVENTFD.
    ///
    /// # Errors
    /// EINVAL for a malformed request, EEXIST for a tie that would never be
    /// reached, ENOENT for one that does not exist, ENOSPC, ENOMEM.
    pub fn changed(&self, request: &IoEventFd, event: Arc<dyn EventFile>) -> Result<Bus, Errno> {
        check(request)?;
        let tie = Tie {
            is_port: request.flags & IoEventFd::PIO != 0,
            address: request.addr,
            length: request.len,
            value: (request.flags & IoEventFd::DATAMATCH != 0).then_some(request.datamatch),
            event,
        };
        let mut next = Bus::default();
        next.ties
            .try_reserve_exact(self.ties.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        if request.flags & IoEventFd::DEASSIGN != 0 {
            let gone = |other: &Tie| {
                other.same_place(&tie)
                    && other.value == tie.value
                    && other.event.identity() == tie.event.identity()
            };
            let position = self.ties.iter().position(gone).ok_or(Errno::ENOENT)?;
            next.ties.extend(self.ties.iter().cloned());
            next.ties.remove(position);
            return Ok(next);
        }
        if self.ties.len() >= MAX_TIES {
            return Err(Errno::ENOSPC);
        }
        if self.ties.iter().any(|other| other.covers(&tie)) {
            return Err(Errno::EEXIST);
        }
        next.ties.extend(self.ties.iter().cloned());
        let key = (tie.is_port, tie.address);
        let position = next
            .ties
            .partition_point(|other| (other.is_port, other.address) <= key);
        next.ties.insert(position, tie);
        Ok(next)
    }
}

impl Tie {
    #[inline]
    fn matches(&self, length: u32, value: u64) -> bool {
        (self.length == 0 || self.length == length)
            && self.value.is_none_or(|wanted| wanted == value)
    }

    fn same_place(&self, other: &Tie) -> bool {
        (self.is_port, self.address, self.length) == (other.is_port, other.address, other.length)
    }

    /// Whether some write belongs to both.
    fn covers(&self, other: &Tie) -> bool {
        let place = (self.is_port, self.address) == (other.is_port, other.address);
        let length = self.length == 0 || other.length == 0 || self.length == other.length;
        let value = self.value.is_none() || other.value.is_none() || self.value == other.value;
        place && length && value
    }
}

fn check(request: &IoEventFd) -> Result<(), Errno> {
    let known = IoEventFd::DATAMATCH | IoEventFd::PIO | IoEventFd::DEASSIGN;
    let fits = request.addr.checked_add(u64::from(request.len)).is_some();
    let length = matches!(request.len, 0 | 1 | 2 | 4 | 8);
    let matched = request.flags & IoEventFd::DATAMATCH == 0 || request.len != 0;
    if request.flags & !known != 0 || !fits || !length || !matched {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEvent;

    fn request(addr: u64, len: u32, flags: u32) -> IoEventFd {
        IoEventFd {
            datamatch: 7,
            addr,
            len,
            fd: 0,
            flags,
            pad: [0; 36],
        }
    }

    #[test]
    fn the_right_eventfd_is_found() {
        let (a, b) = (FakeEvent::new(), FakeEvent::new());
        let bus = Bus::default();
        let bus = bus
            .changed(&request(0xC000, 2, IoEventFd::PIO), a.clone())
            .unwrap();
        let matched = request(0x8000_0000, 4, IoEventFd::DATAMATCH);
        let bus = bus.changed(&matched, b.clone()).unwrap();
        bus.find(true, 0xC000, 2, 1).unwrap().signal();
        assert!(a.consume() && !b.consume());
        assert!(bus.find(true, 0xC000, 1, 1).is_none());
        assert!(bus.find(false, 0xC000, 2, 1).is_none());
        assert!(bus.find(false, 0x8000_0000, 4, 8).is_none());
        bus.find(false, 0x8000_0000, 4, 7).unwrap().signal();
        assert!(b.consume());
    }

    #[test]
    fn ties_are_refused_and_removed() {
        let event = FakeEvent::new();
        let one = request(0x60, 0, IoEventFd::PIO);
        let bus = Bus::default().changed(&one, event.clone()).unwrap();
        let again = bus.changed(&request(0x60, 1, IoEventFd::PIO), event.clone());
        assert_eq!(again.err(), Some(Errno::EEXIST));
        let odd = bus.changed(&request(0x61, 3, IoEventFd::PIO), event.clone());
        assert_eq!(odd.err(), Some(Errno::EINVAL));
        let gone = request(0x60, 0, IoEventFd::PIO | IoEventFd::DEASSIGN);
        let other = bus.changed(&gone, FakeEvent::new());
        assert_eq!(other.err(), Some(Errno::ENOENT));
        let bus = bus.changed(&gone, event).unwrap();
        assert!(bus.find(true, 0x60, 1, 0).is_none());
    }
}
