//! Archives are written here by a small writer and read back.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use crate::{Archive, Entry, Fault, FileType};

#[derive(Clone, Debug)]
struct Written {
    name: Vec<u8>,
    fields: [u32; 10],
    data: Vec<u8>,
    sum: bool,
}

fn entry(name: &str, mode: u32, data: &[u8]) -> Written {
    let fields = [7, mode, 1, 2, 1, 1000, 8, 1, 4, 64];
    Written {
        name: name.into(),
        fields,
        data: data.into(),
        sum: false,
    }
}

fn put(out: &mut Vec<u8>, e: &Written) {
    let [
        ino,
        mode,
        uid,
        gid,
        nlink,
        mtime,
        major,
        minor,
        rmajor,
        rminor,
    ] = e.fields;
    let sum = e.data.iter().map(|b| u32::from(*b)).sum();
    out.extend_from_slice(if e.sum { b"070702" } else { b"070701" });
    let name_size = e.name.len() as u32 + 1;
    let size = e.data.len() as u32;
    let check = if e.sum { sum } else { 0 };
    for field in [
        ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, name_size, check,
    ] {
        out.extend_from_slice(std::format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(&e.name);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(&e.data);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn archive(entries: &[Written]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|e| put(&mut out, e));
    put(&mut out, &entry("TRAILER!!!", 0, b""));
    out
}

fn fault(bytes: &[u8]) -> Option<Fault> {
    Archive::new(bytes).find_map(|e| e.err().map(|e| e.fault))
}

#[test]
fn entries_come_back_as_written() {
    let bytes = archive(&[
        entry("bin", 0o40755, b""),
        entry("bin/sh", 0o104755, b"program"),
        entry("bin/ash", 0o120777, b"sh"),
        entry("dev/tty", 0o20666, b""),
    ]);
    let reader = Archive::new(&bytes);
    let all: Vec<Entry<'_>> = reader.clone().map(Result::unwrap).collect();
    let types: Vec<_> = all.iter().map(Entry::file_type).collect();
    use FileType::*;
    assert_eq!(types, [Directory, Regular, Symlink, CharDevice]);
    assert_eq!(all[1].name, b"bin/sh");
    assert_eq!(all[1].permissions(), 0o4755);
    assert_eq!(reader.data(&all[1]), b"program");
    assert_eq!(
        (all[1].uid, all[1].gid, all[1].mtime, all[1].ino),
        (1, 2, 1000, 7)
    );
    assert_eq!((all[3].dev, all[3].rdev), ((8, 1), (4, 64)));
    assert_eq!(reader.find(b"/bin/ash").unwrap().unwrap().data, all[2].data);
    assert_eq!(reader.find(b"bin/none").unwrap(), None);
}

#[test]
fn hard_links_share_a_key_within_one_archive() {
    let mut first = entry("a", 0o100644, b"");
    first.fields[4] = 2;
    let mut second = entry("b", 0o100644, b"data");
    second.fields[4] = 2;
    let mut bytes = archive(&[first.clone(), second.clone(), entry("c", 0o100644, b"")]);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend_from_slice(&archive(&[first, second]));
    let keys: Vec<_> = Archive::new(&bytes)
        .map(|e| e.unwrap().link_key())
        .collect();
    assert_eq!(keys.len(), 5);
    assert!(keys[0].is_some() && keys[0] == keys[1] && keys[2].is_none());
    assert!(keys[3] == keys[4] && keys[3] != keys[0]);
}

#[test]
fn faults_are_named_with_their_place() {
    let good = archive(&[entry("a", 0o100644, b"12345")]);
    assert_eq!(fault(&good), None);
    assert_eq!(fault(&[]), Some(Fault::NoTrailer));
    assert_eq!(fault(b"\x1f\x8b gzip data"), Some(Fault::BadMagic));
    assert_eq!(fault(&good[..50]), Some(Fault::Truncated));
    assert_eq!(fault(&good[..114]), Some(Fault::Truncated));
    assert_eq!(fault(&good[..120]), Some(Fault::NoTrailer));
    let error = Archive::new(&good[..200]).last().unwrap().unwrap_err();
    assert_eq!((error.fault, error.offset), (Fault::Truncated, 120));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        fault(&bytes)
    };
    assert_eq!(with(20, b'g'), Some(Fault::BadNumber));
    assert_eq!(with(20, b'+'), Some(Fault::BadNumber));
    assert_eq!(with(111, b'x'), Some(Fault::BadName));
    assert_eq!(with(110, 0), Some(Fault::BadName));
    assert_eq!(with(101, b'0'), Some(Fault::BadName));
    assert_eq!(with(54, b'f'), Some(Fault::Truncated));
}

#[test]
fn sums_are_compared_where_present() {
    let mut summed = entry("a", 0o100644, b"12345");
    summed.sum = true;
    let bytes = archive(&[summed]);
    let entry = Archive::new(&bytes).next().unwrap().unwrap();
    assert!(entry.checksum_matches(b"12345"));
    assert!(!entry.checksum_matches(b"12346"));
}

fn any_entry() -> impl Strategy<Value = Written> {
    let name = proptest::collection::vec(1..=255u8, 1..40);
    let data = proptest::collection::vec(any::<u8>(), 0..100);
    (name, any::<[u32; 10]>(), data, any::<bool>())
        .prop_filter("a trailer", |(name, ..)| name != b"TRAILER!!!")
        .prop_map(|(name, fields, data, sum)| Written {
            name,
            fields,
            data,
            sum,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_is_written_is_read(entries in proptest::collection::vec(any_entry(), 0..8)) {
        let bytes = archive(&entries);
        let reader = Archive::new(&bytes);
        let read: Vec<_> = reader.clone().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), entries.len());
        for (r, w) in read.iter().zip(&entries) {
            prop_assert_eq!(r.name, &w.name[..]);
            prop_assert_eq!(reader.data(r), &w.data[..]);
            prop_assert!(r.checksum_matches(&w.data));
            let fields = [r.ino, r.mode, r.uid, r.gid, r.nlink, r.mtime, r.dev.0, r.dev.1, r.rdev.0, r.rdev.1];
            prop_assert_eq!(fields, w.fields);
        }
    }

    #[test]
    fn spoiled_archives_never_panic(
        entries in proptest::collection::vec(any_entry(), 1..4),
        flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        keep: u16,
    ) {
        let mut bytes = archive(&entries);
        let len = bytes.len();
        for (at, value) in flips {
            bytes[usize::from(at) % len] = value;
        }
        for bytes in [&bytes[..], &bytes[..usize::from(keep) % len]] {
            for entry in Archive::new(bytes).flatten() {
                prop_assert!(entry.data.start <= entry.data.end && entry.data.end <= bytes.len());
                prop_assert_eq!(Archive::new(bytes).data(&entry).len(), entry.data.len());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Archive::new(&bytes).count() <= bytes.len() / 110 + 1);
    }
}
