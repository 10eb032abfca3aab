//! Virtual machines: what each CPU needs for them, and /dev/kvm. Where the
//! hardware cannot run guests, the host boots and says why.

use alloc::sync::Arc;
use kvm::machine::{Machine, prepare_cpu as prepare};
use vfs::{Credentials, FsContext, NodeContents};

/// Makes the first CPU ready and, if that went well, /dev/kvm openable.
pub fn init() {
    match prepare() {
        Ok(features) => {
            log::info!("virtual machines by AMD-V, {} address spaces a CPU", features.asids);
            kvm::files::register::<Machine>();
        }
        Err(reason) => log::warn!("no virtual machines: {reason}"),
    }
}

/// Makes another CPU ready.
pub fn prepare_cpu() {
    if let Err(reason) = prepare() {
        log::warn!("CPU {} runs no virtual machines: {reason}", hal::cpu::id());
    }
}

/// Makes the node /dev/kvm.
pub fn make_node(fs: &Arc<FsContext>) {
    let credentials = Credentials::root();
    let view = fs.view(&credentials, None);
    let (major, minor) = kvm::files::NUMBER;
    let rdev = abi::fs::makedev(major, minor);
    let root = view.root.clone();
    let device = NodeContents::Device { block: false, rdev };
    if let Err(error) = view.make(&root, b"/dev/kvm", device, 0o660) {
        log::error!("/dev/kvm cannot be made: {error}");
    }
}
