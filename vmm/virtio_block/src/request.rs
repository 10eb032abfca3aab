//! One block request: [`Request`], read out of a chain once and checked
//! against the disk before anything is done.
//!
//! Virtio 1.2, section 5.2.6.

use crate::storage::SECTOR;
use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use virtio_device::{Buffer, Chain};

/// Bytes of the header.
pub const HEADER: u64 = 16;
/// Bytes of a disk's id.
pub const ID_LEN: u64 = 20;
/// Most ranges in one discard or write-zeroes request.
pub const RANGES_MAX: u64 = 32;
/// Most sectors in one such range.
pub const RANGE_SECTORS_MAX: u32 = 1 << 22;

const RANGE: u64 = 16;
const FLAG_UNMAP: u32 = 1;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is malformed or outside of the disk.
    Invalid,
    /// The device does not know it.
    Unsupported,
}

/// A range of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRange {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// The space may be given up.
    pub may_unmap: bool,
}

/// A checked request.
pub enum Request<'m> {
    /// Read the disk into the buffer.
    Read(u64, Buffer<'m>),
    /// Write the buffer to the disk.
    Write(u64, Buffer<'m>),
    /// Make what was written survive.
    Flush,
    /// Say which disk it is.
    GetId(Buffer<'m>),
    /// Forget ranges.
    Discard(Vec<DiskRange>),
    /// Zero ranges.
    WriteZeroes(Vec<DiskRange>),
}

impl<'m> Request<'m> {
    /// Reads a request for a disk of `disk_len` bytes. The last byte that the
    /// device may write is the status and not part of the data.
    ///
    /// # Errors
    /// It is to be refused.
    pub fn parse(chain: &Chain<'m>, disk_len: u64) -> Result<Self, Refusal> {
        let mut header = [0; HEADER as usize];
        if chain.readable.copy_to(0, &mut header) < header.len() || chain.writable.is_empty() {
            return Err(Refusal::Invalid);
        }
        let [kind, _, low, high] = words(&header);
        let sector = u64::from(high) << 32 | u64::from(low);
        let sent = chain.readable.part(HEADER, chain.readable.len() - HEADER);
        let room = chain.writable.part(0, chain.writable.len() - 1);
        let (Some(sent), Some(room)) = (sent, room) else {
            return Err(Refusal::Invalid);
        };
        match kind {
            VIRTIO_BLK_T_IN => Ok(Self::Read(place(sector, room.len(), disk_len)?, room)),
            VIRTIO_BLK_T_OUT => Ok(Self::Write(place(sector, sent.len(), disk_len)?, sent)),
            VIRTIO_BLK_T_FLUSH => Ok(Self::Flush),
            VIRTIO_BLK_T_GET_ID if room.len() >= ID_LEN => Ok(Self::GetId(room)),
            VIRTIO_BLK_T_GET_ID => Err(Refusal::Invalid),
            VIRTIO_BLK_T_DISCARD => Ok(Self::Discard(ranges(&sent, disk_len, 0)?)),
            VIRTIO_BLK_T_WRITE_ZEROES => {
                Ok(Self::WriteZeroes(ranges(&sent, disk_len, FLAG_UNMAP)?))
            }
            _ => Err(Refusal::Unsupported),
        }
    }
}

/// The byte offset of `len` bytes at `sector`, if they are on the disk.
fn place(sector: u64, len: u64, disk_len: u64) -> Result<u64, Refusal> {
    let offset = sector.checked_mul(SECTOR).ok_or(Refusal::Invalid)?;
    let end = offset.checked_add(len).ok_or(Refusal::Invalid)?;
    if len.is_multiple_of(SECTOR) && end <= disk_len {
        Ok(offset)
    } else {
        Err(Refusal::Invalid)
    }
}

fn ranges(sent: &Buffer<'_>, disk_len: u64, flags: u32) -> Result<Vec<DiskRange>, Refusal> {
    let count = sent.len() / RANGE;
    if sent.len() % RANGE != 0 || !(1..=RANGES_MAX).contains(&count) {
        return Err(Refusal::Invalid);
    }
    let range = |index| {
        let mut bytes = [0; RANGE as usize];
        sent.copy_to(index * RANGE, &mut bytes);
        let [low, high, sectors, given] = words(&bytes);
        if given & !flags != 0 {
            return Err(Refusal::Unsupported);
        }
        if sectors > RANGE_SECTORS_MAX {
            return Err(Refusal::Invalid);
        }
        let sector = u64::from(high) << 32 | u64::from(low);
        let len = u64::from(sectors) * SECTOR;
        let offset = place(sector, len, disk_len)?;
        Ok(DiskRange {
            offset,
            len,
            may_unmap: given & FLAG_UNMAP != 0,
        })
    };
    (0..count).map(range).collect()
}

fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, piece) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = piece
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
    }
    words
}
