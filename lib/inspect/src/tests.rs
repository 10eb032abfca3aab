//! A small tree and what queries find in it.

extern crate std;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::{Directory, Inspect, Node, Pattern, PatternError, Value, query, write_text};

struct Cpu {
    runnable: u32,
    drift: i32,
    idle: bool,
    name: String,
}
crate::inspect!(Cpu { u64 runnable, i64 drift, bool idle, str name });

struct Sched {
    cpus: Vec<Cpu>,
    boot: Cpu,
    version: f32,
}
crate::inspect!(Sched { list cpus, child boot, display version });

struct Memory;

impl Inspect for Memory {
    fn inspect(&self, node: &mut Node<'_>) {
        node.u64("free", 42);
        node.group("zones", |node| {
            node.u64("low", 1);
            node.u64("high", 2);
        });
        node.values("orders", [3, 4].map(Value::U64));
        node.str("odd/name", "two\nlines");
    }
}

fn cpu(runnable: u32) -> Cpu {
    Cpu {
        runnable,
        drift: -5,
        idle: runnable == 0,
        name: "cpu".into(),
    }
}

fn tree() -> Directory {
    let mut root = Directory::new();
    let cpus = (0..12).map(cpu).collect();
    assert!(
        root.insert(
            "sched",
            Arc::new(Sched {
                cpus,
                boot: cpu(7),
                version: 1.5
            })
        )
        .is_none()
    );
    assert!(root.insert("memory", Arc::new(Memory)).is_none());
    root
}

fn text(pattern: &str) -> String {
    let mut out = String::new();
    let lines = write_text(&tree(), &Pattern::new(pattern).unwrap(), &mut out).unwrap();
    assert_eq!(lines, out.lines().count());
    out
}

#[test]
fn a_node_is_shown_with_all_below_it() {
    let expected = "memory/free 42\nmemory/zones/low 1\nmemory/zones/high 2\n\
        memory/orders/0 3\nmemory/orders/1 4\nmemory/odd\\name \"two\\nlines\"\n";
    assert_eq!(text("memory"), expected);
    assert_eq!(text("/memory/"), expected);
    assert_eq!(text("memory/*"), expected);
    assert_eq!(text("").lines().count(), 6 + 13 * 4 + 1);
}

#[test]
fn patterns_select() {
    assert_eq!(
        text("sched/cpus/11/runnable"),
        "sched/cpus/11/runnable 11\n"
    );
    assert_eq!(text("sched/boot"), text("sched/b*t/*"));
    assert_eq!(text("sched/boot/drift"), "sched/boot/drift -5\n");
    assert_eq!(text("*/version"), "sched/version \"1.5\"\n");
    assert_eq!(text("sched/cpus/*/idle").lines().count(), 12);
    assert_eq!(text("sched/cpus/1*/idle").lines().count(), 3);
    assert_eq!(text("sched/cpus/0/idle"), "sched/cpus/0/idle true\n");
    assert_eq!(text("sched/cpu"), "");
    assert_eq!(text("memory/free/more"), "");
    assert_eq!(text("memory/aa*aa"), "");
    assert_eq!(Pattern::new("a//b"), Err(PatternError::EmptyName));
    assert_eq!(Pattern::new("a/**"), Err(PatternError::TwoStars));
}

#[test]
fn depth_leaves_out_and_says_so() {
    let mut found = Vec::new();
    let pattern = Pattern::new("memory").unwrap();
    query(&tree(), &pattern, 1, &mut |path, value| {
        found.push((path.to_string(), value == Value::Node))
    });
    let nodes: Vec<_> = found
        .iter()
        .filter(|(_, node)| *node)
        .map(|(path, _)| &path[..])
        .collect();
    assert_eq!(nodes, ["memory/zones", "memory/orders"]);
    assert_eq!(found.len(), 4);
    found.clear();
    query(&tree(), &pattern, 0, &mut |path, value| {
        found.push((path.to_string(), value == Value::Node))
    });
    assert_eq!(found, [("memory".to_string(), true)]);
}

/// Counts how often it was asked.
struct Asked(Cell<u32>);

impl Inspect for Asked {
    fn inspect(&self, _: &mut Node<'_>) {
        self.0.set(self.0.get() + 1);
    }
}

struct Two<'a>(&'a Asked, &'a Asked);

impl Inspect for Two<'_> {
    fn inspect(&self, node: &mut Node<'_>) {
        node.child("a", self.0);
        node.child("b", self.1);
    }
}

#[test]
fn what_is_not_asked_for_is_not_visited() {
    let (a, b) = (Asked(Cell::new(0)), Asked(Cell::new(0)));
    query(
        &Two(&a, &b),
        &Pattern::new("b/x").unwrap(),
        9,
        &mut |_, _| {},
    );
    assert_eq!((a.0.get(), b.0.get()), (0, 1));
}

#[test]
fn parts_are_replaced_and_removed() {
    let mut root = tree();
    assert!(root.insert("memory", Arc::new(cpu(1))).is_some());
    assert!(root.remove("sched").is_some() && root.remove("sched").is_none());
    let mut out = String::new();
    assert_eq!(
        write_text(&root, &Pattern::new("").unwrap(), &mut out),
        Ok(4)
    );
}
