//! The console: programs write to the serial port.

use alloc::sync::Arc;
use abi::fs::makedev;
use vfs::{Caller, Device, Errno, File, Io, OpenFlags, Source};

struct Console;

impl File for Console {
    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> vfs::Result<usize> {
        let mut done = 0;
        while source.left() > 0 {
            let mut bytes = [0; 256];
            let count = source.take(&mut bytes)?;
            for piece in bytes[..count].split_inclusive(|&byte| byte == b'\n') {
                hal::console::write(piece);
                if piece.ends_with(b"\n") {
                    hal::console::write(b"\r");
                }
            }
            done += count;
        }
        Ok(done)
    }
}

impl Device for Console {
    fn open(&self, _flags: OpenFlags, _caller: Option<&dyn Caller>) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(Console))
    }
}

/// Registers the console's device numbers.
pub fn init() {
    for number in [makedev(5, 1), makedev(4, 64)] {
        vfs::device::register(false, number, Arc::new(Console));
    }
}
