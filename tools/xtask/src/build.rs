//! Everything that is booted: kernel, programs, boot archive.
//!
//! Main type: [`Built`].

use std::path::PathBuf;

use anyhow::Result;

use crate::boot_archive;
use crate::house::House;
use crate::kernel_image::{self, KernelImage};
use crate::setup::toolchain;
use crate::worlds;

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel.
    pub kernel: KernelImage,
    /// The boot archive.
    pub archive: PathBuf,
}

/// Builds all of it.
pub fn all(house: &House) -> Result<Built> {
    let bare = toolchain::provide(house)?;
    let kernel = kernel_image::build(house, &bare)?;
    let worlds = worlds::build(house, &house.packages()?)?;
    let archive = boot_archive::build(house, &worlds, &kernel.symbols)?;
    Ok(Built { kernel, archive })
}
