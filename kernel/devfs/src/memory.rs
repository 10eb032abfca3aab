//! [`NullDevice`], [`ZeroDevice`] and [`FullDevice`] (null(4), full(4)).

use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use pages::{Account, FaultError, Frame, MemoryObject, next_object_id};
use sync::SpinLock;
use vfs::{File, Io, Result, Sink, Source};

/// Takes everything and gives nothing.
pub struct NullDevice;

impl File for NullDevice {
    fn is_seekable(&self) -> bool {
        true
    }
    fn read(&self, _io: &mut Io, _sink: &mut dyn Sink) -> Result<usize> {
        Ok(0)
    }
    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        Ok(source.left())
    }
    fn label(&self) -> String {
        String::from("/dev/null")
    }
}

/// Takes everything and gives zeros.
pub struct ZeroDevice;

impl File for ZeroDevice {
    fn is_seekable(&self) -> bool {
        true
    }
    fn read(&self, _io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        sink.put_zeros(sink.room())
    }
    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        Ok(source.left())
    }
    fn mmap(&self) -> Result<Arc<dyn MemoryObject>> {
        Ok(Arc::new(ZeroPages {
            id: next_object_id(),
            pages: SpinLock::new(BTreeMap::new()),
        }))
    }
    fn label(&self) -> String {
        String::from("/dev/zero")
    }
}

/// Gives zeros and is always full.
pub struct FullDevice;

impl File for FullDevice {
    fn is_seekable(&self) -> bool {
        true
    }
    fn read(&self, _io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        sink.put_zeros(sink.room())
    }
    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        if source.left() == 0 {
            Ok(0)
        } else {
            Err(Errno::ENOSPC)
        }
    }
    fn label(&self) -> String {
        String::from("/dev/full")
    }
}

/// What one mapping of `/dev/zero` shows: pages of zeros of its own.
struct ZeroPages {
    id: u64,
    pages: SpinLock<BTreeMap<u64, Frame>>,
}

impl MemoryObject for ZeroPages {
    fn page(&self, index: u64, _write: bool) -> core::result::Result<Frame, FaultError> {
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::zeroed(&Account::kernel())?;
        pages.insert(index, frame.clone());
        Ok(frame)
    }
    fn id(&self) -> u64 {
        self.id
    }
    fn len_pages(&self) -> u64 {
        u64::MAX / pages::PAGE_SIZE as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::{SliceSource, VecSink};

    #[test]
    fn each_takes_and_gives_its_own_way() {
        let devices: [(&dyn File, usize, Result<usize>); 3] = [
            (&NullDevice, 0, Ok(3)),
            (&ZeroDevice, 600, Ok(3)),
            (&FullDevice, 600, Err(Errno::ENOSPC)),
        ];
        for (device, zeros, written) in devices {
            let mut sink = VecSink::new(600);
            assert_eq!(device.read(&mut Io::default(), &mut sink), Ok(zeros));
            assert!(sink.bytes.iter().all(|byte| *byte == 0));
            let mut source = SliceSource::new(b"abc");
            assert_eq!(device.write(&mut Io::default(), &mut source), written);
        }
    }

    #[test]
    fn mappings_of_zero_keep_their_pages_apart() {
        let (one, two) = (ZeroDevice.mmap().unwrap(), ZeroDevice.mmap().unwrap());
        one.page(5, true).unwrap().write(0, b"x");
        let mut byte = [9];
        one.page(5, false).unwrap().read(0, &mut byte);
        assert_eq!(byte, *b"x");
        two.page(5, false).unwrap().read(0, &mut byte);
        assert_eq!(byte, [0]);
    }
}
