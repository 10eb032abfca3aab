//! The interrupt controllers and the timer that a VM finds behind
//! `KVM_CREATE_IRQCHIP` and `KVM_CREATE_PIT2`, as pure state machines.
//!
//! Nothing here locks, sleeps, allocates on a hot path or knows a clock: time
//! comes in as a parameter (nanoseconds of the VM's clock), effects go out as
//! return values, and the caller (the kernel's crate `kvm`) connects them:
//!
//! ```text
//!  device line / irqfd --> Routes --> Pic, Ioapic, or a Message (MSI)
//!  Pit (GSI 0) ----------/             |        |          |
//!                                INTR, LINT0   Message     |
//!                                      |        v          v
//!                                      |   DestinationMap: which vCPUs?
//!                                      v        |
//!                       vCPU:  Lapic <-- Posted (any CPU posts, no lock)
//! ```
//!
//! A vCPU's LAPIC is in two halves. [`Posted`] is shared: any CPU may add an
//! interrupt to it, and learns whether the target needs a kick. [`Lapic`]
//! belongs to the thread that runs the vCPU and takes in what was posted.
//!
//! Manuals followed, each named in the file that follows it: AMD64
//! Architecture Programmer's Manual vol. 2 ch. 16 (LAPIC, x2APIC), Intel SDM
//! vol. 3 ch. 11 (message format), Intel 82093AA (I/O APIC), Intel 8259A,
//! Intel 8254.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod destination;
mod ioapic;
mod lapic;
mod line;
mod message;
mod pic;
mod pit;
mod posted;
mod routes;

pub use destination::{DestinationMap, VcpuSet};
pub use ioapic::{IOAPIC_BASE, Ioapic, PinMask};
pub use lapic::{
    ApicBase, Deadline, Effect, Identity, InvalidAccess, Lapic, LintEffect, Model, Pin,
};
pub use line::SharedLine;
pub use message::{Destination, Message, Mode, Shorthand};
pub use pic::{Acknowledged, Pic};
pub use pit::{PIT_HZ, Pit};
pub use posted::{Events, Kick, Posted};
pub use routes::{RouteError, Routes, Target};
