//! Virtual machines: what each CPU needs for them, and /dev/kvm. Where the
//! hardware cannot run guests, the host boots and says why.

use kvm::machine::{Machine, prepare_cpu as prepare};
use sync::Once;

static IS_READY: Once<()> = Once::new();

/// Makes the first CPU ready and, if that went well, /dev/kvm openable.
pub fn init() {
    match prepare() {
        Ok(features) => {
            log::info!(
                "virtual machines by AMD-V, {} address spaces a CPU",
                features.asids
            );
            kvm::files::register::<Machine>();
            let _ = IS_READY.set(());
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

/// The device number of /dev/kvm, where guests can be run.
pub fn device_number() -> Option<u64> {
    let (major, minor) = kvm::files::NUMBER;
    IS_READY.get().map(|()| abi::fs::makedev(major, minor))
}
