//! The kernel: its ELF file and its symbol table.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use qemu::Symbols;

use crate::command::{run, timed};
use crate::house::House;
use crate::setup::toolchain::{BARE_TARGET, BareToolchain};

/// The package that is the kernel.
pub const KERNEL: &str = "vmkernel";

/// A built kernel.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// The ELF file that QEMU boots.
    pub elf: PathBuf,
    /// Names of its code addresses.
    pub symbols: Symbols,
}

/// Builds the kernel.
pub fn build(house: &House, toolchain: &BareToolchain) -> Result<KernelImage> {
    let folder = house.built("kernel");
    timed("Building the kernel", || {
        let mut command = toolchain.cargo("build");
        command
            .args(["-p", KERNEL, "--profile", "kernel", "--target-dir"])
            .arg(&folder);
        run(command.current_dir(&house.root))
    })?;
    let elf = folder.join(BARE_TARGET).join("kernel").join(KERNEL);
    let symbols = read_symbols(&elf)?;
    Ok(KernelImage { elf, symbols })
}

/// The functions of an ELF file, demangled.
pub fn read_symbols(elf: &Path) -> Result<Symbols> {
    let image = fs::read(elf).with_context(|| format!("Cannot read {}", elf.display()))?;
    let file = object::File::parse(&*image)
        .with_context(|| format!("{} is no ELF file", elf.display()))?;
    let in_text = |symbol: &object::Symbol| {
        let section = symbol
            .section_index()
            .and_then(|index| file.section_by_index(index).ok());
        section.is_some_and(|section| section.kind() == SectionKind::Text)
    };
    // Assembly labels have no kind; they are wanted where they name code.
    let is_code = |symbol: &object::Symbol| match symbol.kind() {
        SymbolKind::Text => true,
        SymbolKind::Unknown | SymbolKind::Label => in_text(symbol),
        _ => false,
    };
    let named = file
        .symbols()
        .filter(|symbol| symbol.is_definition() || in_text(symbol));
    let entries = named.filter(is_code).filter_map(|symbol| {
        let name = symbol.name().ok().filter(|name| !name.is_empty())?;
        Some((
            symbol.address(),
            format!("{:#}", rustc_demangle::demangle(name)),
        ))
    });
    Ok(Symbols::new(entries.collect()))
}
