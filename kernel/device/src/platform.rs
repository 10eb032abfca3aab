//! [`Platform`]: what drivers ask of the machine.

use alloc::sync::Arc;

use virtqueue::QueueMemory;

/// A window of device registers. Each access is one access of the bus, in
/// program order; offsets must be multiples of the width and inside.
pub trait Registers: Send + Sync {
    /// Reads one byte.
    fn read_u8(&self, offset: usize) -> u8;
    /// Reads two bytes, little-endian.
    fn read_u16(&self, offset: usize) -> u16;
    /// Reads four bytes, little-endian.
    fn read_u32(&self, offset: usize) -> u32;
    /// Writes one byte.
    fn write_u8(&self, offset: usize, value: u8);
    /// Writes two bytes, little-endian.
    fn write_u16(&self, offset: usize, value: u16);
    /// Writes four bytes, little-endian.
    fn write_u32(&self, offset: usize, value: u32);
}

/// What a function writes to raise an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// Who is called when an interrupt arrives: with interrupts disabled, on the
/// CPU that the message names.
pub trait InterruptHandler: Send + Sync {
    /// The device wants attention. `argument` is what the handler was
    /// registered with.
    fn interrupt(&self, argument: usize);
}

/// The machine around the devices.
pub trait Platform: Send + Sync {
    /// A mapped window of registers.
    type Registers: Registers;
    /// Contiguous memory that devices reach.
    type Dma: QueueMemory + Send + Sync;

    /// Maps `length` bytes of device registers at physical `address`, both
    /// multiples of 4. `None` if that is memory, or if none is left to map with.
    fn map_registers(&self, address: u64, length: usize) -> Option<Self::Registers>;

    /// Zeroed memory of at least `length` bytes, aligned to 4096.
    fn allocate_dma(&self, length: usize) -> Option<Self::Dma>;

    /// An interrupt on CPU `cpu` that calls `handler` with `argument`. `None`
    /// if all are in use.
    fn allocate_interrupt(
        &self,
        cpu: usize,
        handler: Arc<dyn InterruptHandler>,
        argument: usize,
    ) -> Option<MsiMessage>;

    /// The CPU this runs on, from 0.
    fn cpu(&self) -> usize;

    /// CPUs of the machine.
    fn cpu_count(&self) -> usize;
}
