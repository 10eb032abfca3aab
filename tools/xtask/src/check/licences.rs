//! Which licences may be linked where.
//!
//! What runs in ring 0 or beside GPL-2.0-only modules takes only what GPL-2.0 admits; programs may take
//! Apache-2.0 as well. All dependencies are followed, except those of tests. Expressions are SPDX's (annex D of
//! the specification): AND, OR, WITH, parentheses, and the old slash for OR.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Findings, Subject};

/// What GPL-2.0 admits.
const GPL2_COMPATIBLE: [&str; 18] = [
    "0BSD",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "ISC",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "WTFPL",
    "Zlib",
];

/// What programs may take beyond that: with it they are GPL-3.0-or-later in effect.
const PROGRAMS_ONLY: [&str; 4] = [
    "Apache-2.0",
    "GPL-3.0-or-later",
    "LGPL-3.0-or-later",
    "MPL-2.0",
];

const KERNEL_LAYERS: [&str; 5] = ["lib", "hal", "kernel", "modules", "vmklinux"];

/// Every dependency of every package has a licence that the package's layer admits.
pub fn check(subject: &Subject) -> Result<Findings> {
    let graph = Graph::read(subject.metadata)?;
    let mut errors = BTreeSet::new();
    for package in subject.packages {
        let is_kernel = KERNEL_LAYERS.contains(&package.layer.as_str());
        let start = graph.id_of(&package.folder.join("Cargo.toml").to_string_lossy())?;
        for (name, licence) in graph.everything_below(&start) {
            let expression = parse(&licence);
            let is_admitted = expression.as_ref().is_ok_and(|e| e.is_admitted(is_kernel));
            if !is_admitted {
                let layer = &package.layer;
                errors.insert(format!(
                    "{} ({layer}) links {name}: {licence:?}",
                    package.name
                ));
            }
        }
    }
    Ok(Findings {
        errors: errors.into_iter().collect(),
        ..Findings::default()
    })
}

/// Who links whom.
struct Graph<'a> {
    packages: BTreeMap<&'a str, &'a Value>,
    links: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> Result<Graph<'a>> {
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata has no packages")?;
        let packages = packages
            .iter()
            .filter_map(|p| Some((p["id"].as_str()?, p)))
            .collect();
        let nodes = metadata["resolve"]["nodes"].as_array();
        let nodes = nodes.context("cargo metadata has no dependency graph")?;
        let links = nodes.iter().filter_map(|node| {
            let edges = node["deps"].as_array().into_iter().flatten();
            let linked = edges
                .filter(|edge| is_linked(edge))
                .filter_map(|e| e["pkg"].as_str());
            Some((node["id"].as_str()?, linked.collect()))
        });
        Ok(Graph {
            packages,
            links: links.collect(),
        })
    }

    fn id_of(&self, manifest: &str) -> Result<String> {
        let found = self
            .packages
            .iter()
            .find(|(_, p)| p["manifest_path"] == manifest);
        Ok((*found
            .with_context(|| format!("cargo metadata does not know {manifest}"))?
            .0)
            .to_owned())
    }

    /// Names and licences of everything that a package links, itself included.
    fn everything_below(&self, start: &str) -> Vec<(String, String)> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut pending = vec![start];
        while let Some(id) = pending.pop() {
            let Some((id, next)) = self.links.get_key_value(id) else {
                continue;
            };
            if seen.insert(id) {
                pending.extend(next);
            }
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = seen.iter().filter_map(|id| self.packages.get(id));
        packages
            .map(|p| (text(&p["name"]), text(&p["license"])))
            .collect()
    }
}

/// Tests are not shipped; everything else counts, also what runs at build time.
fn is_linked(edge: &Value) -> bool {
    let kinds = edge["dep_kinds"].as_array().into_iter().flatten();
    kinds.into_iter().any(|kind| kind["kind"] != "dev")
}

/// A licence expression.
#[derive(Debug, PartialEq, Eq)]
enum Expression {
    Licence(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    fn is_admitted(&self, in_kernel: bool) -> bool {
        match self {
            Expression::Licence(name) => {
                GPL2_COMPATIBLE.contains(&name.as_str())
                    || (!in_kernel && PROGRAMS_ONLY.contains(&name.as_str()))
            }
            Expression::All(parts) => parts.iter().all(|part| part.is_admitted(in_kernel)),
            Expression::Any(parts) => parts.iter().any(|part| part.is_admitted(in_kernel)),
        }
    }
}

fn parse(text: &str) -> Result<Expression> {
    let spaced = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let expression = any_of(&mut rest)?;
    match rest.first() {
        None => Ok(expression),
        Some(word) => bail!("There is {word:?} where the expression should end"),
    }
}

fn any_of(words: &mut &[&str]) -> Result<Expression> {
    let mut parts = vec![all_of(words)?];
    while take(words, "OR") {
        parts.push(all_of(words)?);
    }
    Ok(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Expression::Any(parts)
    })
}

fn all_of(words: &mut &[&str]) -> Result<Expression> {
    let mut parts = vec![one(words)?];
    while take(words, "AND") {
        parts.push(one(words)?);
    }
    Ok(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Expression::All(parts)
    })
}

fn one(words: &mut &[&str]) -> Result<Expression> {
    if take(words, "(") {
        let inner = any_of(words)?;
        if !take(words, ")") {
            bail!("A parenthesis is not closed");
        }
        return Ok(inner);
    }
    let Some((name, rest)) = words.split_first() else {
        bail!("A licence is missing")
    };
    *words = rest;
    if take(words, "WITH") {
        let Some((exception, rest)) = words.split_first() else {
            bail!("An exception is missing")
        };
        *words = rest;
        return Ok(Expression::Licence(format!("{name} WITH {exception}")));
    }
    Ok(Expression::Licence((*name).to_owned()))
}

fn take(words: &mut &[&str], wanted: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == wanted => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admitted(text: &str, in_kernel: bool) -> bool {
        parse(text).is_ok_and(|expression| expression.is_admitted(in_kernel))
    }

    #[test]
    fn a_choice_that_includes_one_will_do() {
        for text in [
            "MIT",
            "MIT OR Apache-2.0",
            "Apache-2.0/MIT",
            "Zlib OR (MIT AND Apache-2.0)",
        ] {
            assert!(admitted(text, true), "{text}");
        }
        assert!(admitted(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            true
        ));
        assert!(admitted("(MIT OR Apache-2.0) AND Unicode-3.0", true));
    }

    #[test]
    fn apache_alone_is_for_programs_only() {
        for text in [
            "Apache-2.0",
            "Apache-2.0 AND MIT",
            "(MIT OR Zlib) AND Apache-2.0",
        ] {
            assert!(!admitted(text, true), "{text}");
            assert!(admitted(text, false), "{text}");
        }
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(admitted("MIT OR Apache-2.0 AND Nonsense", true));
        assert!(!admitted("(MIT OR Apache-2.0) AND Nonsense", false));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in [
            "",
            "MIT OR",
            "(MIT",
            "MIT Apache-2.0",
            "MIT WITH",
            "Proprietary",
        ] {
            assert!(!admitted(text, false), "{text:?}");
        }
    }

    #[test]
    fn dependencies_of_tests_do_not_count_and_others_are_followed() {
        let metadata = json!({
            "packages": [
                { "id": "a", "name": "a", "license": "MIT", "manifest_path": "/a/Cargo.toml" },
                { "id": "b", "name": "b", "license": "Zlib", "manifest_path": "/b/Cargo.toml" },
                { "id": "c", "name": "c", "license": "Apache-2.0", "manifest_path": "/c/Cargo.toml" },
                { "id": "d", "name": "d", "license": "GPL-3.0-only", "manifest_path": "/d/Cargo.toml" },
            ],
            "resolve": { "nodes": [
                { "id": "a", "deps": [
                    { "pkg": "b", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "d", "dep_kinds": [{ "kind": "dev" }] },
                ] },
                { "id": "b", "deps": [{ "pkg": "c", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] }] },
                { "id": "c", "deps": [] },
                { "id": "d", "deps": [] },
            ] },
        });
        let graph = Graph::read(&metadata).unwrap();
        let below = graph.everything_below(&graph.id_of("/a/Cargo.toml").unwrap());
        let names: Vec<_> = below.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
