//! /proc/self/mounts and /proc/self/mountinfo.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use vfs::{Location, Mount, MountFlags, Namespace};

/// Paths in these files have their white space escaped in octal.
fn escape(path: &[u8], into: &mut Vec<u8>) {
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                into.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            byte => into.push(*byte),
        }
    }
}

fn options(mount: &Mount) -> String {
    let mut text = String::from("rw");
    if mount.flags().contains(MountFlags::READ_ONLY) {
        text = String::from("ro");
    }
    let flags = [
        (MountFlags::NO_SETUID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXEC, ",noexec"),
    ];
    for (flag, name) in flags {
        if mount.flags().contains(flag) {
            text.push_str(name);
        }
    }
    text
}

fn place(mount: &Mount, root: &Location) -> Vec<u8> {
    mount
        .covers()
        .map_or_else(|| Vec::from(b"/"), |covers| covers.path(root))
}

/// The text of /proc/mounts, as seen from `root`.
#[must_use]
pub fn mounts_text(namespace: &Namespace, root: &Location) -> Vec<u8> {
    let mut text = Vec::new();
    for mount in namespace.mounts() {
        let name = mount.fs().name();
        text.extend_from_slice(format!("{name} ").as_bytes());
        escape(&place(&mount, root), &mut text);
        let mut all = options(&mount);
        let own = mount.fs().options();
        if !own.is_empty() {
            all = format!("{all},{own}");
        }
        text.extend_from_slice(format!(" {name} {all} 0 0\n").as_bytes());
    }
    text
}

/// The text of /proc/self/mountinfo, as seen from `root`.
pub(crate) fn mountinfo_text(namespace: &Namespace, root: &Location) -> Vec<u8> {
    let mut text = Vec::new();
    for mount in namespace.mounts() {
        let parent = mount
            .covers()
            .map_or(mount.id(), |covers| covers.mount.id());
        let device = mount.fs().root().metadata().device;
        let (major, minor) = (abi::fs::major(device), abi::fs::minor(device));
        let head = format!("{} {parent} {major}:{minor} / ", mount.id());
        text.extend_from_slice(head.as_bytes());
        escape(&place(&mount, root), &mut text);
        let name = mount.fs().name();
        let tail = format!(
            " {} - {name} {name} {}\n",
            options(&mount),
            mount.fs().options()
        );
        text.extend_from_slice(tail.as_bytes());
    }
    text
}
