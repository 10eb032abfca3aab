//! One queue of a device: [`VirtQueue`], around `virtio-queue`'s split ring,
//! and [`Chain`], one request of the driver.

use crate::{Buffer, GuestMemory, QueueFault, Served};
use virtio_queue::{Queue, QueueOwnedT, QueueT};

/// A request: what the device reads, and what it may write.
pub struct Chain<'m> {
    /// Number by which the chain is given back.
    pub head: u16,
    /// For the device to read.
    pub readable: Buffer<'m>,
    /// For the device to write.
    pub writable: Buffer<'m>,
}

/// A split virtqueue.
pub struct VirtQueue {
    ring: Queue,
}

impl VirtQueue {
    /// A queue of at most `max_size` entries, a power of two up to 32768.
    pub fn new(max_size: u16) -> Self {
        let ring = Queue::new(max_size).expect("invariant: queue sizes are powers of two");
        Self { ring }
    }

    /// The ring's registers, for the transport.
    pub fn ring(&self) -> &Queue {
        &self.ring
    }

    /// The ring's registers, for the transport.
    pub fn ring_mut(&mut self) -> &mut Queue {
        &mut self.ring
    }

    /// Whether the driver set it up and all of it lies in guest memory.
    pub fn is_usable(&self, memory: &GuestMemory) -> bool {
        self.ring.ready() && self.ring.is_valid(memory)
    }

    /// Takes the next request, if there is one.
    ///
    /// # Errors
    /// The ring or the request breaks the rules.
    pub fn pop<'m>(&mut self, memory: &'m GuestMemory) -> Result<Option<Chain<'m>>, QueueFault> {
        let next = self.ring.iter(memory).map_err(|_| QueueFault::Ring)?.next();
        let Some(descriptors) = next else {
            return Ok(None);
        };
        let head = descriptors.head_index();
        let mut chain = Chain {
            head,
            readable: Buffer::default(),
            writable: Buffer::default(),
        };
        for descriptor in descriptors {
            let buffer = if descriptor.is_write_only() {
                &mut chain.writable
            } else if chain.writable.is_empty() {
                &mut chain.readable
            } else {
                return Err(QueueFault::Order);
            };
            buffer.append(memory, descriptor.addr(), descriptor.len())?;
        }
        Ok(Some(chain))
    }

    /// Puts a request back that was taken last and cannot be served yet.
    pub fn undo_pop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Gives a request back, of which `written` bytes were written.
    ///
    /// # Errors
    /// The ring breaks the rules.
    pub fn push(
        &mut self,
        memory: &GuestMemory,
        head: u16,
        written: u32,
    ) -> Result<(), QueueFault> {
        self.ring
            .add_used(memory, head, written)
            .map_err(|_| QueueFault::Ring)
    }

    /// Whether the driver wants an interrupt for what was given back.
    ///
    /// # Errors
    /// The ring breaks the rules.
    pub fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueFault> {
        self.ring
            .needs_notification(memory)
            .map_err(|_| QueueFault::Ring)
    }

    /// Asks for notifications again; true if requests came in meanwhile.
    ///
    /// # Errors
    /// The ring breaks the rules.
    pub fn enable_notification(&mut self, memory: &GuestMemory) -> Result<bool, QueueFault> {
        self.ring
            .enable_notification(memory)
            .map_err(|_| QueueFault::Ring)
    }

    /// Serves requests with `serve`, which returns the bytes written, until
    /// there are none or as many as the ring holds were served.
    ///
    /// # Errors
    /// The ring or a request breaks the rules.
    pub fn serve_all(
        &mut self,
        memory: &GuestMemory,
        mut serve: impl FnMut(&Chain<'_>) -> u32,
    ) -> Result<Served, QueueFault> {
        let budget = self.ring.size();
        let mut used = 0;
        loop {
            self.ring
                .disable_notification(memory)
                .map_err(|_| QueueFault::Ring)?;
            while used < budget
                && let Some(chain) = self.pop(memory)?
            {
                let written = serve(&chain);
                self.push(memory, chain.head, written)?;
                used += 1;
            }
            if used == budget || !self.enable_notification(memory)? {
                break;
            }
        }
        let wants_interrupt = used > 0 && self.wants_interrupt(memory)?;
        Ok(Served {
            wants_interrupt,
            has_more: used == budget,
        })
    }
}
