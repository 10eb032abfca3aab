//! The words of the kernel's command line.

use alloc::vec::Vec;
use sync::Once;

static LINE: Once<&'static str> = Once::new();

/// Remembers the command line.
pub fn init(line: &'static str) {
    let _ = LINE.set(line);
}

/// The kernel's own words: those before `--`.
fn words() -> impl Iterator<Item = &'static str> {
    line().split_whitespace().take_while(|word| *word != "--")
}

/// The whole line.
pub fn line() -> &'static str {
    LINE.get().copied().unwrap_or_default()
}

/// Whether `word` is there.
pub fn has(word: &str) -> bool {
    words().any(|other| other == word)
}

/// The value of `name=value`.
pub fn value(name: &str) -> Option<&'static str> {
    words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The words after `--`, which are for process 1.
pub fn rest() -> Vec<&'static str> {
    line()
        .split_whitespace()
        .skip_while(|word| *word != "--")
        .skip(1)
        .collect()
}
