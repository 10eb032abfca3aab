//! What a fresh machine lacks, and how it gets it.
//!
//! Three concerns, one file each: `packages` (programs from Debian), `toolchain` (a compiler for the bare
//! machine; `sysroot` builds its core library where there is none), `debian_kernel` (Linux for guests and for
//! comparison). Each asks what is there and does nothing when all is.

pub mod debian_kernel;
pub mod packages;
mod sysroot;
pub mod toolchain;

use anyhow::Result;

use crate::house::House;

/// All of it, for `cargo xtask setup`.
pub fn everything(house: &House) -> Result<()> {
    packages::qemu()?;
    packages::nextest(house)?;
    let bare = toolchain::provide(house)?;
    println!("compiler for the bare machine: {}", bare.describe());
    for flavour in [debian_kernel::Flavour::Cloud, debian_kernel::Flavour::Full] {
        let kernel = debian_kernel::fetch(house, flavour)?;
        println!("Linux for guests: {}", kernel.release);
    }
    let busybox = debian_kernel::busybox(house)?;
    println!("busybox: {}", busybox.display());
    Ok(())
}
