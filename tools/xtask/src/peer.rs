//! The peer: Debian's kernel with KVM as the host, in the same emulated machine.
//!
//! It runs the same static programs from the same paths, so that every figure has a neighbour and a guest that
//! hangs can be tried on both. Words behind `--` on its command line are run as a command, whose exit status is
//! the verdict; without any there is a shell.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use initramfs::LinuxSystem;
use qemu::Machine;

use crate::boot_archive;
use crate::house::{House, write_if_changed};
use crate::setup::debian_kernel::{self, Flavour};
use crate::worlds::World;

/// KVM for AMD, and what the host's own disks and entropy need.
const MODULES: [&str; 4] = ["kvm_amd", "virtio_pci", "virtio_blk", "virtio_rng"];

/// Process 1 is busybox's, which hears when somebody types `poweroff`; it starts `RUN`, or a shell.
const SCRIPT: &str = "\
echo \"$@\" > /etc/words
exec /sbin/init";
const INITTAB: &str = "::once:/bin/cttyhack /bin/sh /etc/run\n";

/// The verdict goes to the same port as ours: 16 is success, 17 failure.
const RUN: &str = "\
read words < /etc/words
cd /root
if [ -z \"$words\" ]; then
    echo 'This is Linux with KVM, the peer.'
    sh -l
    exec poweroff -f
fi
$words
if [ $? = 0 ]; then verdict='\\020'; else verdict='\\021'; fi
printf $verdict | dd of=/dev/port bs=1 seek=244 conv=notrunc 2>/dev/null
poweroff -f
";

/// Linux as the host, ready to boot.
#[derive(Clone, Debug)]
pub struct Peer {
    image: PathBuf,
    archive: PathBuf,
}

impl Peer {
    /// A machine that boots it, with these words for its kernel.
    pub fn machine(&self, words: &str) -> Machine {
        // The console first: what goes to process 1 stands last.
        let append = format!("console=ttyS0 quiet panic=-1 {words}");
        Machine::new(&self.image)
            .initrd(&self.archive)
            .append(&append)
    }
}

/// Builds its initramfs.
pub fn build(house: &House, worlds: &[World]) -> Result<Peer> {
    let kernel = debian_kernel::fetch(house, Flavour::Full)?;
    let applets = debian_kernel::applets(house)?;
    let mut files = boot_archive::vm_files(house)?;
    files.push(("etc/inittab".into(), 0o644, INITTAB.into()));
    files.push(("etc/run".into(), 0o644, RUN.into()));
    for world in worlds {
        let content = fs::read(&world.file)
            .with_context(|| format!("Cannot read {}", world.file.display()))?;
        files.push((place(world), 0o755, content));
    }
    if let Some(clock) = worlds
        .iter()
        .find(|world| world.name == boot_archive::GUEST_CLOCK)
    {
        let guest = debian_kernel::fetch(house, Flavour::Cloud)?;
        let initrd = boot_archive::bench_initrd(house, &guest, clock)?;
        let content =
            fs::read(&initrd).with_context(|| format!("Cannot read {}", initrd.display()))?;
        files.push((boot_archive::BENCH_INITRD.into(), 0o644, content));
    }
    let system = LinuxSystem {
        busybox: &debian_kernel::busybox(house)?,
        applets: &applets,
        modules: &kernel.modules,
        wanted: &MODULES,
        parameters: &[],
        files: &files,
        script: SCRIPT,
    };
    let archive = house.built("peer.cpio");
    write_if_changed(&archive, &system.build()?)?;
    // By PVH, as ours boots: unpacking itself would cost Linux more instructions than all the rest of its boot.
    let image = debian_kernel::uncompressed(house, &kernel)?;
    Ok(Peer { image, archive })
}

/// As in our own archive, except that process 1 is the script above and starts ours when told to.
fn place(world: &World) -> String {
    match boot_archive::place(world).as_str() {
        "init" => "bin/init".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::Kind;

    #[test]
    fn our_process_1_is_no_process_1_there() {
        let world = |name: &str| World {
            name: name.into(),
            kind: Kind::Product,
            file: "".into(),
        };
        assert_eq!(place(&world("init")), "bin/init");
        assert_eq!(place(&world("vmx")), "bin/vmx");
    }
}
