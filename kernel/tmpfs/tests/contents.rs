//! File contents against a vector of bytes.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
use pages::{Account, FaultError, Frame, MemoryObject, PAGE_SIZE};
use proptest::prelude::*;
use std::sync::Arc;
use tmpfs::{Limits, TmpFs, set_backing};
use vfs::{File, Io, OpenFile, OpenFlags, SliceSink, SliceSource};

/// Pages with a pattern; writable ones give themselves away, others are copied.
struct Archive {
    frames: Vec<Frame>,
    writable: bool,
}

fn pattern(index: usize) -> u8 {
    (index % 251) as u8 + 1
}

impl Archive {
    fn new(pages: usize, writable: bool) -> Arc<Self> {
        let account = Account::kernel();
        let frames = (0..pages).map(|page| {
            let frame = Frame::zeroed(&account).unwrap();
            let bytes: Vec<u8> = (0..PAGE_SIZE)
                .map(|at| pattern(page * PAGE_SIZE + at))
                .collect();
            frame.write(0, &bytes);
            frame
        });
        Arc::new(Self {
            frames: frames.collect(),
            writable,
        })
    }
}

impl MemoryObject for Archive {
    fn page(&self, index: u64, write: bool) -> Result<Frame, FaultError> {
        if write && !self.writable {
            return Err(FaultError::Denied);
        }
        self.frames
            .get(index as usize)
            .cloned()
            .ok_or(FaultError::BusError)
    }
    fn present(&self, index: u64) -> Option<Frame> {
        self.frames.get(index as usize).cloned()
    }
    fn id(&self) -> u64 {
        0
    }
    fn len_pages(&self) -> u64 {
        self.frames.len() as u64
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize),
    Append(usize),
    Read(u64, usize),
    Truncate(u64),
    Allocate(u32, u64, u64),
    MapRead(u64),
    MapWrite(u64),
}

const REACH: u64 = 5 * PAGE_SIZE as u64;

fn step() -> impl Strategy<Value = Step> {
    let at = prop_oneof![
        0..REACH,
        (0..6u64, 0..3u64).prop_map(|(page, by)| (page * 4096 + by).saturating_sub(1))
    ];
    let len = prop_oneof![0..300usize, 0..10_000usize];
    let mode = prop::sample::select(vec![
        0,
        FALLOC_FL_KEEP_SIZE,
        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        FALLOC_FL_ZERO_RANGE,
        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
    ]);
    prop_oneof![
        (at.clone(), len.clone()).prop_map(|(at, len)| Step::Write(at, len)),
        len.clone().prop_map(Step::Append),
        (at.clone(), len.clone()).prop_map(|(at, len)| Step::Read(at, len)),
        at.clone().prop_map(Step::Truncate),
        (mode, at, 1..9_000u64).prop_map(|(mode, at, len)| Step::Allocate(mode, at, len)),
        (0..6u64).prop_map(Step::MapRead),
        (0..6u64).prop_map(Step::MapWrite),
    ]
}

fn model_write(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    model.resize(model.len().max(at + bytes.len()), 0);
    model[at..at + bytes.len()].copy_from_slice(bytes);
}

fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0xee; 60_000];
    let count = file
        .read(&mut Io::default(), &mut SliceSink::new(&mut bytes))
        .unwrap();
    bytes.truncate(count);
    bytes
}

fn run(
    file: &Arc<dyn File>,
    model: &mut Vec<u8>,
    step: Step,
    salt: u8,
) -> Result<(), TestCaseError> {
    match step {
        Step::Write(at, len) => {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 ^ salt).collect();
            let mut io = Io {
                offset: at,
                ..Io::default()
            };
            prop_assert_eq!(file.write(&mut io, &mut SliceSource::new(&bytes)), Ok(len));
            model_write(model, at as usize, &bytes);
        }
        Step::Append(len) => {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 ^ salt).collect();
            let mut io = Io {
                append: true,
                ..Io::default()
            };
            prop_assert_eq!(file.write(&mut io, &mut SliceSource::new(&bytes)), Ok(len));
            prop_assert_eq!(io.offset, model.len() as u64);
            let end = model.len();
            model_write(model, end, &bytes);
        }
        Step::Read(at, len) => {
            let mut bytes = vec![0; len];
            let mut io = Io {
                offset: at,
                ..Io::default()
            };
            let count = file.read(&mut io, &mut SliceSink::new(&mut bytes)).unwrap();
            let start = (at as usize).min(model.len());
            let end = (at as usize + len).min(model.len());
            prop_assert_eq!(&bytes[..count], &model[start..end.max(start)]);
        }
        Step::Truncate(len) => {
            file.truncate(len).unwrap();
            model.resize(len as usize, 0);
        }
        Step::Allocate(mode, at, len) => {
            file.allocate(mode, at, len).unwrap();
            let end = (at + len) as usize;
            if mode & FALLOC_FL_KEEP_SIZE == 0 {
                model.resize(model.len().max(end), 0);
            }
            if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) != 0 {
                let (start, end) = ((at as usize).min(model.len()), end.min(model.len()));
                model[start..end].fill(0);
            }
        }
        Step::MapRead(index) | Step::MapWrite(index) => {
            let write = matches!(step, Step::MapWrite(_));
            let start = index as usize * PAGE_SIZE;
            let object = file.mmap().unwrap();
            if let Some(frame) = object.present(index) {
                let mut byte = [0];
                frame.read(0, &mut byte);
                prop_assert_eq!(byte[0], model[start]);
            }
            match object.page(index, write) {
                Err(error) => {
                    prop_assert_eq!(error, FaultError::BusError);
                    prop_assert!(start >= model.len());
                }
                Ok(frame) => {
                    prop_assert!(start < model.len());
                    let end = model.len().min(start + PAGE_SIZE);
                    let mut bytes = vec![0; PAGE_SIZE];
                    frame.read(0, &mut bytes);
                    prop_assert_eq!(&bytes[..end - start], &model[start..end]);
                    prop_assert!(bytes[end - start..].iter().all(|byte| *byte == 0));
                    if write {
                        frame.write(0, &[salt]);
                        model[start] = salt;
                    }
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_file_is_a_vector_of_bytes(
        backing in prop::option::of((0..13_000u64, any::<bool>())),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let account = Account::new(64).unwrap();
        let fs = TmpFs::new(&account, &Limits { pages: 64, inodes: 2 }, 0o755).unwrap();
        let file = fs.unnamed_file(0o600).unwrap();
        let mut model = Vec::new();
        let archive = backing.map(|(len, writable)| (Archive::new(4, writable), len, writable));
        if let Some((archive, len, _)) = &archive {
            set_backing(&file, archive.clone(), *len).unwrap();
            model = (0..*len as usize).map(pattern).collect();
        }
        for (index, step) in steps.into_iter().enumerate() {
            run(&file, &mut model, step, index as u8 + 100)?;
            prop_assert_eq!(file.metadata().size, model.len() as u64);
        }
        prop_assert_eq!(read_all(&*file), model);
        drop(file);
        prop_assert_eq!((fs.pages_used(), fs.inodes_used(), account.used()), (0, 1, 0));
        if let Some((archive, _, false)) = archive {
            let mut bytes = vec![0; PAGE_SIZE];
            archive.frames[0].read(0, &mut bytes);
            let whole = bytes.iter().enumerate().all(|(at, byte)| *byte == pattern(at));
            prop_assert!(whole, "the archive was written to");
        }
    }
}

fn file_with_limits(pages: u64, account: u64) -> (Arc<TmpFs>, Arc<dyn File>) {
    let account = Account::new(account).unwrap();
    let fs = TmpFs::new(&account, &Limits { pages, inodes: 10 }, 0o755).unwrap();
    let file = fs.unnamed_file(0o600).unwrap();
    (fs, file)
}

#[test]
fn a_full_file_system_is_enospc_and_a_full_account_enomem() {
    let (fs, file) = file_with_limits(2, 100);
    let mut io = Io::default();
    assert_eq!(
        file.write(&mut io, &mut SliceSource::new(&[1; 10_000])),
        Ok(8192)
    );
    let mut io = Io { offset: 8192, ..io };
    assert_eq!(
        file.write(&mut io, &mut SliceSource::new(&[1])),
        Err(Errno::ENOSPC)
    );
    file.truncate(0).unwrap();
    assert_eq!(file.allocate(0, 0, 3 * 4096), Err(Errno::ENOSPC));
    assert_eq!((fs.pages_used(), file.metadata().size), (0, 0));
    let (_fs, file) = file_with_limits(9, 1);
    assert_eq!(
        file.write(&mut Io::default(), &mut SliceSource::new(&[1; 5000])),
        Ok(4096)
    );
    let mut io = Io {
        offset: 4096,
        ..Io::default()
    };
    assert_eq!(
        file.write(&mut io, &mut SliceSource::new(&[1])),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn a_backing_is_not_copied_until_it_is_written_to() {
    let (fs, file) = file_with_limits(10, 10);
    let archive = Archive::new(3, false);
    set_backing(&file, archive.clone(), 2 * 4096 + 5).unwrap();
    let object = file.mmap().unwrap();
    assert_eq!(object.len_pages(), 3);
    drop(object.page(0, false).unwrap());
    let mut bytes = [0; 8192];
    file.read(&mut Io::default(), &mut SliceSink::new(&mut bytes))
        .unwrap();
    assert_eq!(fs.pages_used(), 0);
    file.write(&mut Io::default(), &mut SliceSource::new(b"x"))
        .unwrap();
    assert_eq!(fs.pages_used(), 1);
    assert_eq!(set_backing(&file, archive, 5), Err(Errno::EINVAL));
}

#[test]
fn huge_holes_cost_nothing_and_are_found() {
    let (fs, file) = file_with_limits(10, 10);
    let open = OpenFile::new(file, OpenFlags::RDWR);
    let far = 1u64 << 50;
    open.write_at(far, &mut SliceSource::new(b"end")).unwrap();
    assert_eq!(fs.pages_used(), 1);
    assert_eq!(open.seek(0, abi::fs::SEEK_DATA), Ok(far));
    assert_eq!(open.seek(5, abi::fs::SEEK_HOLE), Ok(5));
    assert_eq!(open.seek(far as i64, abi::fs::SEEK_HOLE), Ok(far + 3));
    assert_eq!(
        open.seek(far as i64 + 3, abi::fs::SEEK_DATA),
        Err(Errno::ENXIO)
    );
    assert_eq!(open.seek(-4, abi::fs::SEEK_END), Ok(far - 1));
    assert_eq!(open.seek(-1, abi::fs::SEEK_SET), Err(Errno::EINVAL));
    let most = i64::MAX as u64;
    assert_eq!(
        open.write_at(most, &mut SliceSource::new(b"x")),
        Err(Errno::EFBIG)
    );
    assert_eq!(open.truncate(most + 1), Err(Errno::EFBIG));
}
