//! [`TransportError`]: why a virtio function cannot be driven.

use core::fmt;

use virtqueue::LayoutError;

use crate::pci::{FunctionAddress, MsixError};

/// Why a virtio function cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// A register window is missing, as it is on legacy devices.
    NoWindow {
        /// The function.
        function: FunctionAddress,
        /// Number of the window's type.
        kind: u8,
    },
    /// A register window is not inside a memory BAR that can be mapped.
    BadWindow {
        /// The function.
        function: FunctionAddress,
        /// Number of the window's type.
        kind: u8,
    },
    /// The device did not come out of reset.
    Reset(FunctionAddress),
    /// The device lacks features without which it cannot be driven.
    Features {
        /// What it offers.
        offered: u64,
        /// What is needed.
        needed: u64,
    },
    /// The device refuses the features chosen.
    Refused {
        /// What was chosen.
        chosen: u64,
    },
    /// There is no such queue.
    NoQueue(u16),
    /// The device has no interrupt for a vector it was given.
    Vector(u16),
    /// The queue's place for notifications is outside its window.
    Notification(u16),
    /// A queue's size or memory is wrong.
    Queue(LayoutError),
    /// Interrupts cannot be set up.
    Msix(MsixError),
    /// Memory or interrupt vectors of the machine are used up.
    NoResources,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWindow { function, kind } => {
                write!(
                    f,
                    "Virtio function {function} has no register window of type {kind}"
                )
            }
            Self::BadWindow { function, kind } => write!(
                f,
                "Virtio function {function}: its register window of type {kind} cannot be mapped"
            ),
            Self::Reset(function) => {
                write!(f, "Virtio function {function} does not come out of reset")
            }
            Self::Features { offered, needed } => {
                write!(
                    f,
                    "Virtio device offers features {offered:#x}, {needed:#x} are needed"
                )
            }
            Self::Refused { chosen } => {
                write!(
                    f,
                    "Virtio device refuses features {chosen:#x}, which it offered"
                )
            }
            Self::NoQueue(index) => write!(f, "Virtio device has no queue {index}"),
            Self::Vector(vector) => {
                write!(f, "Virtio device does not accept interrupt vector {vector}")
            }
            Self::Notification(index) => write!(
                f,
                "Virtio device wants to be told of queue {index} outside its register window"
            ),
            Self::Queue(error) => error.fmt(f),
            Self::Msix(error) => error.fmt(f),
            Self::NoResources => f.write_str("Memory or interrupt vectors are used up"),
        }
    }
}

impl core::error::Error for TransportError {}

impl From<LayoutError> for TransportError {
    fn from(error: LayoutError) -> Self {
        Self::Queue(error)
    }
}

impl From<MsixError> for TransportError {
    fn from(error: MsixError) -> Self {
        Self::Msix(error)
    }
}
