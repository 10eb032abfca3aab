use crate::{FileStorage, VirtioBlock};
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use virtio_device::test_ring::{BUFFERS, Descriptor, MEMORY_LEN, TestRing};
use virtio_device::{QueueFault, Served, VirtioDevice};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::tempdir::TempDir;

const HEADER: u64 = BUFFERS;
const DATA: u64 = BUFFERS + 0x1000;
const STATUS: u64 = BUFFERS + 0x800;
const SECTORS: u64 = 64;

struct Bench {
    ring: TestRing,
    disk: VirtioBlock<FileStorage>,
    path: PathBuf,
    _folder: TempDir,
}

impl Bench {
    fn new(readonly: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.as_path().join("disk");
        File::create(&path).unwrap().set_len(SECTORS * 512).unwrap();
        let disk = VirtioBlock::new(FileStorage::open(&path, readonly).unwrap(), readonly, "S1");
        Self {
            ring: TestRing::new(),
            disk,
            path,
            _folder: folder,
        }
    }

    fn header(&self, kind: u32, sector: u64) {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        self.ring
            .memory
            .write_slice(&header, GuestAddress(HEADER))
            .unwrap();
        self.ring
            .memory
            .write_obj(0xAAu8, GuestAddress(STATUS))
            .unwrap();
    }

    fn process(&mut self) -> Result<Served, QueueFault> {
        let memory = self.ring.memory.clone();
        self.disk.process(0, &mut self.ring.queue, &memory)
    }

    /// Runs a request; returns its status and the bytes written.
    fn request(&mut self, kind: u32, sector: u64, data: Option<(u32, bool)>) -> (u8, u32) {
        self.header(kind, sector);
        let mut buffers = vec![(HEADER, 16, false)];
        buffers.extend(data.map(|(len, is_writable)| (DATA, len, is_writable)));
        buffers.push((STATUS, 1, true));
        self.ring.add(&buffers);
        self.process().unwrap();
        let status = self.ring.memory.read_obj(GuestAddress(STATUS)).unwrap();
        (status, self.ring.used().last().unwrap().1)
    }

    fn put(&self, data: &[u8]) {
        self.ring
            .memory
            .write_slice(data, GuestAddress(DATA))
            .unwrap();
    }

    fn on_disk(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        File::open(&self.path)
            .unwrap()
            .read_exact_at(&mut bytes, offset)
            .unwrap();
        bytes
    }
}

#[test]
fn what_is_written_is_on_the_disk_and_read_back() {
    let mut bench = Bench::new(false);
    let data: Vec<u8> = (0..1024).map(|i| (i * 7) as u8).collect();
    bench.put(&data);
    assert_eq!(bench.request(1, 3, Some((1024, false))), (0, 1));
    assert_eq!(bench.on_disk(3 * 512, 1024), data);
    bench.put(&[0; 1024]);
    assert_eq!(bench.request(0, 3, Some((1024, true))), (0, 1025));
    let mut back = vec![0; 1024];
    bench
        .ring
        .memory
        .read_slice(&mut back, GuestAddress(DATA))
        .unwrap();
    assert_eq!(back, data);
    assert_eq!(bench.request(4, 0, None), (0, 1));
}

#[test]
fn the_id_is_the_serial() {
    let mut bench = Bench::new(false);
    assert_eq!(bench.request(8, 0, Some((20, true))), (0, 21));
    let mut id = [0; 20];
    bench
        .ring
        .memory
        .read_slice(&mut id, GuestAddress(DATA))
        .unwrap();
    assert_eq!(&id[..4], b"S1\0\0");
}

#[test]
fn zeroes_and_discards_reach_the_disk() {
    let mut bench = Bench::new(false);
    bench.put(&[0x55; 4096]);
    bench.request(1, 0, Some((4096, false)));
    for (kind, sector, flags) in [(13, 1u64, 0u32), (13, 2, 1), (11, 3, 0)] {
        let mut range = sector.to_le_bytes().to_vec();
        range.extend(1u32.to_le_bytes());
        range.extend(flags.to_le_bytes());
        bench.put(&range);
        assert_eq!(
            bench.request(kind, 0, Some((16, false))),
            (0, 1),
            "{kind} {sector}"
        );
    }
    let mut expected = vec![0x55; 4096];
    expected[512..1536].fill(0);
    let found = bench.on_disk(0, 4096);
    assert_eq!(found[..1536], expected[..1536]);
    assert_eq!(found[2048..], expected[2048..]);
}

#[test]
fn requests_beyond_the_disk_or_malformed_fail_and_change_nothing() {
    let mut bench = Bench::new(false);
    bench.put(&[0x77; 2048]);
    assert_eq!(bench.request(1, SECTORS - 1, Some((1024, false))).0, 1);
    assert_eq!(bench.request(1, u64::MAX, Some((512, false))).0, 1);
    assert_eq!(bench.request(1, u64::MAX / 512, Some((512, false))).0, 1);
    assert_eq!(bench.request(1, 0, Some((100, false))).0, 1);
    assert_eq!(bench.request(8, 0, Some((19, true))).0, 1);
    assert_eq!(bench.request(99, 0, None).0, 2);
    assert_eq!(bench.request(13, 0, Some((15, false))).0, 1);
    assert_eq!(
        bench.on_disk(0, (SECTORS * 512) as usize),
        vec![0; (SECTORS * 512) as usize]
    );
}

#[test]
fn a_readonly_disk_offers_and_does_no_writes() {
    let mut bench = Bench::new(true);
    assert_ne!(bench.disk.features() & 1 << 5, 0);
    assert_eq!(bench.disk.features() & (1 << 13 | 1 << 14), 0);
    bench.put(&[0x77; 512]);
    assert_eq!(bench.request(1, 0, Some((512, false))).0, 1);
    assert_eq!(bench.request(0, 0, Some((512, true))).0, 0);
    assert_eq!(bench.on_disk(0, 512), vec![0; 512]);
}

#[test]
fn configuration_shows_the_capacity() {
    let bench = Bench::new(false);
    let mut capacity = [0; 8];
    bench.disk.read_config(0, &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), SECTORS);
    let mut beyond = [1; 8];
    bench.disk.read_config(u64::MAX - 3, &mut beyond);
    assert_eq!(beyond[..4], [0; 4]);
}

#[test]
fn a_chain_without_room_for_a_status_is_given_back() {
    let mut bench = Bench::new(false);
    bench.header(1, 0);
    bench.ring.add(&[(HEADER, 16, false)]);
    bench.process().unwrap();
    assert_eq!(bench.ring.used(), [(0, 0)]);
}

#[test]
fn a_disk_belongs_to_one_writer() {
    let bench = Bench::new(false);
    let error = FileStorage::open(&bench.path, false)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another VM uses this disk"), "{error}");
    let error = FileStorage::open(&bench.path, true)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another VM writes this disk"), "{error}");
    let readers = Bench::new(true);
    FileStorage::open(&readers.path, true).unwrap();
}

#[test]
fn what_is_no_disk_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.as_path().join("odd");
    File::create(&path).unwrap().set_len(513).unwrap();
    let error = FileStorage::open(&path, false).err().unwrap().to_string();
    assert!(error.contains("513 bytes"), "{error}");
    let error = FileStorage::open("/dev/null".as_ref(), true)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("neither"), "{error}");
    assert!(FileStorage::open(&folder.as_path().join("none"), true).is_err());
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..MEMORY_LEN as u64,
        Just(u64::MAX),
        any::<u64>(),
        Just(DATA),
        Just(HEADER)
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..64, Just(16), Just(512), 0u32..8192, any::<u32>()]
}

proptest! {
    #[test]
    fn no_ring_panics_or_grows_the_disk(
        descriptors in prop::collection::vec(
            (address(), length(), 0u16..8, 0u16..20), TestRing::SIZE as usize),
        header in (0u32..16, prop_oneof![0u64..80, any::<u64>()]),
        heads in prop::collection::vec(0u16..20, 1..16),
        jump in prop::option::of(any::<u16>()),
    ) {
        let mut bench = Bench::new(false);
        for (index, (address, len, flags, next)) in descriptors.into_iter().enumerate() {
            let descriptor = Descriptor { address, len, flags, next };
            bench.ring.write_descriptor(index as u16, descriptor);
        }
        bench.header(header.0, header.1);
        for head in heads {
            bench.ring.offer(head);
        }
        if let Some(jump) = jump {
            bench.ring.set_available(jump);
        }
        let _ = bench.process();
        prop_assert_eq!(bench.path.metadata().unwrap().len(), SECTORS * 512);
    }
}
