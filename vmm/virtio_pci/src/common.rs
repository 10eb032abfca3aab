//! The common configuration registers: [`Common`], all but the rings'
//! addresses, which the queues keep. Virtio 1.2, section 4.1.4.3.

use crate::layout::COMMON_LEN;
use virtio_device::VirtQueue;
use virtio_queue::QueueT;

/// The vector number that means none.
pub const NO_VECTOR: u16 = 0xFFFF;

/// Bits of the device status.
pub mod status {
    /// The driver chose its features.
    pub const FEATURES_OK: u8 = 8;
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 4;
    /// The device cannot go on.
    pub const NEEDS_RESET: u8 = 64;
}

/// Feature bits of the transport and its rings.
pub const TRANSPORT_FEATURES: u64 = 1 << 28 | 1 << 29 | VERSION_1;
/// Used and available events.
pub const EVENT_INDEX: u64 = 1 << 29;
/// The driver knows virtio 1.
pub const VERSION_1: u64 = 1 << 32;

/// What a register write asks of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommonEffect {
    /// Nothing.
    None,
    /// Reset the device.
    Reset,
    /// The driver became ready.
    Activate,
}

/// Register state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    offered: u64,
    chosen: u64,
    offered_select: u32,
    chosen_select: u32,
    /// Vector of configuration changes.
    pub config_vector: u16,
    /// Vector of each queue.
    pub queue_vectors: Vec<u16>,
    status: u8,
    queue_select: u16,
    vectors: u16,
}

impl Common {
    /// Registers of a device with these features, queues and vectors.
    pub fn new(device_features: u64, queues: usize, vectors: u16) -> Self {
        Self {
            offered: device_features | TRANSPORT_FEATURES,
            chosen: 0,
            offered_select: 0,
            chosen_select: 0,
            config_vector: NO_VECTOR,
            queue_vectors: vec![NO_VECTOR; queues],
            status: 0,
            queue_select: 0,
            vectors,
        }
    }

    /// Back to the state after reset.
    pub fn reset(&mut self) {
        *self = Self::new(self.offered, self.queue_vectors.len(), self.vectors);
    }

    /// The features that the driver chose.
    pub fn features(&self) -> u64 {
        self.chosen
    }

    /// Whether the driver is ready and the device works.
    pub fn is_live(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// The device cannot go on until it is reset.
    pub fn set_needs_reset(&mut self) {
        self.status |= status::NEEDS_RESET;
    }

    /// Reads registers; zeroes beyond them.
    pub fn read(&self, offset: u64, data: &mut [u8], queues: &[VirtQueue]) {
        let mut block = [0; COMMON_LEN as usize];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &self.offered_select.to_le_bytes());
        put(0x04, &half(self.offered, self.offered_select).to_le_bytes());
        put(0x08, &self.chosen_select.to_le_bytes());
        put(0x0C, &half(self.chosen, self.chosen_select).to_le_bytes());
        put(0x10, &self.config_vector.to_le_bytes());
        put(0x12, &(queues.len() as u16).to_le_bytes());
        put(0x14, &[self.status, 0]);
        put(0x16, &self.queue_select.to_le_bytes());
        let select = usize::from(self.queue_select);
        if let (Some(queue), Some(vector)) = (queues.get(select), self.queue_vectors.get(select)) {
            let ring = queue.ring();
            put(0x18, &ring.size().to_le_bytes());
            put(0x1A, &vector.to_le_bytes());
            put(0x1C, &u16::from(ring.ready()).to_le_bytes());
            put(0x1E, &self.queue_select.to_le_bytes());
            put(0x20, &ring.desc_table().to_le_bytes());
            put(0x28, &ring.avail_ring().to_le_bytes());
            put(0x30, &ring.used_ring().to_le_bytes());
        }
        virtio_device::device::read_config_bytes(&block, offset, data);
    }

    /// Writes one register, or half of one of 64 bits. Other widths and
    /// places are ignored.
    pub fn write(&mut self, offset: u64, data: &[u8], queues: &mut [VirtQueue]) -> CommonEffect {
        match *data {
            [a] if offset == 0x14 => return self.write_status(a),
            [a, b] => self.write_u16(offset, u16::from_le_bytes([a, b]), queues),
            [a, b, c, d] => self.write_u32(offset, u32::from_le_bytes([a, b, c, d]), queues),
            [a, b, c, d, e, f, g, h] => {
                self.write_u32(offset, u32::from_le_bytes([a, b, c, d]), queues);
                self.write_u32(
                    offset.wrapping_add(4),
                    u32::from_le_bytes([e, f, g, h]),
                    queues,
                );
            }
            _ => {}
        }
        CommonEffect::None
    }

    fn write_status(&mut self, value: u8) -> CommonEffect {
        if value == 0 {
            return CommonEffect::Reset;
        }
        let mut value = value | self.status & status::NEEDS_RESET;
        let is_acceptable = self.chosen & !self.offered == 0 && self.chosen & VERSION_1 != 0;
        if value & status::FEATURES_OK != 0 && !is_acceptable {
            value &= !(status::FEATURES_OK | status::DRIVER_OK);
        }
        let was_live = self.is_live();
        self.status = value;
        if self.is_live() && !was_live && value & status::FEATURES_OK != 0 {
            return CommonEffect::Activate;
        }
        CommonEffect::None
    }

    fn vector(&self, value: u16) -> u16 {
        if value < self.vectors {
            value
        } else {
            NO_VECTOR
        }
    }

    fn write_u16(&mut self, offset: u64, value: u16, queues: &mut [VirtQueue]) {
        let select = usize::from(self.queue_select);
        match offset {
            0x10 => self.config_vector = self.vector(value),
            0x16 => self.queue_select = value,
            0x18 => {
                if let Some(ring) = self.unready_ring(queues) {
                    ring.set_size(value);
                }
            }
            0x1A => {
                let vector = self.vector(value);
                if let Some(slot) = self.queue_vectors.get_mut(select) {
                    *slot = vector;
                }
            }
            0x1C if value == 1 => {
                if let Some(ring) = self.unready_ring(queues) {
                    ring.set_ready(true);
                }
            }
            _ => {}
        }
    }

    fn write_u32(&mut self, offset: u64, value: u32, queues: &mut [VirtQueue]) {
        match offset {
            0x00 => self.offered_select = value,
            0x08 => self.chosen_select = value,
            0x0C if self.status & status::FEATURES_OK == 0 => self.choose(value),
            0x20..0x38 => {
                let Some(ring) = self.unready_ring(queues) else {
                    return;
                };
                match offset {
                    0x20 => ring.set_desc_table_address(Some(value), None),
                    0x24 => ring.set_desc_table_address(None, Some(value)),
                    0x28 => ring.set_avail_ring_address(Some(value), None),
                    0x2C => ring.set_avail_ring_address(None, Some(value)),
                    0x30 => ring.set_used_ring_address(Some(value), None),
                    0x34 => ring.set_used_ring_address(None, Some(value)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn choose(&mut self, value: u32) {
        let shift = match self.chosen_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.chosen = self.chosen & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
    }

    /// The selected queue's registers, as long as they may be changed.
    fn unready_ring<'q>(&self, queues: &'q mut [VirtQueue]) -> Option<&'q mut virtio_queue::Queue> {
        let ring = queues.get_mut(usize::from(self.queue_select))?.ring_mut();
        (!ring.ready()).then_some(ring)
    }
}

fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}
