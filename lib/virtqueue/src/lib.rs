//! The driver's side of virtio's split queues (virtio 1.2, section 2.7).
//!
//! [`Queue`] is the main type. It hands scatter lists of [`Segment`]s to a
//! device and takes completions back, with indirect descriptors and the event
//! index where the device offers them. The same code serves PCI hardware and
//! channels to driver worlds; how a device is told of new requests is the
//! caller's business.
//!
//! Whatever the other side writes is untrusted. The table of requests in
//! flight and the list of free descriptors are the queue's own; shared memory
//! is only ever read for the used ring and two event words, and every value
//! from there is checked. A device that breaks the rules gets a
//! [`DeviceError`] and its queue refuses further work until it is reset.
//!
//! The request path does not allocate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "simulation"))]
extern crate std;

mod error;
mod layout;
mod memory;
mod queue;
mod segment;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slots;

pub use error::{AddError, DeviceError, LayoutError};
pub use layout::{DEFAULT_SIZE, Layout, MAX_SIZE};
pub use memory::QueueMemory;
pub use queue::{Completion, Draft, Queue, QueueFeatures, Rejected};
pub use segment::Segment;
