//! Debian's kernels and busybox: fetched and unpacked, never installed.
//!
//! Main type: [`DebianKernel`]. Which package is the current one is asked of apt; what was fetched is written
//! down beside it, and used until that note is deleted. Neighbours: guests run the cloud flavour, the
//! comparison with Linux runs the full one.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::command::{find, output, program, run_quietly, timed};
use crate::house::{House, write_if_changed};

/// Which of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// For virtual machines: small.
    Cloud,
    /// For everything: the one with all drivers.
    Full,
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct DebianKernel {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// Its folder of modules.
    pub modules: PathBuf,
}

impl Flavour {
    /// The package that always depends on the current kernel of this flavour.
    fn metapackage(self) -> &'static str {
        match self {
            Flavour::Cloud => "linux-image-cloud-amd64",
            Flavour::Full => "linux-image-amd64",
        }
    }
}

/// Fetches a kernel, unless that was done.
pub fn fetch(house: &House, flavour: Flavour) -> Result<DebianKernel> {
    let package = fetch_package(house, flavour.metapackage(), true)?;
    let release = package
        .strip_prefix("linux-image-")
        .unwrap_or(&package)
        .to_owned();
    let root = house.built("debian/root");
    let image = root.join(format!("boot/vmlinuz-{release}"));
    // Debian 12 keeps modules in /lib, its successors in /usr/lib.
    let places = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(&release));
    let modules = places.into_iter().find(|folder| folder.is_dir());
    let modules = modules.with_context(|| format!("The package {package} has no modules"))?;
    if !image.is_file() {
        bail!("The package {package} has no {}", image.display());
    }
    Ok(DebianKernel {
        release,
        image,
        modules,
    })
}

/// The kernel as an ELF file, which boots by PVH; unpacked from the bzImage, unless that was done.
pub fn uncompressed(house: &House, kernel: &DebianKernel) -> Result<PathBuf> {
    let file = house.built(&format!("debian/vmlinux-{}", kernel.release));
    if file.is_file() {
        return Ok(file);
    }
    let image = fs::read(&kernel.image)
        .with_context(|| format!("Cannot read {}", kernel.image.display()))?;
    let payload =
        payload(&image).with_context(|| format!("{} is no bzImage", kernel.image.display()))?;
    let (tool, package) = unpacker(payload)
        .with_context(|| format!("{} is packed in an unknown way", kernel.image.display()))?;
    if find(tool).is_none() {
        packages::install(tool, &[package.to_owned()])?;
    }
    let packed = house.built("debian/payload");
    write_if_changed(&packed, payload)?;
    let input = fs::File::open(&packed).context("Cannot read what was just written")?;
    let elf = program(tool)
        .arg("-dc")
        .stdin(input)
        .stderr(Stdio::null())
        .output();
    let elf = elf.with_context(|| format!("Cannot start {tool}"))?.stdout;
    // Its status says nothing: behind the packed data stands its length, which it takes for damage.
    if !elf.starts_with(b"\x7fELF") {
        bail!("{tool} does not unpack {}", kernel.image.display());
    }
    write_if_changed(&file, &elf)?;
    Ok(file)
}

/// The packed kernel inside a bzImage (Linux's x86 boot protocol, fields setup_sects, payload_offset and
/// payload_length).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup = (usize::from(*image.get(0x1f1)?) + 1) * 512;
    let start = setup + word(0x248)?;
    image.get(start..start + word(0x24c)?)
}

/// The program, and its package, that unpacks data with this beginning.
fn unpacker(packed: &[u8]) -> Option<(&'static str, &'static str)> {
    let known: [(&[u8], &str, &str); 4] = [
        (b"\xfd7zXZ\0", "xz", "xz-utils"),
        (b"\x1f\x8b", "gzip", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
        (b"\x02\x21\x4c\x18", "lz4", "lz4"),
    ];
    let found = known.iter().find(|(magic, _, _)| packed.starts_with(magic));
    found.map(|(_, tool, package)| (*tool, *package))
}

/// Fetches busybox, unless that was done; returns where the program lies.
pub fn busybox(house: &House) -> Result<PathBuf> {
    fetch_package(house, "busybox-static", false)?;
    let root = house.built("debian/root");
    let places = ["bin/busybox", "usr/bin/busybox"].map(|file| root.join(file));
    let found = places.into_iter().find(|file| file.is_file());
    found.context("The package busybox-static has no bin/busybox")
}

/// The applets of that busybox, as paths without the leading slash.
pub fn applets(house: &House) -> Result<Vec<String>> {
    let text = output(program(busybox(house)?).arg("--list-full"))?;
    Ok(text
        .lines()
        .map(str::to_owned)
        .filter(|path| path != "bin/busybox")
        .collect())
}

/// Fetches and unpacks `name`, or with `is_meta` what it depends on. Returns the name of what was unpacked.
fn fetch_package(house: &House, name: &str, is_meta: bool) -> Result<String> {
    let note = house.built(&format!("debian/{name}.fetched"));
    if let Ok(text) = fs::read_to_string(&note)
        && let Some(package) = text.split_whitespace().next()
    {
        return Ok(package.to_owned());
    }
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        if find(tool).is_none() {
            bail!(
                "Debian's package {name} is needed, and this machine has no {tool} to fetch it with. Please \
                 unpack it to {} and write its name to {}",
                house.built("debian/root").display(),
                note.display()
            );
        }
    }
    packages::update_if_empty(name)?;
    let fetched = resolve_and_fetch(house, name, is_meta);
    let (package, file) = match fetched {
        Ok(fetched) => fetched,
        Err(error) => {
            // Lists that are older than the archive name files that it no longer has.
            packages::update(&format!(
                "Debian's package {name} cannot be fetched. {error:#}."
            ))?;
            resolve_and_fetch(house, name, is_meta)?
        }
    };
    write_if_changed(&note, format!("{package} {file}\n").as_bytes())?;
    Ok(package)
}

fn resolve_and_fetch(house: &House, name: &str, is_meta: bool) -> Result<(String, String)> {
    let package = if is_meta {
        let text = output(program("apt-cache").args(["depends", name]))?;
        dependency(&text).with_context(|| format!("apt does not say what {name} depends on"))?
    } else {
        name.to_owned()
    };
    let what = format!("Fetching and unpacking Debian's {package}");
    let file = timed(&what, || download_and_unpack(house, &package))?;
    Ok((package, file))
}

fn download_and_unpack(house: &House, package: &str) -> Result<String> {
    let folder = house.built("debian/download").join(package);
    // What an interrupted run left is not trusted.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}", folder.display()))?;
    let mut download = program("apt-get");
    run_quietly(
        download
            .args(["download", "-q", package])
            .current_dir(&folder),
    )?;
    let mut files = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let file = files
        .next()
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    let root = house.built("debian/root");
    fs::create_dir_all(&root).with_context(|| format!("Cannot make {}", root.display()))?;
    run_quietly(program("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    fs::remove_dir_all(&folder).with_context(|| format!("Cannot remove {}", folder.display()))?;
    Ok(name)
}

/// The first package in what `apt-cache depends` prints.
fn dependency(text: &str) -> Option<String> {
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .map(str::to_owned)
        .find(|name| name.starts_with("linux-image-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_a_bzimage_is_found() {
        let mut image = vec![0; 2048];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&8u32.to_le_bytes());
        image[1040..1048].copy_from_slice(b"\xfd7zXZ\0..");
        let found = payload(&image).unwrap();
        assert_eq!(found, b"\xfd7zXZ\0..");
        assert_eq!(unpacker(found), Some(("xz", "xz-utils")));
        image[0x24c..0x250].copy_from_slice(&4096u32.to_le_bytes());
        assert_eq!(payload(&image), None);
        assert_eq!(payload(b"MZ"), None);
    }

    #[test]
    fn the_kernel_behind_a_metapackage_is_found() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            dependency(text).as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(dependency("linux-image-amd64\n"), None);
    }
}
