//! The virtio entropy device: [`VirtioRng`] fills whatever buffers the driver
//! offers from a source of randomness. Virtio 1.2, section 5.4.
#![forbid(unsafe_code)]

use std::io::Read;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_device::{Chain, GuestMemory, QueueFault, Served, VirtQueue, VirtioDevice};

/// Entries of the queue.
pub const QUEUE_SIZE: u16 = 8;
/// Bytes that one request gets at most, so that a guest cannot keep the
/// monitor busy with one descriptor.
pub const REQUEST_MAX: u64 = 4096;

/// An entropy device over a source such as `/dev/urandom`.
pub struct VirtioRng<R> {
    source: R,
}

impl<R: Read + Send> VirtioRng<R> {
    /// A device that passes on what `source` yields.
    pub fn new(source: R) -> Self {
        Self { source }
    }

    fn serve(&mut self, chain: &Chain<'_>) -> u32 {
        let mut data = [0; REQUEST_MAX as usize];
        let len = chain.writable.len().min(REQUEST_MAX) as usize;
        // A source that fails yields nothing; the driver then asks again.
        match self.source.read_exact(&mut data[..len]) {
            Ok(()) => chain.writable.copy_from(0, &data[..len]) as u32,
            Err(_) => 0,
        }
    }
}

impl<R: Read + Send> VirtioDevice for VirtioRng<R> {
    fn device_type(&self) -> u16 {
        VIRTIO_ID_RNG as u16
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn process(
        &mut self,
        _index: usize,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault> {
        queue.serve_all(memory, |chain| self.serve(chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use virtio_device::test_ring::{BUFFERS, Descriptor, TestRing};
    use vm_memory::{Bytes, GuestAddress};

    fn process(
        rng: &mut VirtioRng<impl Read + Send>,
        ring: &mut TestRing,
    ) -> Result<Served, QueueFault> {
        let memory = ring.memory.clone();
        rng.process(0, &mut ring.queue, &memory)
    }

    #[test]
    fn buffers_are_filled_up_to_the_limit() {
        let mut ring = TestRing::new();
        ring.add(&[(BUFFERS, 5, true), (BUFFERS + 8, 3, true)]);
        ring.add(&[(BUFFERS, 0x8000, true)]);
        assert!(
            process(&mut VirtioRng::new(std::io::repeat(0x5A)), &mut ring)
                .unwrap()
                .wants_interrupt
        );
        assert_eq!(ring.used(), [(0, 8), (2, REQUEST_MAX as u32)]);
        assert_eq!(
            ring.memory
                .read_obj::<u8>(GuestAddress(BUFFERS + 10))
                .unwrap(),
            0x5A
        );
    }

    #[test]
    fn a_dry_source_gives_nothing() {
        let mut ring = TestRing::new();
        ring.add(&[(BUFFERS, 5, true)]);
        process(&mut VirtioRng::new(std::io::empty()), &mut ring).unwrap();
        assert_eq!(ring.used(), [(0, 0)]);
    }

    proptest! {
        #[test]
        fn no_ring_panics(
            descriptors in prop::collection::vec(
                (any::<u64>(), any::<u32>(), 0u16..8, 0u16..20), TestRing::SIZE as usize),
            heads in prop::collection::vec(0u16..20, 1..16),
        ) {
            let mut ring = TestRing::new();
            for (index, (address, len, flags, next)) in descriptors.into_iter().enumerate() {
                let address = if address % 3 == 0 { address } else { address % 0x5_0000 };
                let descriptor = Descriptor { address, len, flags, next };
                ring.write_descriptor(index as u16, descriptor);
            }
            for head in heads {
                ring.offer(head);
            }
            let _ = process(&mut VirtioRng::new(std::io::repeat(1)), &mut ring);
        }
    }
}
