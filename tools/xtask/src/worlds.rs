//! The programs of ring 3: static Linux binaries for the boot archive.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{program, run, timed};
use crate::house::{House, Package};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is part of the product.
    Product,
    /// It tests the kernel from inside, as process 1.
    Test,
    /// It measures, here and on Linux.
    Bench,
}

/// A static program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The program's name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
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
        let kind = match package.layer.as_str() {
            "worlds" => Kind::Product,
            "bench" => Kind::Bench,
            _ => Kind::Test,
        };
        let world = |name: &String| World {
            name: name.clone(),
            kind,
            file: built.join(name),
        };
        package.programs.iter().map(world).collect::<Vec<_>>()
    };
    Ok(chosen.iter().flat_map(each).collect())
}
