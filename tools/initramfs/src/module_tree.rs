//! Loading order of the modules in an unpacked kernel package.
//!
//! Main type: [`ModuleTree`]. A package that was only unpacked has no `modules.dep` (depmod writes that when
//! a package is installed), so the dependencies are read where depmod reads them: from `depends=` in the
//! `.modinfo` section of each module. Neighbour: [`crate::Archive`] takes the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

/// One module of a kernel package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Where its file lies.
    pub path: PathBuf,
}

/// All modules below one directory, by name.
#[derive(Debug)]
pub struct ModuleTree {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl ModuleTree {
    /// Reads the names of all modules below `directory` (a `lib/modules/VERSION`).
    pub fn open(directory: &Path) -> Result<ModuleTree> {
        let mut files = BTreeMap::new();
        let mut pending = vec![directory.to_owned()];
        while let Some(folder) = pending.pop() {
            let listing = fs::read_dir(&folder)
                .with_context(|| format!("Cannot list the modules in {}", folder.display()))?;
            for entry in listing {
                let path = entry?.path();
                if path.is_dir() {
                    pending.push(path);
                } else if path.extension().is_some_and(|e| e == "ko") {
                    files.insert(module_name(&path), path);
                }
            }
        }
        let builtin = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
        let builtin = builtin
            .lines()
            .map(|line| module_name(Path::new(line)))
            .collect();
        Ok(ModuleTree { files, builtin })
    }

    /// `wanted` and everything they need, each after what it needs. What is built into the kernel is left out.
    pub fn loading_order(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        for name in wanted {
            self.visit(&name.replace('-', "_"), &mut order, 0)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, order: &mut Vec<Module>, depth: usize) -> Result<()> {
        if self.builtin.contains(name) || order.iter().any(|m| m.name == name) {
            return Ok(());
        }
        if depth > 64 {
            bail!("The modules around {name} depend on each other in a circle");
        }
        let path = self.files.get(name).with_context(|| {
            format!("The kernel package has no module {name}, and it is not built in either")
        })?;
        let image = fs::read(path).with_context(|| format!("Cannot read {}", path.display()))?;
        let needs = depends(&image).with_context(|| format!("{} is damaged", path.display()))?;
        for need in needs {
            self.visit(&need, order, depth + 1)?;
        }
        order.push(Module {
            name: name.to_owned(),
            path: path.clone(),
        });
        Ok(())
    }
}

/// What the module in `image` says it depends on.
fn depends(image: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(image)?;
    let section = file
        .section_by_name(".modinfo")
        .context("There is no section .modinfo")?;
    Ok(parse_depends(section.data()?))
}

/// Finds `depends=a,b` among the NUL-separated strings of a `.modinfo` section.
fn parse_depends(modinfo: &[u8]) -> Vec<String> {
    let line = modinfo
        .split(|&b| b == 0)
        .find_map(|s| s.strip_prefix(b"depends="));
    let text = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn module_name(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_are_split_and_normalised() {
        let modinfo = b"license=GPL\0depends=virtio_ring,virtio-pci\0name=x\0";
        assert_eq!(parse_depends(modinfo), ["virtio_ring", "virtio_pci"]);
        assert!(parse_depends(b"depends=\0license=GPL\0").is_empty());
        assert!(parse_depends(b"license=GPL").is_empty());
    }

    #[test]
    fn names_use_underscores() {
        assert_eq!(
            module_name(Path::new("kernel/arch/x86/kvm/kvm-amd.ko")),
            "kvm_amd"
        );
    }

    #[test]
    fn an_unknown_module_is_named() {
        let tree = ModuleTree {
            files: BTreeMap::new(),
            builtin: ["ext4".to_owned()].into(),
        };
        assert!(tree.loading_order(&["ext4"]).unwrap().is_empty());
        let error = tree.loading_order(&["nvme"]).unwrap_err().to_string();
        assert!(error.contains("nvme"), "{error}");
    }
}
