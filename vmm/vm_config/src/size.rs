//! Sizes of memory in words: [`parse`] reads "512 MiB", "2G" and the like.

/// What a size may look like, for messages.
pub const ALLOWED: &str = "a number of MiB, or a text like \"512 MiB\" or \"2 GiB\"";

/// Reads a size with its unit; `None` if it is none or beyond 64 bits.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let shift = match unit.trim() {
        "KiB" | "K" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_units_with_and_without_blank() {
        assert_eq!(parse("512 MiB"), Some(512 << 20));
        assert_eq!(parse("2G"), Some(2 << 30));
        assert_eq!(parse("64KiB"), Some(64 << 10));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "MiB",
            "5",
            "5 apples",
            "-1 MiB",
            "1.5 GiB",
            "99999999999999999 GiB",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
