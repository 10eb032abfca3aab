//! What every virtio device is: the contract [`VirtioDevice`], its queues
//! ([`VirtQueue`]) and the guest buffers of a request ([`Chain`], [`Buffer`]).
//!
//! A device knows nothing of its transport. Neighbours: `virtio_pci` is the
//! transport, `virtio_block`, `virtio_console` and `virtio_rng` are devices.
//! Follows virtio 1.2, chapter 2. Rings are handled by the crate
//! `virtio-queue`; everything a guest writes is untrusted and copied once.
#![forbid(unsafe_code)]

pub mod buffer;
pub mod device;
pub mod queue;
pub mod test_ring;

pub use buffer::Buffer;
pub use device::{QueueFault, Served, VirtioDevice};
pub use queue::{Chain, VirtQueue};

/// Guest memory as devices see it.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;
