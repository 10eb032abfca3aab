//! What stands behind device nodes and named pipes: [`Device`]s by number,
//! registered by their drivers.

use crate::{Attachment, Caller, Errno, File, FileKind, Inode, OpenFlags, Result};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use sync::{Once, SpinLock};

/// What opening a device node does.
pub trait Device: Send + Sync {
    /// A file for one open. `caller` is `None` for the kernel's own opens.
    ///
    /// # Errors
    /// `ENXIO`, `EBUSY`, `EIO`.
    fn open(&self, flags: OpenFlags, caller: Option<&dyn Caller>) -> Result<Arc<dyn File>>;
}

/// Character or block, and the number (`abi::fs::makedev`).
type Number = (bool, u64);

static DEVICES: SpinLock<BTreeMap<Number, Arc<dyn Device>>> = SpinLock::new(BTreeMap::new());

/// Makes `device` what nodes of this number open. Returns what was there.
pub fn register(block: bool, rdev: u64, device: Arc<dyn Device>) -> Option<Arc<dyn Device>> {
    DEVICES.lock().insert((block, rdev), device)
}

/// Takes a device away; what is open stays open.
pub fn unregister(block: bool, rdev: u64) -> Option<Arc<dyn Device>> {
    DEVICES.lock().remove(&(block, rdev))
}

/// Opens the device of a number.
///
/// # Errors
/// `ENXIO` where there is none; what the device says.
pub fn open(
    block: bool,
    rdev: u64,
    flags: OpenFlags,
    caller: Option<&dyn Caller>,
) -> Result<Arc<dyn File>> {
    let device = DEVICES
        .lock()
        .get(&(block, rdev))
        .cloned()
        .ok_or(Errno::ENXIO)?;
    device.open(flags, caller)
}

/// Opens the pipe that hangs at a node, making it if need be. May block until
/// the other side is there.
pub type FifoOpener = fn(&Arc<dyn Inode>, &Attachment, OpenFlags) -> Result<Arc<dyn File>>;

static FIFO_OPENER: Once<FifoOpener> = Once::new();

/// Registers what opens named pipes; the first one stays.
pub fn set_fifo_opener(opener: FifoOpener) {
    let _ = FIFO_OPENER.set(opener);
}

/// Opens what stands behind a node that is no regular file and no directory.
pub(crate) fn open_node(
    inode: &Arc<dyn Inode>,
    flags: OpenFlags,
    caller: Option<&dyn Caller>,
) -> Result<Arc<dyn File>> {
    match inode.kind() {
        FileKind::Character => open(false, inode.metadata().rdev, flags, caller),
        FileKind::Block => open(true, inode.metadata().rdev, flags, caller),
        FileKind::Fifo => {
            let opener = FIFO_OPENER.get().ok_or(Errno::ENXIO)?;
            opener(inode, inode.attachment().ok_or(Errno::ENXIO)?, flags)
        }
        _ => Err(Errno::ENXIO),
    }
}
