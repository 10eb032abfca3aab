//! A kernel's symbol table, for addresses in reports.
//!
//! Main type: [`Symbols`]. The text form is one line a symbol, `hexaddr name`, sorted by address; the same text
//! lies in the boot archive as `/boot/vmkernel.sym`, where the kernel itself reads it.

/// Names of code addresses.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    entries: Vec<(u64, String)>,
}

impl Symbols {
    /// Reads the text form. Lines that are not `hexaddr name` are passed over.
    pub fn parse(text: &str) -> Symbols {
        let entry = |line: &str| {
            let (address, name) = line.split_once(' ')?;
            Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
        };
        Symbols::new(text.lines().filter_map(entry).collect())
    }

    /// Makes a table from pairs in any order; of several names for one address the first in the alphabet stays.
    pub fn new(mut entries: Vec<(u64, String)>) -> Symbols {
        entries.sort();
        entries.dedup_by_key(|(address, _)| *address);
        Symbols { entries }
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        self.entries
            .iter()
            .map(|(address, name)| format!("{address:016x} {name}\n"))
            .collect()
    }

    /// How many addresses have a name.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no address has a name.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The symbol that `address` lies in or behind, and how far behind its start, in bytes.
    pub fn lookup(&self, address: u64) -> Option<(&str, u64)> {
        let behind = self.entries.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.entries.get(behind.checked_sub(1)?)?;
        let offset = address - start;
        // The table holds no sizes; no function is this long, so the address is somewhere else.
        (offset < 0x10_0000).then_some((name, offset))
    }

    /// `text` with a symbol behind every line that is nothing but an address, as bare backtraces are.
    pub fn annotate(&self, text: &str) -> String {
        let annotated = text.lines().map(|line| {
            let digits = line.trim().strip_prefix("0x");
            let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            match address.and_then(|address| self.lookup(address)) {
                Some((name, offset)) => format!("{line} {name}+{offset:#x}"),
                None => line.to_owned(),
            }
        });
        annotated.collect::<Vec<_>>().join("\n")
    }

    /// `address` as text, with its symbol where there is one.
    pub fn describe(&self, address: u64) -> String {
        match self.lookup(address) {
            Some((name, offset)) => format!("{address:016x} {name}+{offset:#x}"),
            None => format!("{address:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_finds_the_symbol_at_or_before() {
        let symbols = Symbols::parse("0000000000001000 start\nnot a line\n2000 <a as b>::go\n");
        assert_eq!(symbols.len(), 2);
        assert_eq!(symbols.lookup(0xfff), None);
        assert_eq!(symbols.lookup(0x1000), Some(("start", 0)));
        assert_eq!(symbols.lookup(0x1fff), Some(("start", 0xfff)));
        assert_eq!(symbols.lookup(0x2004), Some(("<a as b>::go", 4)));
        assert_eq!(symbols.lookup(0xffff_ffff_8000_0000), None);
    }

    #[test]
    fn bare_addresses_are_named() {
        let symbols = Symbols::parse("1000 start\n");
        let text = symbols.annotate("panic at 0x1004\n  0x1004\n  0x10\n  start");
        assert_eq!(text, "panic at 0x1004\n  0x1004 start+0x4\n  0x10\n  start");
    }

    #[test]
    fn the_text_form_is_sorted_and_comes_back() {
        let symbols = Symbols::new(vec![
            (0x20, "b".into()),
            (0x10, "a".into()),
            (0x20, "c".into()),
        ]);
        assert_eq!(
            symbols.to_text(),
            "0000000000000010 a\n0000000000000020 b\n"
        );
        assert_eq!(
            Symbols::parse(&symbols.to_text()).describe(0x21),
            "0000000000000021 b+0x1"
        );
    }
}
