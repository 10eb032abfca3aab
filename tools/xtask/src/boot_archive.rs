//! The boot archive: the file system that the kernel starts with.
//!
//! Contents: `/init`, the programs in `/bin`, busybox with its applets, programs that test in `/tests` and that
//! measure in `/bench`, the demo VM's configuration in `/etc/vms`, its kernel and initrd in `/vm`, the kernel's
//! symbols in `/boot`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use initramfs::{Alignment, Archive, LinuxSystem};
use qemu::Symbols;

use crate::house::{House, write_if_changed};
use crate::setup::debian_kernel::{self, DebianKernel, Flavour};
use crate::worlds::{Kind, World};

/// The demo VM: three lines, as promised.
const DEMO_VM: &str = "\
kernel = \"/vm/vmlinuz\"
initrd = \"/vm/initrd\"
console = \"socket\"
";

/// The program that reads a guest's clock, and the initrd that it is in. Both are there for the bench only.
pub const GUEST_CLOCK: &str = "bench_boot";
/// Where that initrd lies.
pub const BENCH_INITRD: &str = "vm/bench_initrd";

/// What a guest needs beyond what Debian builds in: its disks, consoles and entropy.
const VIRTIO: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_console", "virtio_rng"];
/// And to hear the power button.
const BUTTON: [&str; 2] = ["button", "evdev"];

/// The guest's process 1 is busybox's, which hears when somebody types `poweroff`.
const GUEST_INITTAB: &str = "\
::respawn:/bin/cttyhack /bin/sh -l
::respawn:/sbin/acpid -f -l /dev/null -p /run/acpid.pid
";
/// What happens when the power button is pressed; busybox's acpid knows it by this name.
const BUTTON_HANDLER: &str = "etc/acpi/PWRF/00000080";
/// What its shell says first.
const GUEST_PROFILE: &str = "\
echo
echo \"Linux $(uname -r) in a VM of Alster. 'poweroff' ends it.\"
cd /root
";

/// Writes the archive `name`; returns where it lies. With the program that reads a guest's clock there is also the
/// initrd of a guest whose boot is measured.
pub fn build(house: &House, name: &str, worlds: &[&World], symbols: &Symbols) -> Result<PathBuf> {
    let mut archive = product(house, worlds, symbols)?;
    if let Some(clock) = worlds.iter().find(|world| world.name == GUEST_CLOCK) {
        let initrd = bench_initrd(house, &debian_kernel::fetch(house, Flavour::Cloud)?, clock)?;
        archive.file(BENCH_INITRD, 0o644, &read(&initrd)?);
    }
    let file = house.built(name);
    write_if_changed(&file, &archive.finish())?;
    Ok(file)
}

/// Writes an archive of these programs and nothing that only the bench needs.
pub fn build_lean(
    house: &House,
    name: &str,
    worlds: &[&World],
    symbols: &Symbols,
) -> Result<PathBuf> {
    let file = house.built(name);
    write_if_changed(&file, &product(house, worlds, symbols)?.finish())?;
    Ok(file)
}

fn product(house: &House, worlds: &[&World], symbols: &Symbols) -> Result<Archive> {
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
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file("boot/vmkernel.sym", 0o644, symbols.to_text().as_bytes());
    for (path, permissions, content) in vm_files(house)? {
        archive.file(&path, permissions, &content);
    }
    Ok(archive)
}

/// The demo VM: its configuration, kernel and initrd.
pub fn vm_files(house: &House) -> Result<Vec<(String, u32, Vec<u8>)>> {
    let kernel = debian_kernel::fetch(house, Flavour::Cloud)?;
    let initrd = guest_initrd(house, &kernel)?;
    Ok(vec![
        (
            "etc/vms/demo.toml".into(),
            0o644,
            DEMO_VM.as_bytes().to_owned(),
        ),
        ("vm/vmlinuz".into(), 0o644, read(&kernel.image)?),
        ("vm/initrd".into(), 0o644, read(&initrd)?),
    ])
}

/// Where a program goes.
pub fn place(world: &World) -> String {
    match (world.kind, world.name.as_str()) {
        (Kind::Product, "init") => "init".into(),
        (Kind::Product, name) => format!("bin/{name}"),
        (Kind::Test, name) => format!("tests/{name}"),
        (Kind::Bench, name) => format!("bench/{name}"),
    }
}

/// Builds the guests' initrd; returns where it lies.
fn guest_initrd(house: &House, kernel: &DebianKernel) -> Result<PathBuf> {
    let files = [
        ("etc/inittab".to_owned(), 0o644, GUEST_INITTAB.into()),
        ("etc/profile".to_owned(), 0o644, GUEST_PROFILE.into()),
        (
            BUTTON_HANDLER.to_owned(),
            0o755,
            "#!/bin/sh\npoweroff\n".into(),
        ),
    ];
    let modules = [&VIRTIO[..], &BUTTON[..]].concat();
    initrd(
        house,
        kernel,
        "guest.cpio",
        &modules,
        &files,
        "exec /sbin/init",
    )
}

/// Builds the initrd of a guest whose boot is measured: its process 1 prints the time, fills its
/// memory and powers off.
pub fn bench_initrd(house: &House, kernel: &DebianKernel, clock: &World) -> Result<PathBuf> {
    let program = ("bin/clock".to_owned(), 0o755, read(&clock.file)?);
    let script = "clock guest\nclock fill\nsleep 1\npoweroff -f";
    initrd(
        house,
        kernel,
        "bench-guest.cpio",
        &VIRTIO,
        &[program],
        script,
    )
}

fn initrd(
    house: &House,
    kernel: &DebianKernel,
    name: &str,
    modules: &[&str],
    files: &[(String, u32, Vec<u8>)],
    script: &str,
) -> Result<PathBuf> {
    let system = LinuxSystem {
        busybox: &debian_kernel::busybox(house)?,
        applets: &debian_kernel::applets(house)?,
        modules: &kernel.modules,
        wanted: modules,
        parameters: &[],
        files,
        script,
    };
    let file = house.built(name);
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
        let world = |name: &str, kind| World {
            name: name.into(),
            kind,
            file: "".into(),
        };
        assert_eq!(place(&world("init", Kind::Product)), "init");
        assert_eq!(place(&world("vmx", Kind::Product)), "bin/vmx");
        assert_eq!(place(&world("init", Kind::Test)), "tests/init");
        assert_eq!(place(&world("exits", Kind::Bench)), "bench/exits");
    }
}
