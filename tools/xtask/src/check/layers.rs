//! Who may depend on whom.
//!
//! Edges go down or sideways: vmkernel -> kernel -> hal -> lib, and worlds -> vmm or vmklinux -> lib. `kernel`,
//! `vmm` and `vmklinux` meet in `lib` only.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::{Findings, Subject};

/// Each layer, and the layers it may depend on.
const MAY_DEPEND: [(&str, &[&str]); 10] = [
    ("lib", &["lib"]),
    ("hal", &["hal", "lib"]),
    ("kernel", &["kernel", "hal", "lib"]),
    ("modules", &["modules", "lib"]),
    ("vmklinux", &["vmklinux", "lib"]),
    ("vmm", &["vmm", "lib"]),
    ("worlds", &["worlds", "vmm", "vmklinux", "lib"]),
    ("tools", &["tools", "lib"]),
    (
        "tests",
        &[
            "tests", "worlds", "vmm", "vmklinux", "kernel", "hal", "tools", "lib",
        ],
    ),
    ("bench", &["bench", "tests", "vmm", "lib"]),
];

/// Every package has a layer, that of its folder, and depends on nothing above it.
pub fn check(subject: &Subject) -> Result<Findings> {
    let mut findings = Findings::default();
    for package in subject.packages {
        let folder = package
            .folder
            .strip_prefix(&subject.house.root)
            .unwrap_or(&package.folder);
        let top = folder.iter().next().unwrap_or_default().to_string_lossy();
        if package.layer != top {
            findings.errors.push(format!(
                "{} lies in {top}/ and says layer = {:?} in [package.metadata.alster]",
                package.name, package.layer
            ));
        }
    }
    let layers = subject
        .packages
        .iter()
        .map(|p| (p.name.as_str(), p.layer.as_str()))
        .collect();
    findings
        .errors
        .extend(upward_edges(subject.metadata, &layers));
    Ok(findings)
}

fn upward_edges(metadata: &Value, layers: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(from) = layers.get(name) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Packages of the house are known by their paths: a registry may have one of the same name.
            let target = dependency["name"].as_str().unwrap_or_default();
            let Some(to) = layers.get(target).filter(|_| !dependency["path"].is_null()) else {
                continue;
            };
            let is_exempt = *from == "lib" && dependency["kind"] == "dev";
            if !is_exempt && !may_depend(from, to) {
                wrong.push(format!("{name} ({from}) may not depend on {target} ({to})"));
            }
        }
    }
    wrong
}

fn may_depend(from: &str, to: &str) -> bool {
    MAY_DEPEND
        .iter()
        .any(|(layer, below)| *layer == from && below.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edges(from: &str, kind: Value, to: &str) -> Vec<String> {
        let metadata = json!({ "packages": [{
            "name": "a",
            "dependencies": [{ "name": "b", "kind": kind, "path": "/repo/b" }],
        }] });
        upward_edges(&metadata, &[("a", from), ("b", to)].into())
    }

    #[test]
    fn edges_go_down_or_sideways() {
        for (from, to) in [
            ("kernel", "hal"),
            ("hal", "lib"),
            ("worlds", "vmm"),
            ("kernel", "kernel"),
        ] {
            assert!(edges(from, Value::Null, to).is_empty(), "{from} -> {to}");
        }
        for (from, to) in [
            ("lib", "hal"),
            ("hal", "kernel"),
            ("vmm", "kernel"),
            ("kernel", "vmm"),
        ] {
            assert_eq!(edges(from, Value::Null, to).len(), 1, "{from} -> {to}");
        }
        assert_eq!(edges("tools", Value::Null, "kernel").len(), 1);
    }

    #[test]
    fn only_libraries_may_test_against_what_is_above() {
        assert!(edges("lib", json!("dev"), "tools").is_empty());
        assert_eq!(edges("kernel", json!("dev"), "vmm").len(), 1);
        assert_eq!(edges("lib", json!("build"), "tools").len(), 1);
    }

    #[test]
    fn a_registry_package_of_the_same_name_is_no_edge() {
        let metadata = json!({ "packages": [{
            "name": "a", "dependencies": [{ "name": "b", "kind": null }],
        }] });
        assert!(upward_edges(&metadata, &[("a", "lib"), ("b", "vmm")].into()).is_empty());
    }
}
