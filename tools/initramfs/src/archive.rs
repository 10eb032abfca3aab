//! A writer of newc cpio archives.
//!
//! Main type: [`Archive`]. The format is that of cpio(5), "New ASCII Format": a header of 110 bytes of
//! hexadecimal text, the name with its NUL, filled up to a multiple of four, then the data, filled up likewise.
//!
//! Archives may be written with [`Alignment::Page`]: the data of every file of at least a page then starts on
//! a page boundary, so that a kernel can map file pages where the boot loader put them. Where a gap is needed,
//! the archive is ended and another begins behind zeros: readers of boot archives take any number of them, with
//! zeros between, as one. The bytes behind a file's last byte are the next header, not zeros.

use std::collections::BTreeSet;

/// The size of a page, in bytes.
pub const PAGE_SIZE: usize = 4096;

const HEADER_SIZE: usize = 110;
const TRAILER: &str = "TRAILER!!!";

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// Where the data of a file may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// On a multiple of four, as the format asks.
    Word,
    /// On a page boundary, for files of at least [`PAGE_SIZE`] bytes.
    Page,
}

/// An archive that is being written.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    alignment: Alignment,
    next_inode: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// An empty archive.
    pub fn new(alignment: Alignment) -> Archive {
        Archive {
            bytes: Vec::new(),
            alignment,
            next_inode: 1,
            directories: BTreeSet::new(),
        }
    }

    /// Adds a directory and the directories above it. Adding one twice is harmless.
    pub fn directory(&mut self, path: &str) {
        let path = relative(path);
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            let prefix = &path[..end];
            if !prefix.is_empty() && self.directories.insert(prefix.to_owned()) {
                self.entry(prefix, DIRECTORY | 0o755, 2, (0, 0), &[]);
            }
        }
    }

    /// Adds a regular file with these permission bits, and the directories above it.
    pub fn file(&mut self, path: &str, permissions: u32, data: &[u8]) {
        self.parents(path);
        self.entry(relative(path), REGULAR | permissions, 1, (0, 0), data);
    }

    /// Adds a symbolic link to `target`, and the directories above it.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(
            relative(path),
            SYMLINK | 0o777,
            1,
            (0, 0),
            target.as_bytes(),
        );
    }

    /// Adds a character device node, and the directories above it.
    pub fn character_device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(
            relative(path),
            CHARACTER | permissions,
            1,
            (major, minor),
            &[],
        );
    }

    /// Ends the archive and returns its bytes, filled up to a whole page.
    pub fn finish(mut self) -> Vec<u8> {
        self.trailer();
        self.bytes
            .resize(self.bytes.len().next_multiple_of(PAGE_SIZE), 0);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = relative(path).rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, device: (u32, u32), data: &[u8]) {
        let is_file = mode & 0o170_000 == REGULAR;
        if self.alignment == Alignment::Page && is_file && data.len() >= PAGE_SIZE {
            self.align_data_of(name);
        }
        self.raw_entry(name, mode, links, device, data);
    }

    /// Leaves a gap, so that the data of an entry `name` that comes next starts on a page boundary.
    fn align_data_of(&mut self, name: &str) {
        let before_data = (HEADER_SIZE + name.len() + 1).next_multiple_of(4);
        if (self.bytes.len() + before_data).is_multiple_of(PAGE_SIZE) {
            return;
        }
        self.trailer();
        let data_start = (self.bytes.len() + before_data).next_multiple_of(PAGE_SIZE);
        self.bytes.resize(data_start - before_data, 0);
    }

    fn trailer(&mut self) {
        self.raw_entry(TRAILER, 0, 1, (0, 0), &[]);
    }

    fn raw_entry(&mut self, name: &str, mode: u32, links: u32, device: (u32, u32), data: &[u8]) {
        let inode = self.next_inode;
        self.next_inode += 1;
        let length = u32::try_from(data.len()).expect("invariant: a file in an archive is < 4 GiB");
        let name_field = u32::try_from(name.len() + 1).expect("invariant: names are short");
        let fields = [
            inode, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_field, 0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill_word();
        self.bytes.extend_from_slice(data);
        self.fill_word();
    }

    fn fill_word(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Names in an archive carry no leading slash.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/').trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Found {
        name: String,
        mode: u32,
        data_start: usize,
        data: Vec<u8>,
    }

    /// An independent reader of the format, as strict as Linux's.
    fn read(bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            if bytes[at..].iter().all(|&b| b == 0) {
                return found;
            }
            assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
            let field = |i: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * i..at + 14 + 8 * i]).unwrap();
                u32::from_str_radix(text, 16).unwrap() as usize
            };
            let (mode, length, name_field) = (field(1), field(6), field(11));
            let raw_name = &bytes[at + 110..at + 110 + name_field];
            let end = raw_name.iter().position(|&b| b == 0).unwrap();
            let name = String::from_utf8(raw_name[..end].to_vec()).unwrap();
            let data_start = (at + 110 + name_field).next_multiple_of(4);
            assert_eq!(end + 1, name_field, "a name has one NUL");
            if name == TRAILER {
                let zeros = bytes[data_start..].iter().take_while(|&&b| b == 0).count();
                at = data_start + zeros;
                assert_eq!(at % 4, 0);
                continue;
            }
            let data = bytes[data_start..data_start + length].to_vec();
            found.push(Found {
                name,
                mode: mode as u32,
                data_start,
                data,
            });
            at = (data_start + length).next_multiple_of(4);
        }
    }

    #[test]
    fn files_bring_their_directories_once() {
        let mut archive = Archive::new(Alignment::Word);
        archive.file("/a/b/one", 0o644, b"1");
        archive.file("a/b/two", 0o755, b"22");
        archive.symlink("/a/link", "b/one");
        let entries = read(&archive.finish());
        let names: Vec<_> = entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/two", "a/link"]);
        assert_eq!(entries[0].mode, 0o040_755);
        assert_eq!(entries[3].mode, 0o100_755);
        assert_eq!(entries[4].mode, 0o120_777);
        assert_eq!(entries[4].data, b"b/one");
    }

    #[test]
    fn pages_start_on_page_boundaries_at_every_offset() {
        for shift in (0..4200).step_by(4) {
            let mut archive = Archive::new(Alignment::Page);
            archive.file("small", 0o644, &vec![7; shift.min(4095)]);
            let content: Vec<u8> = (0..9000u32).map(|i| i as u8).collect();
            archive.file("bin/program-with-a-rather-long-name", 0o755, &content);
            let entries = read(&archive.finish());
            let program = entries.last().unwrap();
            assert_eq!(program.data_start % PAGE_SIZE, 0, "shift {shift}");
            assert_eq!(program.data, content);
        }
    }

    #[test]
    fn small_files_cost_no_gap() {
        let mut archive = Archive::new(Alignment::Page);
        archive.file("note", 0o644, b"hello");
        archive.file("more", 0o644, b"hello");
        let bytes = archive.finish();
        assert_eq!(read(&bytes).len(), 2);
        assert_eq!(
            bytes
                .windows(TRAILER.len())
                .filter(|w| *w == TRAILER.as_bytes())
                .count(),
            1
        );
    }

    #[test]
    fn device_nodes_carry_their_numbers() {
        let mut archive = Archive::new(Alignment::Word);
        archive.character_device("dev/console", 0o600, 5, 1);
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("0000000500000001"), "{text}");
    }
}
