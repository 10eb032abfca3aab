//! A writer of newc cpio archives.
//!
//! Main type: [`Archive`]. The format is that of cpio(5), "New ASCII Format": a header of 110 bytes of
//! hexadecimal text, the name with its NUL, filled up to a multiple of four, then the data, filled up likewise.
//!
//! Archives may be written with [`Alignment::Page`]: the data of every file of at least a page then starts on
//! a page boundary of the archive, so that a kernel can map file pages where the boot loader put them. The
//! gap is made of extra NULs behind the name, which readers that take names as C strings do not see. The
//! bytes behind a file's last byte are the next header, not zeros.

use std::collections::BTreeSet;

/// The size of a page, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// Linux refuses a name field longer than this (its PATH_MAX), NULs included.
const NAME_FIELD_MAX: usize = 4096;
const HEADER_SIZE: usize = 110;

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
        self.next_inode = 0;
        self.entry("TRAILER!!!", 0, 1, (0, 0), &[]);
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
        let mut gap = 0;
        if self.alignment == Alignment::Page && is_file && data.len() >= PAGE_SIZE {
            gap = self.gap_before_data(name);
            if name.len() + 1 + gap > NAME_FIELD_MAX {
                // Half the gap goes into one more mention of the root directory, the rest is asked for anew.
                self.raw_entry(".", PAGE_SIZE / 2, DIRECTORY | 0o755, 2, (0, 0), &[]);
                gap = self.gap_before_data(name);
            }
        }
        self.raw_entry(name, gap, mode, links, device, data);
    }

    /// How many NULs behind `name` bring the data of the next entry to a page boundary.
    fn gap_before_data(&self, name: &str) -> usize {
        let data_start = (self.bytes.len() + HEADER_SIZE + name.len() + 1).next_multiple_of(4);
        data_start.next_multiple_of(PAGE_SIZE) - data_start
    }

    fn raw_entry(
        &mut self,
        name: &str,
        gap: usize,
        mode: u32,
        links: u32,
        device: (u32, u32),
        data: &[u8],
    ) {
        let inode = self.next_inode;
        self.next_inode += 1;
        let length = u32::try_from(data.len()).expect("invariant: a file in an archive is < 4 GiB");
        let name_field = u32::try_from(name.len() + 1 + gap).expect("invariant: names are short");
        let fields = [
            inode, mode, 0, 0, links, 0, length, 0, 0, device.0, device.1, name_field, 0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.resize(self.bytes.len() + 1 + gap, 0);
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
        name_field: usize,
    }

    /// An independent reader of the format, as strict as Linux's.
    fn read(bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
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
            if name == "TRAILER!!!" {
                return found;
            }
            let data = bytes[data_start..data_start + length].to_vec();
            found.push(Found {
                name,
                mode: mode as u32,
                data_start,
                data,
                name_field,
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
            assert!(
                entries.iter().all(|e| e.name_field <= NAME_FIELD_MAX),
                "shift {shift}"
            );
        }
    }

    #[test]
    fn small_files_cost_no_gap() {
        let mut archive = Archive::new(Alignment::Page);
        archive.file("note", 0o644, b"hello");
        assert_eq!(read(&archive.finish())[0].name_field, 5);
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
