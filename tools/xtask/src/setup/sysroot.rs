//! A core library for the bare machine, built once from a compiler's own source.
//!
//! For compilers that come without the target (Debian's). The result is an ordinary sysroot folder: every later
//! build is a plain stable build with `--sysroot`. This one step uses cargo's unstable build-std, which asks for
//! `RUSTC_BOOTSTRAP`; nothing else does. Neighbour: `toolchain` decides when.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::toolchain::{BARE_TARGET, Compiler};
use crate::command::{run, timed};
use crate::house::{House, write_if_changed};

/// Counts changes of the recipe below, so that an older result is not taken for a newer.
const RECIPE: u32 = 1;
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// The sysroot that was built earlier for exactly this compiler.
pub fn find(house: &House, compiler: &Compiler) -> Option<PathBuf> {
    let folder = place(house, compiler);
    holds_core(&libraries(&folder)).then_some(folder)
}

/// Whether a library folder has a core library.
pub fn holds_core(folder: &Path) -> bool {
    let names = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .any(|name| is_library(&name, "core"))
}

/// Builds it.
pub fn build(house: &House, compiler: &Compiler) -> Result<PathBuf> {
    let done = place(house, compiler);
    let work = done.with_extension("build");
    let version = compiler.version.lines().next().unwrap_or("rustc");
    timed(
        &format!("Building core for {BARE_TARGET} with {version} (about a minute, once)"),
        || compile(compiler, &work),
    )?;
    let fresh = done.with_extension("new");
    collect(
        &work.join("target").join(BARE_TARGET).join("release/deps"),
        &libraries(&fresh),
    )?;
    // Renaming last: a sysroot that has its name is whole.
    let _ = fs::remove_dir_all(&done);
    fs::rename(&fresh, &done).with_context(|| format!("Cannot make {}", done.display()))?;
    let _ = fs::remove_dir_all(&work);
    Ok(done)
}

/// Builds an empty crate, and with it the libraries it stands on.
fn compile(compiler: &Compiler, work: &Path) -> Result<()> {
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
                    [profile.release]\nopt-level = 3\ndebug = 0\npanic = \"abort\"\n";
    write_if_changed(&work.join("Cargo.toml"), manifest.as_bytes())?;
    write_if_changed(&work.join("src/lib.rs"), b"#![no_std]\n")?;
    let mut command = compiler.cargo();
    command
        .current_dir(work)
        .args(["build", "--release", "--quiet", "--target", BARE_TARGET]);
    command.arg("--target-dir").arg(work.join("target"));
    command.arg(format!("-Zbuild-std={}", LIBRARIES.join(",")));
    command.arg("-Zbuild-std-features=compiler-builtins-mem");
    // With bitcode, so that the kernel's link-time optimisation reaches into core.
    let flags = "-Cembed-bitcode=yes -Cforce-frame-pointers=yes -Crelocation-model=static \
                 -Ccode-model=kernel";
    command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", flags);
    command.env("RUSTC_BOOTSTRAP", "1");
    run(&mut command)
}

fn collect(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("Cannot make {}", to.display()))?;
    let mut found = 0;
    for entry in fs::read_dir(from).with_context(|| format!("Cannot list {}", from.display()))? {
        let file = entry?.path();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if LIBRARIES.iter().any(|library| is_library(&name, library)) {
            fs::copy(&file, to.join(&name))
                .with_context(|| format!("Cannot copy {}", file.display()))?;
            found += 1;
        }
    }
    if found != LIBRARIES.len() {
        bail!(
            "The compiler built {found} of the {} libraries",
            LIBRARIES.len()
        );
    }
    Ok(())
}

/// `libcore-HASH.rlib` is the library `core`.
fn is_library(file: &str, library: &str) -> bool {
    let stem = file
        .strip_prefix("lib")
        .and_then(|rest| rest.strip_suffix(".rlib"));
    stem.and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(name, _)| name == library)
}

fn place(house: &House, compiler: &Compiler) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (RECIPE, &compiler.version).hash(&mut hasher);
    house.built(&format!("sysroot/{:016x}", hasher.finish()))
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(BARE_TARGET).join("lib")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_file_names() {
        assert!(is_library("libcore-0123abcd.rlib", "core"));
        assert!(is_library(
            "libcompiler_builtins-77.rlib",
            "compiler_builtins"
        ));
        assert!(!is_library("libcore-0123abcd.rmeta", "core"));
        assert!(!is_library("libcore_detect-77.rlib", "core"));
    }
}
