//! The device: [`VirtioBlock`], configuration and the serving of requests.

use crate::request::{ID_LEN, RANGE_SECTORS_MAX, RANGES_MAX, Refusal, Request};
use crate::storage::{SECTOR, Storage};
use std::io;
use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_device::device::read_config_bytes;
use virtio_device::{Chain, GuestMemory, QueueFault, Served, VirtQueue, VirtioDevice};

/// Entries of the queue.
pub const QUEUE_SIZE: u16 = 256;

const CONFIG_LEN: usize = 60;
/// Data segments of a request: the ring without header and status.
const SEGMENTS_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// A disk.
pub struct VirtioBlock<S> {
    storage: S,
    is_readonly: bool,
    id: [u8; ID_LEN as usize],
    config: [u8; CONFIG_LEN],
}

impl<S: Storage> VirtioBlock<S> {
    /// A disk on `storage`. Of `serial` the first 20 bytes are shown.
    pub fn new(storage: S, is_readonly: bool, serial: &str) -> Self {
        let mut id = [0; ID_LEN as usize];
        for (slot, byte) in id.iter_mut().zip(serial.bytes()) {
            *slot = byte;
        }
        let config = config(storage.len() / SECTOR);
        Self {
            storage,
            is_readonly,
            id,
            config,
        }
    }

    /// Serves one request; returns the bytes written for the driver.
    fn serve(&mut self, chain: &Chain<'_>) -> u32 {
        let Some(status_at) = chain.writable.len().checked_sub(1) else {
            // Without room for a status nothing can be said.
            return 0;
        };
        let (status, written) = match Request::parse(chain, self.storage.len()) {
            Ok(request) => self.perform(&request),
            Err(Refusal::Invalid) => (VIRTIO_BLK_S_IOERR, 0),
            Err(Refusal::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        };
        chain.writable.copy_from(status_at, &[status as u8]);
        // The used length covers a prefix, so data that failed counts as none.
        if written == status_at {
            written as u32 + 1
        } else {
            0
        }
    }

    fn perform(&mut self, request: &Request<'_>) -> (u32, u64) {
        let (result, written) = match request {
            Request::Read(offset, buffer) => (self.storage.read(*offset, buffer), buffer.len()),
            Request::GetId(buffer) => {
                let len = buffer.copy_from(0, &self.id);
                (Ok(()), len as u64)
            }
            Request::Flush => (self.storage.flush(), 0),
            _ if self.is_readonly => (Err(io::ErrorKind::ReadOnlyFilesystem.into()), 0),
            Request::Write(offset, buffer) => (self.storage.write(*offset, buffer), 0),
            Request::Discard(ranges) => (
                ranges
                    .iter()
                    .try_for_each(|r| self.storage.discard(r.offset, r.len)),
                0,
            ),
            Request::WriteZeroes(ranges) => {
                let zero = |r: &crate::request::DiskRange| {
                    self.storage.write_zeroes(r.offset, r.len, r.may_unmap)
                };
                (ranges.iter().try_for_each(zero), 0)
            }
        };
        match result {
            Ok(()) => (VIRTIO_BLK_S_OK, written),
            Err(_) => (VIRTIO_BLK_S_IOERR, 0),
        }
    }
}

fn config(sectors: u64) -> [u8; CONFIG_LEN] {
    let mut config = [0; CONFIG_LEN];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &sectors.to_le_bytes());
    put(12, &SEGMENTS_MAX.to_le_bytes());
    put(20, &(SECTOR as u32).to_le_bytes());
    put(34, &1u16.to_le_bytes());
    for (at, value) in [
        (36, RANGE_SECTORS_MAX),
        (40, RANGES_MAX as u32),
        (44, 1),
        (48, RANGE_SECTORS_MAX),
        (52, RANGES_MAX as u32),
    ] {
        put(at, &value.to_le_bytes());
    }
    put(56, &[1]);
    config
}

impl<S: Storage> VirtioDevice for VirtioBlock<S> {
    fn device_type(&self) -> u16 {
        VIRTIO_ID_BLOCK as u16
    }

    fn features(&self) -> u64 {
        let always =
            1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH;
        let mode = if self.is_readonly {
            1 << VIRTIO_BLK_F_RO
        } else {
            1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES
        };
        always | mode
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config, offset, data);
    }

    fn process(
        &mut self,
        _index: usize,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault> {
        queue.serve_all(memory, |chain| self.serve(chain))
    }
}
