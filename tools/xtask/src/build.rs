//! Everything that is booted: kernel, programs, boot archive.
//!
//! Main type: [`Built`].

use std::path::PathBuf;

use anyhow::Result;

use crate::boot_archive;
use crate::house::House;
use crate::kernel_image::{self, KernelImage};
use crate::setup::toolchain;
use crate::worlds::{self, Kind, World};

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel.
    pub kernel: KernelImage,
    /// The boot archive.
    pub archive: PathBuf,
    /// The programs, also those that this archive lacks.
    pub worlds: Vec<World>,
}

/// What a boot archive is for: beside the product it has the programs of one kind, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run.
    Run,
    /// To be tested.
    Test,
    /// To be measured.
    Bench,
}

impl Purpose {
    fn wants(self, kind: Kind) -> bool {
        match kind {
            Kind::Product => true,
            Kind::Test => self == Purpose::Test,
            Kind::Bench => self == Purpose::Bench,
        }
    }

    fn archive(self) -> &'static str {
        match self {
            Purpose::Run => "boot.cpio",
            Purpose::Test => "boot-test.cpio",
            Purpose::Bench => "boot-bench.cpio",
        }
    }
}

/// Builds all of it.
pub fn all(house: &House, purpose: Purpose) -> Result<Built> {
    let bare = toolchain::provide(house)?;
    let kernel = kernel_image::build(house, &bare)?;
    let worlds = worlds::build(house, &house.packages()?)?;
    let chosen: Vec<&World> = worlds
        .iter()
        .filter(|world| purpose.wants(world.kind))
        .collect();
    let archive = boot_archive::build(house, purpose.archive(), &chosen, &kernel.symbols)?;
    Ok(Built {
        kernel,
        archive,
        worlds,
    })
}

impl Built {
    /// The names of the programs of one kind.
    pub fn programs(&self, kind: Kind) -> Vec<String> {
        let chosen = self.worlds.iter().filter(|world| world.kind == kind);
        chosen.map(|world| world.name.clone()).collect()
    }
}
