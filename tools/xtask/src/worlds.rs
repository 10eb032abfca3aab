//! The programs of ring 3: static Linux binaries for the boot archive.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{program, run, timed};
use crate::house::{House, Package};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A static program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The program's name.
    pub name: String,
    /// Whether it belongs to the tests and not to the product.
    pub is_test: bool,
    /// Where it was built.
    pub file: PathBuf,
}

/// Builds all of them.
pub fn build(house: &House, packages: &[Package]) -> Result<Vec<World>> {
    let chosen: Vec<&Package> = packages
        .iter()
        .filter(|p| p.is_world && !p.programs.is_empty())
        .collect();
    let folder = house.built("worlds");
    if !chosen.is_empty() {
        timed("Building the programs of ring 3", || {
            let mut command = program("cargo");
            command.args(["build", "--bins", "--profile", "world", "--target", TARGET]);
            command
                .arg("--target-dir")
                .arg(&folder)
                .current_dir(&house.root);
            command.args(chosen.iter().flat_map(|package| ["-p", &package.name]));
            let flags = "-Ctarget-feature=+crt-static -Crelocation-model=static";
            command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
            run(&mut command)
        })?;
    }
    let built = folder.join(TARGET).join("world");
    let each = |package: &&Package| {
        let is_test = package.layer != "worlds";
        let world = |name: &String| World {
            name: name.clone(),
            is_test,
            file: built.join(name),
        };
        package.programs.iter().map(world).collect::<Vec<_>>()
    };
    Ok(chosen.iter().flat_map(each).collect())
}
