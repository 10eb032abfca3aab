//! How the house is kept: names, manifests, first lines.

use std::fs;

use anyhow::{Context, Result};

use super::source_text;
use super::{Findings, Subject};
use crate::house::Package;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "base", "core", "misc", "helper", "helpers",
];
const README_LINES: usize = 20;
/// Within how many lines a file says what it is.
const OPENING_LINES: usize = 10;

/// Every crate, file and folder keeps the conventions.
pub fn check(subject: &Subject) -> Result<Findings> {
    let mut errors = Vec::new();
    for package in subject.packages {
        let manifest = package.folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("Cannot read {}", manifest.display()))?;
        errors.extend(manifest_problems(package, &text));
        for source in source_text::read_all(&package.folder.join("src"))? {
            if !source.is_test() && !opens_with_doc(&source.text) {
                let place = source
                    .path
                    .strip_prefix(&subject.house.root)
                    .unwrap_or(&source.path);
                errors.push(format!("{}: opens without //! what it is", place.display()));
            }
        }
    }
    errors.extend(readme_problems(subject)?);
    Ok(Findings {
        errors,
        ..Findings::default()
    })
}

fn manifest_problems(package: &Package, manifest: &str) -> Vec<String> {
    let name = &package.name;
    let mut found = Vec::new();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.chars().all(is_plain) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        found.push(format!(
            "{name}: a crate's name has small letters, digits and underscores only"
        ));
    }
    if name.split('_').any(|part| EMPTY_NAMES.contains(&part)) {
        found.push(format!("{name}: the name does not say what is in it"));
    }
    // A folder's name may be taken in the world outside: kernel/log is kernel_log there.
    let folder = package.folder.file_name().unwrap_or_default();
    let folder = folder.to_string_lossy();
    if *name != *folder && *name != format!("{}_{folder}", package.layer) {
        let place = package.folder.display();
        found.push(format!("{name}: its folder has another name, {place}"));
    }
    let flat: String = manifest.split_whitespace().collect();
    if !flat.contains("[lints]workspace=true") {
        found.push(format!("{name}: Cargo.toml lacks [lints] workspace = true"));
    }
    for field in ["version", "edition", "rust-version", "license", "publish"] {
        if !flat.contains(&format!("{field}.workspace=true")) {
            found.push(format!("{name}: Cargo.toml lacks {field}.workspace = true"));
        }
    }
    found
}

fn opens_with_doc(text: &str) -> bool {
    text.lines()
        .take(OPENING_LINES)
        .any(|line| line.trim_start().starts_with("//!"))
}

/// Every top folder that holds packages says in a short README what is in it.
fn readme_problems(subject: &Subject) -> Result<Vec<String>> {
    let root = &subject.house.root;
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("Cannot list {}", root.display()))? {
        let folder = entry?.path();
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !folder.is_dir() || name.starts_with('.') || name == "target" {
            continue;
        }
        match fs::read_to_string(folder.join("README.md")) {
            Err(_) => found.push(format!("{name}/ has no README.md")),
            Ok(text) if text.lines().count() > README_LINES => {
                found.push(format!(
                    "{name}/README.md has more than {README_LINES} lines"
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const MANIFEST: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [lints]\nworkspace = true\n";

    fn package(name: &str, folder: &str) -> Package {
        Package {
            name: name.into(),
            folder: PathBuf::from(folder),
            layer: "lib".into(),
            is_bare_metal: false,
            is_world: false,
            programs: Vec::new(),
        }
    }

    #[test]
    fn a_good_manifest_passes() {
        assert!(manifest_problems(&package("range_map", "/r/lib/range_map"), MANIFEST).is_empty());
    }

    #[test]
    fn names_and_manifests_are_held_to_the_rules() {
        for (name, folder) in [
            ("range-map", "range-map"),
            ("io_utils", "io_utils"),
            ("a", "b"),
        ] {
            let package = package(name, folder);
            assert_eq!(manifest_problems(&package, MANIFEST).len(), 1, "{name}");
        }
        assert_eq!(
            manifest_problems(&package("x", "x"), "[package]\n").len(),
            6
        );
    }

    #[test]
    fn files_open_with_what_they_are() {
        assert!(opens_with_doc("#![no_std]\n//! Clocks."));
        assert!(!opens_with_doc("// Clocks.\nuse x;"));
    }
}
