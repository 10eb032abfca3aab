//! Sizes to steer by. Going over one is a warning, not a failure.

use anyhow::Result;

use super::source_text::{self, Source, functions, test_start};
use super::{Findings, Subject};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 100;
const FUNCTION_LINES_P95: usize = 45;
const CRATE_LINES: usize = 12_000;
/// What a long flat table says inside, so that it may be long.
const EXCUSE: &str = "// LONG:";

/// Warns about files, functions and crates that are too long. Unit tests are not counted.
pub fn check(subject: &Subject) -> Result<Findings> {
    let mut warnings = Vec::new();
    for package in subject.packages {
        let mut lengths = Vec::new();
        let mut total = 0;
        let sources = source_text::read_all(&package.folder)?;
        for source in sources.iter().filter(|source| !source.is_test()) {
            let place = source
                .path
                .strip_prefix(&subject.house.root)
                .unwrap_or(&source.path);
            let lines = test_start(&source.code);
            total += lines;
            if lines > FILE_LINES {
                warnings.push(format!(
                    "{}: {lines} lines, at most {FILE_LINES}",
                    place.display()
                ));
            }
            for (name, length, is_excused) in measure(source) {
                lengths.push(length);
                if length > FUNCTION_LINES && !is_excused {
                    let place = place.display();
                    warnings.push(format!(
                        "{place}: fn {name} has {length} lines, at most {FUNCTION_LINES}"
                    ));
                }
            }
        }
        let p95 = percentile(&mut lengths, 95);
        if p95 > FUNCTION_LINES_P95 {
            warnings.push(format!(
                "{}: 5 % of its functions are longer than {p95} lines, aim at {FUNCTION_LINES_P95}",
                package.name
            ));
        }
        if total > CRATE_LINES {
            warnings.push(format!(
                "{}: {total} lines, at most {CRATE_LINES}",
                package.name
            ));
        }
    }
    Ok(Findings {
        warnings,
        ..Findings::default()
    })
}

/// Name and length of each function outside the unit tests, and whether it says why it is long.
fn measure(source: &Source) -> Vec<(String, usize, bool)> {
    let tests = test_start(&source.code);
    let lines: Vec<&str> = source.text.lines().collect();
    let measured = functions(&source.code)
        .into_iter()
        .filter(|function| function.first < tests);
    let each = measured.map(|function| {
        let above = lines[..function.first].iter().rev();
        let attached =
            above.take_while(|line| ["//", "#["].iter().any(|s| line.trim().starts_with(s)));
        let before = function.first - attached.count();
        let body = &lines[before..=function.last.min(lines.len().saturating_sub(1))];
        let is_excused = body
            .iter()
            .any(|line| line.trim_start().starts_with(EXCUSE));
        (
            function.name,
            function.last - function.first + 1,
            is_excused,
        )
    });
    each.collect()
}

fn percentile(values: &mut [usize], percent: usize) -> usize {
    values.sort_unstable();
    let index = (values.len() * percent).div_ceil(100);
    values.get(index.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_that_of_the_sorted_values() {
        let mut values: Vec<usize> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 95), 95);
        assert_eq!(percentile(&mut [7], 95), 7);
        assert_eq!(percentile(&mut [], 95), 0);
    }

    #[test]
    fn a_long_table_may_say_so() {
        let text = "// LONG: one line a register\nfn a() {\n}\nfn b() {\n\n\n\n}\n#[cfg(test)]\nmod tests {\nfn c() {}\n}\n";
        let source = Source {
            path: "a.rs".into(),
            text: text.into(),
            code: source_text::strip(text),
        };
        let found = measure(&source);
        assert_eq!(
            found,
            [("a".to_owned(), 2, true), ("b".to_owned(), 5, false)]
        );
    }
}
