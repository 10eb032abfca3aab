//! Named pipes (fifo(7)): opening a node of that kind gives an end of the pipe
//! that hangs at it, and waits for the other side.

use crate::pipe::{Pipe, PipeEnd};
use abi::Errno;
use abi::event::Events;
use abi::fs::OpenFlags;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use pages::Account;
use vfs::{Attachment, File, Inode, Result};

/// Makes nodes of named pipes open pipes. Called once, at boot.
pub fn register_fifos() {
    vfs::device::set_fifo_opener(open);
}

fn open(
    _inode: &Arc<dyn Inode>,
    attachment: &Attachment,
    flags: OpenFlags,
) -> Result<Arc<dyn File>> {
    let pipe = attachment.get_or_attach(|| Pipe::bare(&Account::kernel()));
    let (reads, writes) = (flags.reads(), flags.writes());
    let nonblock = flags.contains(OpenFlags::NONBLOCK);
    if writes && !reads && nonblock && pipe.readers.load(Ordering::Acquire) == 0 {
        return Err(Errno::ENXIO);
    }
    let seen_readers = pipe.reader_opens.load(Ordering::Acquire);
    let seen_writers = pipe.writer_opens.load(Ordering::Acquire);
    let end = PipeEnd::new(&pipe, reads, writes, true);
    pipe.head.notify(Events::IN | Events::OUT);
    if nonblock || reads && writes {
        return Ok(end);
    }
    // The other side counts even if it has come and gone meanwhile.
    let came = |present: &AtomicU32, opens: &AtomicU32, seen: u32| {
        let there = present.load(Ordering::Acquire) != 0;
        (there || opens.load(Ordering::Acquire) != seen).then_some(())
    };
    if reads {
        let writer = || came(&pipe.writers, &pipe.writer_opens, seen_writers);
        pipe.head.wait(Events::IN, None, writer)?;
    } else {
        let reader = || came(&pipe.readers, &pipe.reader_opens, seen_readers);
        pipe.head.wait(Events::OUT, None, reader)?;
    }
    Ok(end)
}
