//! The hardware layer's frames and accounts.

pub use hal::mem::{Account, Charge, Frame, OutOfMemory, PAGE_SIZE};
