//! A run of guest memory that a request consists of: [`Buffer`], a list of
//! slices that reads like one.

use crate::{GuestMemory, QueueFault};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice};

/// Slices of guest memory, in order.
#[derive(Clone, Default)]
pub struct Buffer<'m> {
    slices: Vec<VolatileSlice<'m>>,
    len: u64,
}

impl<'m> Buffer<'m> {
    /// Appends `len` bytes of guest memory at `address`.
    ///
    /// # Errors
    /// They are not in guest memory.
    pub fn append(
        &mut self,
        memory: &'m GuestMemory,
        address: GuestAddress,
        len: u32,
    ) -> Result<(), QueueFault> {
        if len > 0 {
            let slice = memory
                .get_slice(address, len as usize)
                .map_err(|_| QueueFault::Address)?;
            self.slices.push(slice);
            self.len += u64::from(len);
        }
        Ok(())
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices.
    pub fn slices(&self) -> &[VolatileSlice<'m>] {
        &self.slices
    }

    /// The part from `start`, `len` bytes long; `None` if it is not all there.
    pub fn part(&self, start: u64, len: u64) -> Option<Buffer<'m>> {
        let end = start.checked_add(len).filter(|end| *end <= self.len)?;
        let mut part = Buffer::default();
        let mut at = 0;
        for slice in &self.slices {
            let slice_end = at + slice.len() as u64;
            let (from, to) = (start.max(at), end.min(slice_end));
            if from < to {
                let piece = slice
                    .subslice((from - at) as usize, (to - from) as usize)
                    .ok()?;
                part.slices.push(piece);
                part.len += to - from;
            }
            at = slice_end;
        }
        Some(part)
    }

    /// Copies out the bytes from `start` on; returns how many there were.
    pub fn copy_to(&self, start: u64, data: &mut [u8]) -> usize {
        let len = self.len.saturating_sub(start).min(data.len() as u64);
        let Some(part) = self.part(start, len) else {
            return 0;
        };
        let mut done = 0;
        for slice in &part.slices {
            done += slice.read(&mut data[done..], 0).unwrap_or(0);
        }
        done
    }

    /// Copies in `data` from `start` on; returns how much there was room for.
    pub fn copy_from(&self, start: u64, data: &[u8]) -> usize {
        let len = self.len.saturating_sub(start).min(data.len() as u64);
        let Some(part) = self.part(start, len) else {
            return 0;
        };
        let mut done = 0;
        for slice in &part.slices {
            done += slice.write(&data[done..], 0).unwrap_or(0);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> GuestMemory {
        GuestMemory::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap()
    }

    fn two_pieces(memory: &GuestMemory) -> Buffer<'_> {
        let mut buffer = Buffer::default();
        buffer.append(memory, GuestAddress(0x100), 3).unwrap();
        buffer.append(memory, GuestAddress(0x200), 0).unwrap();
        buffer.append(memory, GuestAddress(0x300), 5).unwrap();
        buffer
    }

    #[test]
    fn pieces_read_and_write_like_one() {
        let memory = memory();
        let buffer = two_pieces(&memory);
        assert_eq!(buffer.len(), 8);
        assert_eq!(buffer.copy_from(1, b"abcdefghij"), 7);
        let mut data = [0; 10];
        assert_eq!(buffer.copy_to(0, &mut data), 8);
        assert_eq!(&data, b"\0abcdefg\0\0");
        let mut second = [0; 5];
        memory.read_slice(&mut second, GuestAddress(0x300)).unwrap();
        assert_eq!(&second, b"cdefg");
    }

    #[test]
    fn parts_are_whole_or_none() {
        let memory = memory();
        let buffer = two_pieces(&memory);
        let part = buffer.part(2, 4).unwrap();
        assert_eq!((part.len(), part.slices().len()), (4, 2));
        assert!(buffer.part(2, 7).is_none());
        assert!(buffer.part(u64::MAX, 2).is_none());
        assert_eq!(buffer.part(8, 0).unwrap().len(), 0);
        assert_eq!(buffer.copy_to(9, &mut [0; 4]), 0);
    }

    #[test]
    fn memory_that_is_not_there_is_refused() {
        let memory = memory();
        let mut buffer = Buffer::default();
        let result = buffer.append(&memory, GuestAddress(0xFFF), 2);
        assert_eq!(result, Err(QueueFault::Address));
        let result = buffer.append(&memory, GuestAddress(u64::MAX), u32::MAX);
        assert_eq!(result, Err(QueueFault::Address));
    }
}
