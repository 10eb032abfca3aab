//! The virtio console: [`VirtioConsole`], one port without the multiport
//! feature. Virtio 1.2, section 5.3.
//!
//! What the guest prints goes to a sink at once. What is typed is offered with
//! [`VirtioConsole::offer`] and waits, up to [`INPUT_MAX`] bytes, until the
//! driver has buffers for it.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::Write;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use virtio_device::{Chain, GuestMemory, QueueFault, Served, VirtQueue, VirtioDevice};
use virtio_queue::QueueT;

/// The queue for input to the guest.
pub const RECEIVE: usize = 0;
/// The queue for output of the guest.
pub const TRANSMIT: usize = 1;
/// Entries of each queue.
pub const QUEUE_SIZE: u16 = 64;
/// Input bytes that wait at most.
pub const INPUT_MAX: usize = 256;

const CHUNK: usize = 512;

/// A console with one port.
pub struct VirtioConsole<W> {
    output: W,
    input: VecDeque<u8>,
}

impl<W: Write + Send> VirtioConsole<W> {
    /// A console that prints to `output`.
    pub fn new(output: W) -> Self {
        Self {
            output,
            input: VecDeque::new(),
        }
    }

    /// Offers input; returns how many bytes were taken. The transport is then
    /// to process [`RECEIVE`].
    pub fn offer(&mut self, input: &[u8]) -> usize {
        let len = input.len().min(INPUT_MAX - self.input.len());
        self.input.extend(&input[..len]);
        len
    }

    /// Whether all input has reached the driver.
    pub fn is_idle(&self) -> bool {
        self.input.is_empty()
    }

    fn receive(
        &mut self,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault> {
        let budget = queue.ring().size();
        let mut used = 0;
        while !self.input.is_empty() && used < budget {
            let Some(chain) = queue.pop(memory)? else {
                if queue.enable_notification(memory)? {
                    continue;
                }
                break;
            };
            let taken = chain.writable.copy_from(0, self.input.make_contiguous());
            self.input.drain(..taken);
            queue.push(memory, chain.head, taken as u32)?;
            used += 1;
        }
        let wants_interrupt = used > 0 && queue.wants_interrupt(memory)?;
        Ok(Served {
            wants_interrupt,
            has_more: used == budget,
        })
    }

    fn transmit(&mut self, chain: &Chain<'_>) -> u32 {
        let mut chunk = [0; CHUNK];
        let mut at = 0;
        loop {
            let len = chain.readable.copy_to(at, &mut chunk);
            if len == 0 {
                return 0;
            }
            // Output that the sink does not take is lost.
            let _ = self.output.write_all(&chunk[..len]);
            at += len as u64;
        }
    }
}

impl<W: Write + Send> VirtioDevice for VirtioConsole<W> {
    fn device_type(&self) -> u16 {
        VIRTIO_ID_CONSOLE as u16
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn process(
        &mut self,
        index: usize,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault> {
        match index {
            RECEIVE => self.receive(queue, memory),
            _ => queue.serve_all(memory, |chain| self.transmit(chain)),
        }
    }

    fn reset(&mut self) {
        self.input.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use virtio_device::test_ring::{BUFFERS, Descriptor, TestRing};
    use vm_memory::{Bytes, GuestAddress};

    type Console = VirtioConsole<Vec<u8>>;

    fn process(
        console: &mut Console,
        index: usize,
        ring: &mut TestRing,
    ) -> Result<Served, QueueFault> {
        let memory = ring.memory.clone();
        console.process(index, &mut ring.queue, &memory)
    }

    #[test]
    fn output_reaches_the_sink() {
        let (mut console, mut ring) = (Console::new(Vec::new()), TestRing::new());
        ring.memory
            .write_slice(b"hello, world", GuestAddress(BUFFERS))
            .unwrap();
        ring.add(&[(BUFFERS, 7, false), (BUFFERS + 7, 5, false)]);
        assert!(
            process(&mut console, TRANSMIT, &mut ring)
                .unwrap()
                .wants_interrupt
        );
        assert_eq!(console.output, b"hello, world");
        assert_eq!(ring.used(), [(0, 0)]);
    }

    #[test]
    fn input_waits_for_buffers() {
        let (mut console, mut ring) = (Console::new(Vec::new()), TestRing::new());
        assert_eq!(console.offer(b"abcdef"), 6);
        assert!(
            !process(&mut console, RECEIVE, &mut ring)
                .unwrap()
                .wants_interrupt
        );
        ring.add(&[(BUFFERS, 4, true)]);
        assert!(
            process(&mut console, RECEIVE, &mut ring)
                .unwrap()
                .wants_interrupt
        );
        assert!(!console.is_idle());
        ring.add(&[(BUFFERS + 4, 4, true)]);
        process(&mut console, RECEIVE, &mut ring).unwrap();
        assert!(console.is_idle());
        assert_eq!(ring.used(), [(0, 4), (1, 2)]);
        let mut data = [0; 6];
        ring.memory
            .read_slice(&mut data, GuestAddress(BUFFERS))
            .unwrap();
        assert_eq!(&data, b"abcdef");
    }

    #[test]
    fn input_is_bounded() {
        let mut console = Console::new(Vec::new());
        assert_eq!(console.offer(&[b'x'; INPUT_MAX + 9]), INPUT_MAX);
        assert_eq!(console.offer(b"y"), 0);
    }

    proptest! {
        #[test]
        fn no_ring_panics(
            descriptors in prop::collection::vec(
                (any::<u64>(), any::<u32>(), 0u16..8, 0u16..20), TestRing::SIZE as usize),
            heads in prop::collection::vec(0u16..20, 1..16),
            index in 0usize..2,
        ) {
            let (mut console, mut ring) = (Console::new(Vec::new()), TestRing::new());
            console.offer(b"some input");
            for (at, (address, len, flags, next)) in descriptors.into_iter().enumerate() {
                let address = if address % 3 == 0 { address } else { address % 0x5_0000 };
                ring.write_descriptor(at as u16, Descriptor { address, len, flags, next });
            }
            for head in heads {
                ring.offer(head);
            }
            let _ = process(&mut console, index, &mut ring);
        }
    }
}
