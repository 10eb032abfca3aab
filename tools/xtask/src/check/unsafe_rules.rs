//! Where unsafe code may stand, and what may stand nowhere.
//!
//! Outside the floor every crate root forbids unsafe code. That every block and function of the floor says why it
//! is sound is clippy's to check. No test is ignored, nothing is left to be done.

use std::path::Path;

use anyhow::Result;

use super::source_text::{self, Source};
use super::{Findings, Subject};
use crate::house::Package;

/// Packages outside `hal/` that may hold unsafe code, and why.
const FLOOR: [(&str, &str); 4] = [
    (
        "vmkapi",
        "what native modules call crosses a binary interface",
    ),
    ("ffi", "the entries of unmodified Linux drivers"),
    (
        "bindings",
        "generated layouts of another kernel's structures",
    ),
    ("loader", "relocates and starts foreign code"),
];

/// The one file of a program that may hold raw system calls. Its crate root then only denies unsafe code, which
/// the workspace does, and this file says `#![expect(unsafe_code)]`.
const RAW_CALLS: &str = "src/raw.rs";

/// What may stand nowhere, and what to do instead.
const BANNED: [(&str, &str); 3] = [
    ("#[ignore", "make the test work, or delete it"),
    (
        "todo!(",
        "do it, or return an error that says what is not supported",
    ),
    (
        "unimplemented!(",
        "do it, or return an error that says what is not supported",
    ),
];

/// The floor is where it is said to be, and nothing banned stands anywhere.
pub fn check(subject: &Subject) -> Result<Findings> {
    let mut findings = Findings::default();
    for package in subject.packages {
        let sources = source_text::read_all(&package.folder)?;
        for source in &sources {
            let place = source
                .path
                .strip_prefix(&subject.house.root)
                .unwrap_or(&source.path);
            for problem in problems(package, source) {
                findings
                    .errors
                    .push(format!("{}: {problem}", place.display()));
            }
        }
    }
    Ok(findings)
}

fn problems(package: &Package, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.code.lines().enumerate() {
        for (word, advice) in BANNED {
            if line.contains(word) {
                found.push(format!(
                    "line {}: {word} is not allowed: {advice}",
                    number + 1
                ));
            }
        }
    }
    let root = source
        .path
        .strip_prefix(&package.folder)
        .unwrap_or(&source.path);
    let is_root = ["src/lib.rs", "src/main.rs"]
        .iter()
        .any(|file| root.ends_with(file))
        || root.starts_with("src/bin") && root.components().count() == 3;
    if is_floor(package) {
        return found;
    }
    let forbids = source.code.contains("#![forbid(unsafe_code)]");
    if is_root && !forbids && !has_raw_calls(package) {
        found.push("the crate root lacks #![forbid(unsafe_code)]".into());
    }
    let opts_out =
        ["expect(unsafe_code", "allow(unsafe_code"].map(|word| source.code.contains(word));
    if opts_out.contains(&true) && !(root == Path::new(RAW_CALLS) && has_raw_calls(package)) {
        found.push(format!(
            "unsafe code belongs into hal/, or into a program's {RAW_CALLS}"
        ));
    }
    found
}

fn has_raw_calls(package: &Package) -> bool {
    package.layer == "worlds" && package.folder.join(RAW_CALLS).is_file()
}

/// Programs that test and measure call the kernel directly, with what it must refuse.
fn is_floor(package: &Package) -> bool {
    ["hal", "tests", "bench"].contains(&package.layer.as_str())
        || FLOOR.iter().any(|(name, _)| *name == package.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn found(layer: &str, path: &str, text: &str) -> Vec<String> {
        let package = Package {
            name: "x".into(),
            folder: PathBuf::from("/repo/x"),
            layer: layer.into(),
            is_bare_metal: false,
            is_world: false,
            programs: Vec::new(),
        };
        let path = package.folder.join(path);
        problems(
            &package,
            &Source {
                path,
                text: text.into(),
                code: source_text::strip(text),
            },
        )
    }

    #[test]
    fn roots_forbid_unsafe_code_outside_the_floor() {
        assert!(found("kernel", "src/lib.rs", "#![forbid(unsafe_code)]").is_empty());
        assert_eq!(
            found("kernel", "src/lib.rs", "// #![forbid(unsafe_code)]").len(),
            1
        );
        assert_eq!(found("vmm", "src/bin/tool.rs", "fn main() {}").len(), 1);
        assert!(found("kernel", "src/memory.rs", "").is_empty());
        assert!(found("hal", "src/lib.rs", "").is_empty());
        let text = "#![forbid(unsafe_code)]\n#[allow(unsafe_code)]\nmod a;";
        assert_eq!(found("vmm", "src/lib.rs", text).len(), 1);
        assert!(found("hal", "src/lib.rs", text).is_empty());
    }

    #[test]
    fn nothing_is_left_to_be_done() {
        let text = "// todo!()\nlet a = \"todo!()\";\nfn f() { todo!() }\n#[ignore]\n";
        let found = found("hal", "src/a.rs", text);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("line 3") && found[1].starts_with("line 4"));
    }
}
