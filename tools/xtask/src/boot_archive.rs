//! The boot archive: the file system that the kernel starts with.
//!
//! Contents: `/init`, the programs in `/bin`, busybox with its applets, test programs in `/tests`, the demo VM's
//! configuration in `/etc/vms`, its kernel and initrd in `/vm`, the kernel's symbols in `/boot`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use initramfs::{Alignment, Archive, LinuxSystem};
use qemu::Symbols;

use crate::house::{House, write_if_changed};
use crate::setup::debian_kernel::{self, DebianKernel, Flavour};
use crate::worlds::World;

/// The demo VM: three lines, as promised.
const DEMO_VM: &str = "\
kernel = \"/vm/vmlinuz\"
initrd = \"/vm/initrd\"
console = \"socket\"
";

/// What a guest of the tests and of the demo needs beyond what Debian builds in.
const GUEST_MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_rng"];

/// What the guest's process 1 does when all is mounted.
const GUEST_SCRIPT: &str = "\
echo
echo \"Linux $(uname -r) in a VM of Alster. 'poweroff' ends it.\"
cd /root
while :; do setsid cttyhack sh -l; done";

/// Writes the archive; returns where it lies.
pub fn build(house: &House, worlds: &[World], symbols: &Symbols) -> Result<PathBuf> {
    let kernel = debian_kernel::fetch(house, Flavour::Cloud)?;
    let applets = debian_kernel::applets(house)?;
    let mut archive = Archive::new(Alignment::Page);
    for folder in ["dev", "proc", "run", "tmp", "root", "etc", "vm"] {
        archive.directory(folder);
    }
    for world in worlds {
        archive.file(&place(world), 0o755, &read(&world.file)?);
    }
    archive.file(
        "bin/busybox",
        0o755,
        &read(&debian_kernel::busybox(house)?)?,
    );
    for applet in &applets {
        archive.symlink(applet, "/bin/busybox");
    }
    archive.file("etc/vms/demo.toml", 0o644, DEMO_VM.as_bytes());
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file("boot/vmkernel.sym", 0o644, symbols.to_text().as_bytes());
    archive.file("vm/vmlinuz", 0o644, &read(&kernel.image)?);
    archive.file(
        "vm/initrd",
        0o644,
        &read(&guest_initrd(house, &kernel, &applets)?)?,
    );
    let file = house.built("boot.cpio");
    write_if_changed(&file, &archive.finish())?;
    Ok(file)
}

/// Where a program goes.
fn place(world: &World) -> String {
    match (world.is_test, world.name.as_str()) {
        (true, name) => format!("tests/{name}"),
        (false, "init") => "init".into(),
        (false, name) => format!("bin/{name}"),
    }
}

/// Builds the guests' initrd; returns where it lies.
pub fn guest_initrd(house: &House, kernel: &DebianKernel, applets: &[String]) -> Result<PathBuf> {
    let system = LinuxSystem {
        busybox: &debian_kernel::busybox(house)?,
        applets,
        modules: &kernel.modules,
        wanted: &GUEST_MODULES,
        parameters: &[],
        files: &[],
        script: GUEST_SCRIPT,
    };
    let file = house.built("guest.cpio");
    write_if_changed(&file, &system.build()?)?;
    Ok(file)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("Cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_their_places() {
        let world = |name: &str, is_test| World {
            name: name.into(),
            is_test,
            file: "".into(),
        };
        assert_eq!(place(&world("init", false)), "init");
        assert_eq!(place(&world("vmx", false)), "bin/vmx");
        assert_eq!(place(&world("init", true)), "tests/init");
    }
}
