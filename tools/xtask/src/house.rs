//! The repository: where it lies, where builds go, which packages it has.
//!
//! Main types: [`House`] and [`Package`], read from `cargo metadata` and each package's
//! `[package.metadata.alster]`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{output, program};

/// The repository and its folders.
#[derive(Debug)]
pub struct House {
    /// The repository's top folder.
    pub root: PathBuf,
    /// Where everything that is built goes.
    pub target: PathBuf,
}

/// One package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its layer, from `[package.metadata.alster]`.
    pub layer: String,
    /// Whether it only builds for the bare machine (`bare-metal = true`).
    pub is_bare_metal: bool,
    /// Whether its programs go into the boot archive (`world = true`, or layer "worlds").
    pub is_world: bool,
    /// The programs it builds.
    pub programs: Vec<String>,
}

impl House {
    /// Finds the repository from where this program was built.
    pub fn open() -> Result<House> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask is not two folders below the repository's top")?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(House { root, target })
    }

    /// A file or folder below the target folder.
    pub fn built(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// All packages of the workspace.
    pub fn packages(&self) -> Result<Vec<Package>> {
        let metadata = self.metadata(true)?;
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata has no packages")?;
        Ok(packages.iter().map(read_package).collect())
    }

    /// What `cargo metadata` prints.
    pub fn metadata(&self, without_dependencies: bool) -> Result<Value> {
        let mut command = program("cargo");
        command
            .args(["metadata", "--format-version", "1"])
            .current_dir(&self.root);
        if without_dependencies {
            command.arg("--no-deps");
        }
        let text = output(&mut command)?;
        serde_json::from_str(&text).context("cargo metadata printed something else than JSON")
    }
}

fn read_package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = &value["metadata"]["alster"];
    let name = text(&value["name"]);
    let layer = text(&own["layer"]);
    let targets = value["targets"].as_array().into_iter().flatten();
    let is_program = |target: &&Value| target["kind"][0] == "bin";
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    Package {
        folder: manifest.parent().unwrap_or(Path::new("/")).to_owned(),
        is_bare_metal: own["bare-metal"] == true,
        is_world: own["world"] == true || layer == "worlds",
        programs: targets
            .filter(is_program)
            .map(|target| text(&target["name"]))
            .collect(),
        name,
        layer,
    }
}

/// Writes a file and the folders above it, unless it has this content already.
pub fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("Cannot make {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("Cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_package_is_read_from_metadata() {
        let package = read_package(&json!({
            "name": "pipes", "manifest_path": "/repo/tests/pipes/Cargo.toml",
            "metadata": { "alster": { "layer": "tests", "world": true } },
            "targets": [{ "name": "pipes", "kind": ["bin"] }, { "name": "pipes", "kind": ["lib"] }],
        }));
        assert_eq!(package.folder, Path::new("/repo/tests/pipes"));
        assert!(package.is_world && !package.is_bare_metal);
        assert_eq!(package.programs, ["pipes"]);
    }

    #[test]
    fn a_package_without_metadata_has_no_layer() {
        let package = read_package(&json!({ "name": "x", "metadata": null, "targets": [] }));
        assert!(package.layer.is_empty() && !package.is_world);
    }
}
