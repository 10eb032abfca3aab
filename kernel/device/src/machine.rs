//! [`Machine`]: the [`Platform`] of real hardware, over the hal.

use alloc::sync::Arc;

use hal::mem::{Account, DeviceMemory, DmaMemory};
use virtqueue::QueueMemory;

use crate::pci::Ports;
use crate::{InterruptHandler, InterruptTable, MsiMessage, Platform, Registers};

/// The handlers of all device vectors of the machine.
pub static INTERRUPTS: InterruptTable = InterruptTable::new();

/// The machine that the kernel runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Platform for Machine {
    type Registers = DeviceMemory;
    type Dma = SharedMemory;

    fn map_registers(&self, address: u64, length: usize) -> Option<DeviceMemory> {
        DeviceMemory::map(address, length)
    }

    fn allocate_dma(&self, length: usize) -> Option<SharedMemory> {
        DmaMemory::new(length, &Account::kernel())
            .ok()
            .map(SharedMemory)
    }

    fn allocate_interrupt(
        &self,
        cpu: usize,
        handler: Arc<dyn InterruptHandler>,
        argument: usize,
    ) -> Option<MsiMessage> {
        let vector = hal::irq::alloc_vector()?;
        if !INTERRUPTS.register(vector, handler, argument) {
            return None;
        }
        let (address, data) = hal::irq::message(vector, cpu);
        Some(MsiMessage { address, data })
    }

    fn cpu(&self) -> usize {
        hal::cpu::id()
    }

    fn cpu_count(&self) -> usize {
        hal::cpu::count()
    }
}

/// Memory that a device shares.
#[derive(Debug)]
pub struct SharedMemory(DmaMemory);

impl QueueMemory for SharedMemory {
    #[inline]
    fn length(&self) -> usize {
        self.0.len()
    }
    #[inline]
    fn device_address(&self, offset: usize) -> u64 {
        self.0.address(offset)
    }
    #[inline]
    fn read_u16(&self, offset: usize) -> u16 {
        self.0.read_u16(offset)
    }
    #[inline]
    fn read_u64(&self, offset: usize) -> u64 {
        self.0.read_u64(offset)
    }
    #[inline]
    fn write_u16(&self, offset: usize, value: u16) {
        self.0.write_u16(offset, value);
    }
    #[inline]
    fn write_u64(&self, offset: usize, value: u64) {
        self.0.write_u64(offset, value);
    }
}

impl Registers for DeviceMemory {
    #[inline]
    fn read_u8(&self, offset: usize) -> u8 {
        Self::read_u8(self, offset)
    }
    #[inline]
    fn read_u16(&self, offset: usize) -> u16 {
        Self::read_u16(self, offset)
    }
    #[inline]
    fn read_u32(&self, offset: usize) -> u32 {
        Self::read_u32(self, offset)
    }
    #[inline]
    fn write_u8(&self, offset: usize, value: u8) {
        Self::write_u8(self, offset, value);
    }
    #[inline]
    fn write_u16(&self, offset: usize, value: u16) {
        Self::write_u16(self, offset, value);
    }
    #[inline]
    fn write_u32(&self, offset: usize, value: u32) {
        Self::write_u32(self, offset, value);
    }
}

/// Ports CF8 to CFF, for [`crate::pci::PortConfig`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PciPorts;

impl Ports for PciPorts {
    fn read_u32(&self, port: u16) -> u32 {
        hal::pci_ports::read_u32(port)
    }
    fn write_u32(&self, port: u16, value: u32) {
        hal::pci_ports::write_u32(port, value);
    }
    fn write_u16(&self, port: u16, value: u16) {
        hal::pci_ports::write_u16(port, value);
    }
}
