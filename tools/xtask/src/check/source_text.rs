//! Rust source as the gates see it: which files there are, and their text without comments and strings.
//!
//! A light scanner, not a parser: it knows comments, strings, characters and braces, which is all that the
//! budgets and bans need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One source file.
#[derive(Debug)]
pub struct Source {
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The same, with comments and the content of strings made blank. Lines stay where they are.
    pub code: String,
}

impl Source {
    /// Whether the file holds nothing but tests.
    pub fn is_test(&self) -> bool {
        let name = |part: std::path::Component| part.as_os_str().to_string_lossy().into_owned();
        let names: Vec<String> = self.path.components().map(name).collect();
        let inside_src = names.iter().rposition(|name| name == "src").unwrap_or(0);
        let below = &names[inside_src..];
        below
            .iter()
            .any(|name| name == "tests" || name == "tests.rs")
    }
}

/// A function in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its first line, from 0.
    pub first: usize,
    /// Its last line.
    pub last: usize,
}

/// All `.rs` files of a package, tests included.
pub fn read_all(package: &Path) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    let mut pending = vec![package.to_owned()];
    while let Some(folder) = pending.pop() {
        let listing =
            fs::read_dir(&folder).with_context(|| format!("Cannot list {}", folder.display()))?;
        for entry in listing {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                pending.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let text =
            fs::read_to_string(&path).with_context(|| format!("Cannot read {}", path.display()))?;
        Ok(Source {
            code: strip(&text),
            text,
            path,
        })
    };
    files.into_iter().map(read).collect()
}

/// Where the unit tests at a file's end begin; the number of lines if there are none.
pub fn test_start(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let is_test_module = |i: usize| {
        let next = lines.get(i + 1).map_or("", |line| line.trim());
        lines[i].trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
    };
    (0..lines.len())
        .find(|&i| is_test_module(i))
        .unwrap_or(lines.len())
}

/// All functions with a body, nested ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(hit) = code[at..].find("fn ") {
        let start = at + hit;
        at = start + 3;
        let is_word = start == 0 || !is_name(bytes[start - 1]);
        let name: String = code[at..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !is_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(bytes, at) {
            let line = |offset: usize| bytes[..offset].iter().filter(|b| **b == b'\n').count();
            found.push(Function {
                name,
                first: line(start),
                last: line(end),
            });
        }
    }
    found
}

/// The closing brace of the body that begins behind `from`. None if a semicolon comes first.
fn body_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0;
    let mut brackets = 0;
    for (i, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            // A semicolon inside brackets belongs to an array type.
            b'[' | b'(' if depth == 0 => brackets += 1,
            b']' | b')' if depth == 0 => brackets -= 1,
            b';' if depth == 0 && brackets == 0 => return None,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth <= 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Makes comments and the content of strings and characters blank.
pub fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if at == 0 || !is_name(bytes[at - 1]) || bytes[at - 1] == b'b' => {
                raw_string_end(bytes, at).unwrap_or(at)
            }
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(
                bytes[at..end]
                    .iter()
                    .map(|b| if *b == b'\n' { b'\n' } else { b' ' }),
            );
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = at + 2 + hashes;
    let length = bytes[body..]
        .windows(close.len())
        .position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| body + length + close.len()))
}

/// The end of a character literal; None for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|b| *b == b'\'')?;
        return Some(at + 4 + close);
    }
    // One character of one to four bytes.
    (2..=5)
        .map(|length| at + length)
        .find(|&i| bytes.get(i) == Some(&b'\''))
        .filter(|&i| i == at + 2 || bytes[at + 1] >= 0x80)
        .map(|i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_become_blank() {
        let text = "let a = \"todo!() // \\\" x\"; // fn b() {\n/* { /* } */ */ let c = '{'; let d = r#\"}\"#;";
        let code = strip(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("todo") && !code.contains("fn b") && !code.contains('{'));
        assert!(!code.contains('}') && code.contains("let c") && code.contains("let d"));
        assert_eq!(code.matches('\n').count(), 1);
    }

    #[test]
    fn lifetimes_are_no_characters() {
        let code = strip("fn f<'a>(x: &'a str) -> &'a str { x } // '");
        assert!(code.contains("&'a str { x }"));
        assert_eq!(
            strip("('\\'', '\\n', 'é', b'x')")
                .trim_matches(['(', ')'])
                .trim(),
            ",     ,     , b"
        );
    }

    #[test]
    fn functions_are_measured() {
        let code = strip(
            "trait T { fn no_body(&self); }\nfn one() {}\n\npub fn two(x: [u8; 4]) {\n    if true {\n    }\n}\n",
        );
        let found = functions(&code);
        let names: Vec<_> = found
            .iter()
            .map(|f| (f.name.as_str(), f.first, f.last))
            .collect();
        assert_eq!(names, [("one", 1, 1), ("two", 3, 6)]);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        let is_test = |path: &str| {
            let (text, code) = (String::new(), String::new());
            Source {
                path: path.into(),
                text,
                code,
            }
            .is_test()
        };
        assert!(is_test("/r/kernel/x/src/lapic/tests.rs"));
        assert!(is_test("/r/kernel/x/src/tests/pages.rs"));
        assert!(is_test("/r/kernel/x/tests/contents.rs"));
        assert!(!is_test("/r/tests/boot/src/main.rs"));
    }

    #[test]
    fn function_pointers_are_no_functions() {
        assert!(functions("type F = fn (u8) -> u8;\nstruct S { f: fn(u8) }").is_empty());
    }

    #[test]
    fn unit_tests_are_found_at_the_end() {
        assert_eq!(test_start("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), 1);
        assert_eq!(
            test_start("#[cfg(test)]\nextern crate std;\nfn a() {}\n"),
            3
        );
        assert_eq!(test_start("#[cfg(test)]\nmod tests;\n"), 2);
    }
}
