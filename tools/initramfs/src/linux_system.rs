//! A small Linux system that lives in its initramfs.
//!
//! Main type: [`LinuxSystem`]: busybox, the modules that are wanted, in loading order, some files, and a script
//! that runs when all is mounted and loaded. Used for guests and for Linux as the host to compare with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::archive::{Alignment, Archive};
use crate::module_tree::ModuleTree;

/// What goes into the initramfs of a Linux system.
#[derive(Debug)]
pub struct LinuxSystem<'a> {
    /// A static busybox.
    pub busybox: &'a Path,
    /// The paths of busybox's applets, as `busybox --list-full` prints them.
    pub applets: &'a [String],
    /// `lib/modules/VERSION` of the kernel that will run.
    pub modules: &'a Path,
    /// Modules to load, by name; what they need is loaded before.
    pub wanted: &'a [&'a str],
    /// Module parameters, by module: what follows the file name on `insmod`'s line.
    pub parameters: &'a [(&'a str, &'a str)],
    /// More files: path, permission bits, content.
    pub files: &'a [(String, u32, Vec<u8>)],
    /// What process 1 does at last, in the shell's language. It must not return. Its arguments are what the kernel's
    /// command line has behind `--`.
    pub script: &'a str,
}

impl LinuxSystem<'_> {
    /// Builds the archive.
    pub fn build(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new(Alignment::Word);
        for folder in ["dev", "proc", "sys", "run", "tmp", "root", "etc"] {
            archive.directory(folder);
        }
        archive.character_device("dev/console", 0o600, 5, 1);
        archive.file("bin/busybox", 0o755, &read(self.busybox)?);
        for applet in self.applets {
            if applet != "bin/busybox" {
                archive.symlink(applet, "/bin/busybox");
            }
        }
        let mut loading = String::new();
        for module in ModuleTree::open(self.modules)?.loading_order(self.wanted)? {
            let path = format!("lib/modules/{}.ko", module.name);
            archive.file(&path, 0o644, &read(&module.path)?);
            let parameter = self
                .parameters
                .iter()
                .find(|(name, _)| *name == module.name);
            let words = parameter.map_or("", |(_, words)| words);
            loading.push_str(&format!("insmod /{path} {words}\n"));
        }
        for (path, permissions, content) in self.files {
            archive.file(path, *permissions, content);
        }
        archive.file("init", 0o755, self.init(&loading).as_bytes());
        Ok(archive.finish())
    }

    fn init(&self, loading: &str) -> String {
        let script = self.script;
        format!(
            "#!/bin/sh\n\
             export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=vt100\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t devtmpfs devtmpfs /dev\n\
             mount -t tmpfs tmpfs /run\n\
             {loading}{script}\n"
        )
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("Cannot read {}", path.display()))
}
