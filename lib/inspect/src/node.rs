//! The walk over the tree.

use alloc::string::String;
use core::fmt::{Display, Write};

use crate::pattern::Part;
use crate::{Pattern, Value};

/// Something that tells of its state.
pub trait Inspect {
    /// Names values and children to `node`, each by a name of its own.
    fn inspect(&self, node: &mut Node<'_>);
}

impl<T: Inspect + ?Sized> Inspect for &T {
    fn inspect(&self, node: &mut Node<'_>) {
        (**self).inspect(node);
    }
}

/// Where an [`Inspect`] says what it has.
pub struct Node<'q> {
    /// What is left of the pattern here; nothing means selected.
    parts: &'q [Part<'q>],
    /// How many levels below a selected node are still wanted.
    depth: usize,
    path: &'q mut String,
    found: &'q mut dyn FnMut(&str, Value<'_>),
}

impl Node<'_> {
    /// A number without a sign.
    pub fn u64(&mut self, name: &str, value: u64) {
        self.value(name, Value::U64(value));
    }

    /// A number.
    pub fn i64(&mut self, name: &str, value: i64) {
        self.value(name, Value::I64(value));
    }

    /// Yes or no.
    pub fn bool(&mut self, name: &str, value: bool) {
        self.value(name, Value::Bool(value));
    }

    /// Text.
    pub fn str(&mut self, name: &str, value: &str) {
        self.value(name, Value::Str(value));
    }

    /// Text that is formatted only if the query asks for it.
    pub fn display(&mut self, name: &str, value: &dyn Display) {
        self.enter(name, &mut |node| {
            if node.parts.is_empty() {
                let mut text = String::new();
                // A String takes whatever is written; only `value` can fail.
                if write!(text, "{value}").is_ok() {
                    (node.found)(node.path, Value::Str(&text));
                }
            }
        });
    }

    /// A child with values and children of its own.
    pub fn child(&mut self, name: &str, child: &dyn Inspect) {
        self.enter(name, &mut |node| {
            node.descend(&mut |node| child.inspect(node))
        });
    }

    /// A child that is no object of its own.
    pub fn group(&mut self, name: &str, mut fill: impl FnMut(&mut Node<'_>)) {
        self.enter(name, &mut |node| node.descend(&mut fill));
    }

    /// A child whose children are numbered from 0.
    pub fn list<T: Inspect>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        let mut items = items.into_iter();
        self.group(name, |node| {
            for (index, item) in items.by_ref().enumerate() {
                node.child(decimal(index, &mut [0; 20]), &item);
            }
        });
    }

    /// A child whose values are numbered from 0.
    pub fn values<'v>(&mut self, name: &str, values: impl IntoIterator<Item = Value<'v>>) {
        let mut values = values.into_iter();
        self.group(name, |node| {
            for (index, value) in values.by_ref().enumerate() {
                node.value(decimal(index, &mut [0; 20]), value);
            }
        });
    }

    fn value(&mut self, name: &str, value: Value<'_>) {
        self.enter(name, &mut |node| {
            if node.parts.is_empty() {
                (node.found)(node.path, value);
            }
        });
    }

    /// Visits what is called `name`, if the query leads there.
    fn enter(&mut self, name: &str, visit: &mut dyn FnMut(&mut Node<'_>)) {
        let parts = match self.parts.split_first() {
            None => self.parts,
            Some((part, rest)) if part.matches(name) => rest,
            Some(_) => return,
        };
        let length = self.path.len();
        if length > 0 {
            self.path.push('/');
        }
        for character in name.chars() {
            // A name from outside must not look like a path.
            self.path
                .push(if character == '/' { '\\' } else { character });
        }
        let node = &mut Node {
            parts,
            depth: self.depth,
            path: &mut *self.path,
            found: &mut *self.found,
        };
        visit(node);
        self.path.truncate(length);
    }

    /// Visits the children of a node that is no value.
    fn descend(&mut self, visit: &mut dyn FnMut(&mut Node<'_>)) {
        if self.parts.is_empty() {
            match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => return (self.found)(self.path, Value::Node),
            }
        }
        visit(self);
    }
}

/// A number's digits.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    core::str::from_utf8(&digits[at..]).unwrap_or_default()
}

/// Calls `found` with path and value of all that `pattern` selects under
/// `root`, at most `depth` levels below what it matches.
pub fn query(
    root: &dyn Inspect,
    pattern: &Pattern<'_>,
    depth: usize,
    found: &mut dyn FnMut(&str, Value<'_>),
) {
    let mut path = String::new();
    let mut node = Node {
        parts: pattern.parts(),
        depth,
        path: &mut path,
        found,
    };
    root.inspect(&mut node);
}

/// Writes what [`query`] finds without a limit of depth, a line each: path,
/// space, value. Returns the number of lines.
///
/// # Errors
/// If `out` fails; the walk goes on, but nothing more is written.
pub fn write_text(
    root: &dyn Inspect,
    pattern: &Pattern<'_>,
    out: &mut dyn Write,
) -> Result<usize, core::fmt::Error> {
    let mut result = Ok(0);
    query(root, pattern, usize::MAX, &mut |path, value| {
        if let Ok(lines) = result {
            result = writeln!(out, "{path} {value}").map(|()| lines + 1);
        }
    });
    result
}
