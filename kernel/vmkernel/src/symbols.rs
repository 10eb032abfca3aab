//! The kernel's symbols, from the boot archive: names for backtraces.

use cpio::Archive;
use sync::Once;

/// Lines of `address name`, by address.
static SYMBOLS: Once<&'static str> = Once::new();
const PLACE: &[u8] = b"boot/vmkernel.sym";

/// Finds the symbols in the boot archive.
pub fn init(archive: &'static [u8]) {
    let parsed = Archive::new(archive);
    if let Ok(Some(entry)) = parsed.find(PLACE)
        && let Ok(text) = core::str::from_utf8(parsed.data(&entry))
    {
        let _ = SYMBOLS.set(text);
    }
}

/// The symbol that `address` is in, and how far.
pub fn find(address: u64) -> Option<(&'static str, u64)> {
    let parse = |line: &'static str| {
        let (start, name) = line.split_once(' ')?;
        Some((u64::from_str_radix(start, 16).ok()?, name))
    };
    let lines = SYMBOLS.get()?.lines().filter_map(parse);
    let (start, name) = lines.take_while(|(start, _)| *start <= address).last()?;
    Some((name, address - start))
}
