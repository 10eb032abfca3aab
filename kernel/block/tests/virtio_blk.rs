//! The virtio disk driver against a simulated virtio disk.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use abi::Errno;
use block::{
    BlockDevice, BlockError, BlockFile, BlockNode, Buffer, Completion, Data, Operation, Piece,
    Request, VirtioBlk,
};
use device::pci::enumerate;
use device::simulation::{Backend, SimulatedBus, SimulatedPlatform, VirtioDevice, VirtioParts};
use device::virtio::{TransportError, device_type, feature};
use proptest::prelude::*;
use vfs::{Device, File, Io, OpenFlags, SliceSink, SliceSource};
use virtqueue::simulation::{Request as RawRequest, SharedMemory};

const SECTORS: usize = 256;
const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const MQ: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;

/// What the disk saw, besides data.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Read(u64, usize),
    Write(u64, usize),
    Flush,
    Discard(u64, u64),
}

/// A disk in memory that checks what it is asked.
struct DiskModel {
    bytes: Vec<u8>,
    seen: Vec<(u16, Seen)>,
    /// The status of the next requests; 0 when it is used up.
    next_status: Vec<u8>,
}

impl DiskModel {
    fn new() -> Self {
        Self {
            bytes: vec![0; SECTORS * 512],
            seen: Vec::new(),
            next_status: Vec::new(),
        }
    }

    fn run(&mut self, queue: u16, request: &RawRequest, memory: &SharedMemory) -> (u8, u32) {
        let [head, data @ .., _] = &request.segments[..] else {
            panic!("{request:?}")
        };
        assert!(!head.device_writes && head.length == 16);
        let header = memory.read(head.address, 16);
        let kind = u32::from_le_bytes(header[..4].try_into().unwrap());
        assert_eq!(header[4..8], [0; 4], "reserved");
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap());
        assert!(
            data.iter()
                .all(|segment| segment.device_writes == (kind == 0))
        );
        let length: usize = data.iter().map(|segment| segment.length as usize).sum();
        let mut at = sector as usize * 512;
        let (seen, written) = match kind {
            0 => {
                for segment in data {
                    let end = at + segment.length as usize;
                    memory.write(segment.address, &self.bytes[at..end]);
                    at = end;
                }
                (Seen::Read(sector, length), length as u32)
            }
            1 => {
                for segment in data {
                    let from = memory.read(segment.address, segment.length as usize);
                    self.bytes[at..at + from.len()].copy_from_slice(&from);
                    at += from.len();
                }
                (Seen::Write(sector, length), 0)
            }
            4 => {
                assert_eq!((sector, length), (0, 0));
                (Seen::Flush, 0)
            }
            11 => {
                assert_eq!((sector, length), (0, 16));
                let range = memory.read(data[0].address, 16);
                let first = u64::from_le_bytes(range[..8].try_into().unwrap());
                let count = u64::from_le_bytes(range[8..].try_into().unwrap());
                let bytes = first as usize * 512..(first + count) as usize * 512;
                self.bytes[bytes].fill(0);
                (Seen::Discard(first, count), 0)
            }
            other => panic!("request type {other}"),
        };
        self.seen.push((queue, seen));
        (self.next_status.pop().unwrap_or(0), written)
    }
}

impl Backend for DiskModel {
    fn serve(&mut self, queue: u16, request: &RawRequest, memory: &SharedMemory) -> u32 {
        let (status, written) = self.run(queue, request, memory);
        let last = request.segments.last().unwrap();
        assert!(last.device_writes && last.length == 1);
        memory.write(last.address, &[status]);
        written + 1
    }
}

#[derive(Default)]
struct Results(Mutex<Vec<(u64, Result<(), BlockError>)>>);

impl Completion for Results {
    fn complete(&self, token: u64, result: Result<(), BlockError>) {
        self.0.lock().unwrap().push((token, result));
    }
}

impl Results {
    fn take(&self) -> Vec<(u64, Result<(), BlockError>)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Memory(Vec<Piece>);

impl Buffer for Memory {
    fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

struct Machine {
    platform: SimulatedPlatform,
    bus: SimulatedBus,
    model: VirtioDevice<DiskModel>,
    results: Arc<Results>,
}

fn config(queues: u16) -> Vec<u8> {
    let mut config = vec![0; 60];
    config[..8].copy_from_slice(&(SECTORS as u64).to_le_bytes());
    config[12..16].copy_from_slice(&8u32.to_le_bytes());
    config[20..24].copy_from_slice(&512u32.to_le_bytes());
    config[34..36].copy_from_slice(&queues.to_le_bytes());
    config[36..40].copy_from_slice(&16u32.to_le_bytes());
    config[40..44].copy_from_slice(&1u32.to_le_bytes());
    config
}

fn machine(features: u64, queues: &[u16]) -> Machine {
    let platform = SimulatedPlatform::new();
    let mut bus = SimulatedBus::new();
    let parts = VirtioParts {
        kind: device_type::BLOCK,
        features,
        queues,
        config: &config(queues.len() as u16),
        backend: DiskModel::new(),
    };
    let model = VirtioDevice::install(&platform, &mut bus, ("00:03.0", 0xfe00_0000), parts);
    Machine {
        platform,
        bus,
        model,
        results: Arc::default(),
    }
}

const ALL: u64 = SEG_MAX | BLK_SIZE | FLUSH | MQ | DISCARD;

impl Machine {
    fn open(&self) -> Result<Arc<VirtioBlk<SimulatedPlatform>>, TransportError> {
        let function = enumerate(&self.bus, 0, 0).remove(0);
        VirtioBlk::open(&self.bus, &function, self.platform.clone())
    }

    /// A request over fresh memory in pieces of these lengths.
    fn request(&self, operation: Operation, start: u64, lengths: &[u32], token: u64) -> Request {
        let piece = |length: &u32| Piece {
            address: self.platform.allocate(*length as usize),
            length: *length,
        };
        let buffer = Arc::new(Memory(lengths.iter().map(piece).collect()));
        let length = lengths.iter().map(|length| u64::from(*length)).sum();
        let data = Some(Data { buffer, offset: 0 });
        Request {
            operation,
            start,
            length,
            data,
            completion: self.results.clone(),
            token,
        }
    }

    fn fill(&self, request: &Request, bytes: &[u8]) {
        let mut at = 0;
        for piece in request.data.as_ref().unwrap().buffer.pieces() {
            let end = at + piece.length as usize;
            self.platform.memory().write(piece.address, &bytes[at..end]);
            at = end;
        }
    }

    fn contents(&self, buffer: &dyn Buffer) -> Vec<u8> {
        let memory = self.platform.memory();
        let read = |piece: &Piece| memory.read(piece.address, piece.length as usize);
        buffer.pieces().iter().flat_map(read).collect()
    }

    fn seen(&self) -> Vec<Seen> {
        self.model
            .with(|state| std::mem::take(&mut state.backend.seen))
            .into_iter()
            .map(|(_, seen)| seen)
            .collect()
    }
}

#[test]
fn what_is_written_is_read() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    let geometry = disk.geometry();
    assert_eq!(
        (geometry.capacity, geometry.block),
        (SECTORS as u64 * 512, 512)
    );
    assert!(geometry.has_cache && geometry.can_discard && !geometry.is_read_only);
    let bytes: Vec<u8> = (0..4096u32).map(|index| (index * 7 % 251) as u8).collect();
    let write = machine.request(Operation::Write, 1024, &[512, 3072, 512], 1);
    machine.fill(&write, &bytes);
    disk.submit(write);
    assert_eq!(machine.results.take(), [], "not done before the device is");
    assert_eq!(machine.model.run(), 1);
    assert_eq!(machine.results.take(), [(1, Ok(()))]);
    assert_eq!(machine.seen(), [Seen::Write(2, 4096)]);
    let read = machine.request(Operation::Read, 1536, &[1024, 1024], 2);
    let buffer = read.data.as_ref().unwrap().buffer.clone();
    disk.submit(read);
    machine.model.run();
    assert_eq!(machine.results.take(), [(2, Ok(()))]);
    assert_eq!(machine.contents(&*buffer), &bytes[512..2560]);
    assert_eq!(Arc::strong_count(&buffer), 1, "the driver keeps no memory");
}

#[test]
fn flush_and_discard_reach_the_disk() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    disk.submit(Request::flush(machine.results.clone(), 1));
    let mut discard = machine.request(Operation::Discard, 512, &[], 2);
    discard.length = 20 * 512;
    disk.submit(discard);
    machine.model.run();
    // The disk takes at most 16 sectors at once.
    assert_eq!(
        machine.seen(),
        [Seen::Flush, Seen::Discard(1, 16), Seen::Discard(17, 4)]
    );
    assert_eq!(machine.results.take(), [(1, Ok(())), (2, Ok(()))]);
}

#[test]
fn disks_without_abilities_say_so() {
    let machine = machine(RO, &[16]);
    let disk = machine.open().unwrap();
    disk.submit(Request::flush(machine.results.clone(), 1));
    disk.submit(machine.request(Operation::Write, 0, &[512], 2));
    let past = SECTORS as u64 * 512;
    disk.submit(machine.request(Operation::Read, past, &[512], 3));
    disk.submit(machine.request(Operation::Read, 100, &[512], 4));
    let mut short = machine.request(Operation::Read, 0, &[512], 5);
    short.length = 1024;
    disk.submit(short);
    let expected = [
        (1, Ok(())),
        (2, Err(BlockError::ReadOnly)),
        (
            3,
            Err(BlockError::OutOfRange {
                start: past,
                length: 512,
                capacity: past,
            }),
        ),
        (
            4,
            Err(BlockError::Misaligned {
                start: 100,
                length: 512,
                block: 512,
            }),
        ),
        (5, Err(BlockError::ShortBuffer)),
    ];
    assert_eq!(machine.results.take(), expected);
    assert_eq!(machine.model.run(), 0);
}

#[test]
fn errors_of_the_disk_are_values() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    machine
        .model
        .with(|state| state.backend.next_status = vec![0xff, 2, 1]);
    for token in 0..4 {
        disk.submit(machine.request(Operation::Read, 0, &[512], token));
    }
    machine.model.run();
    let errors = [
        Err(BlockError::Failed),
        Err(BlockError::Unsupported),
        Err(BlockError::Failed),
    ];
    let expected: Vec<_> = (0..).zip(errors.into_iter().chain([Ok(())])).collect();
    assert_eq!(machine.results.take(), expected);
}

#[test]
fn more_requests_than_the_queue_holds_wait_in_order() {
    let machine = machine(ALL, &[4]);
    let disk = machine.open().unwrap();
    for token in 0..20 {
        disk.submit(machine.request(Operation::Read, token * 512, &[512], token));
    }
    assert_eq!(machine.model.take(0).len(), 4, "the queue's size");
    assert_eq!(machine.results.take(), []);
}

#[test]
fn waiting_requests_are_done_in_the_end() {
    let machine = machine(ALL, &[4]);
    let disk = machine.open().unwrap();
    for token in 0..20 {
        disk.submit(machine.request(Operation::Read, token * 512, &[512], token));
    }
    assert_eq!(machine.model.run(), 20);
    let expected: Vec<_> = (0..20).map(|token| (token, Ok(()))).collect();
    assert_eq!(machine.results.take(), expected);
    let sectors: Vec<_> = (0..20).map(|sector| Seen::Read(sector, 512)).collect();
    assert_eq!(machine.seen(), sectors);
}

#[test]
fn long_requests_are_split_and_done_once() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    let lengths = [512; 20];
    let write = machine.request(Operation::Write, 0, &lengths, 7);
    let bytes: Vec<u8> = (0..20 * 512u32).map(|index| (index / 512) as u8).collect();
    machine.fill(&write, &bytes);
    disk.submit(write);
    machine.model.run();
    assert_eq!(machine.results.take(), [(7, Ok(()))]);
    let parts = [
        Seen::Write(0, 4096),
        Seen::Write(8, 4096),
        Seen::Write(16, 2048),
    ];
    assert_eq!(machine.seen(), parts, "eight segments at most");
    machine
        .model
        .with(|state| assert_eq!(state.backend.bytes[..bytes.len()], bytes));
}

#[test]
fn each_cpu_has_its_queue_and_interrupt() {
    let machine = machine(ALL, &[16, 16, 16]);
    machine.platform.set_cpu(0, 2);
    let disk = machine.open().unwrap();
    for cpu in [1, 0] {
        machine.platform.set_cpu(cpu, 2);
        disk.submit(machine.request(Operation::Read, 0, &[512], cpu as u64));
        let taken = machine.model.take(cpu as u16);
        assert_eq!(taken.len(), 1, "on the queue of CPU {cpu}");
        assert_eq!(machine.model.finish(cpu as u16, &taken[0]), Some(cpu));
        assert_eq!(machine.results.take(), [(cpu as u64, Ok(()))]);
    }
}

#[test]
fn completions_in_another_order_find_their_requests() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    for token in 0..4 {
        disk.submit(machine.request(Operation::Read, token * 512, &[512], token));
    }
    let taken = machine.model.take(0);
    for index in [2, 0, 3, 1] {
        machine.model.finish(0, &taken[index]);
    }
    let tokens: Vec<u64> = machine
        .results
        .take()
        .into_iter()
        .map(|(token, _)| token)
        .collect();
    assert_eq!(tokens, [2, 0, 3, 1]);
}

/// Submits the next request from within a completion.
struct Chain {
    disk: Mutex<Option<Arc<VirtioBlk<SimulatedPlatform>>>>,
    left: Mutex<u64>,
    this: Mutex<Option<Arc<Chain>>>,
}

impl Completion for Chain {
    fn complete(&self, _token: u64, result: Result<(), BlockError>) {
        result.unwrap();
        let mut left = self.left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            let disk = self.disk.lock().unwrap().clone().unwrap();
            let this = self.this.lock().unwrap().clone().unwrap();
            disk.submit(Request::flush(this, *left));
        }
    }
}

#[test]
fn a_completion_may_submit() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    let chain = Arc::new(Chain {
        disk: Mutex::new(Some(disk.clone())),
        left: Mutex::new(50),
        this: Mutex::new(None),
    });
    *chain.this.lock().unwrap() = Some(chain.clone());
    disk.submit(Request::flush(chain.clone(), 0));
    assert_eq!(machine.model.run(), 51);
    chain.this.lock().unwrap().take();
}

#[test]
fn a_disk_that_breaks_the_rules_is_reset_and_gone() {
    let machine = machine(ALL, &[4]);
    let disk = machine.open().unwrap();
    let mut buffers = Vec::new();
    for token in 0..6 {
        let request = machine.request(Operation::Read, token * 512, &[512], token);
        buffers.push(request.data.as_ref().unwrap().buffer.clone());
        disk.submit(request);
    }
    machine.model.with(|state| state.side(0).put_used(77, 0));
    machine.model.interrupt(0);
    let expected: Vec<_> = (0..6).map(|token| (token, Err(BlockError::Gone))).collect();
    assert_eq!(machine.results.take(), expected);
    assert_eq!(
        machine.model.with(|state| state.resets),
        2,
        "one at the start, one now"
    );
    disk.submit(Request::flush(machine.results.clone(), 9));
    assert_eq!(machine.results.take(), [(9, Err(BlockError::Gone))]);
    assert!(buffers.iter().all(|buffer| Arc::strong_count(buffer) == 1));
}

#[test]
fn a_disk_is_gone_on_all_its_queues() {
    let machine = machine(ALL, &[4, 4]);
    machine.platform.set_cpu(0, 2);
    let disk = machine.open().unwrap();
    machine.model.with(|state| state.side(0).set_used_index(1));
    machine.model.interrupt(0);
    machine.platform.set_cpu(1, 2);
    disk.submit(Request::flush(machine.results.clone(), 1));
    assert_eq!(machine.results.take(), [(1, Err(BlockError::Gone))]);
}

#[test]
fn memory_of_a_disk_that_does_not_reset_is_kept() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    let request = machine.request(Operation::Read, 0, &[512], 1);
    let buffer = request.data.as_ref().unwrap().buffer.clone();
    disk.submit(request);
    machine.model.with(|state| {
        state.can_reset = false;
        state.side(0).set_used_index(0x4000);
    });
    machine.model.interrupt(0);
    assert_eq!(machine.results.take(), [(1, Err(BlockError::Gone))]);
    assert_eq!(Arc::strong_count(&buffer), 2, "quarantined");
}

#[test]
fn missing_resources_are_errors() {
    for (dma, interrupts) in [(0, 9), (1, 9), (9, 0), (9, 1)] {
        let machine = machine(ALL, &[16]);
        machine.platform.limit(dma, interrupts);
        assert_eq!(machine.open().err(), Some(TransportError::NoResources));
        assert_eq!(machine.model.with(|state| state.resets), 2);
        machine.platform.limit(9, 9);
        machine.open().unwrap();
    }
}

#[test]
fn a_disk_may_grow() {
    let machine = machine(ALL, &[16]);
    let disk = machine.open().unwrap();
    machine
        .model
        .with(|state| state.config[..8].copy_from_slice(&1000u64.to_le_bytes()));
    machine.model.config_interrupt();
    assert_eq!(disk.geometry().capacity, 512_000);
}

/// Runs `body` while another thread does the disk's work.
fn with_disk_running(machine: &Machine, body: impl FnOnce() + Send) {
    wait_host::install();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                machine.model.run();
                std::thread::yield_now();
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        stop.store(true, Ordering::Release);
        result.unwrap();
    });
}

fn file(machine: &Machine) -> BlockFile<SimulatedPlatform> {
    BlockFile::new(&machine.platform, machine.open().unwrap(), 0xfe00).unwrap()
}

#[test]
fn a_file_reads_and_writes_any_bytes() {
    let machine = machine(ALL, &[16]);
    let file = file(&machine);
    with_disk_running(&machine, || {
        let mut expected = vec![0u8; SECTORS * 512];
        for (offset, length) in [(0, 512), (1000, 3), (511, 2), (700, 70_000), (131_000, 72)] {
            let bytes: Vec<u8> = (0..length)
                .map(|index| (index + offset) as u8 | 1)
                .collect();
            expected[offset..offset + length].copy_from_slice(&bytes);
            let mut io = Io {
                offset: offset as u64,
                ..Io::default()
            };
            assert_eq!(
                file.write(&mut io, &mut SliceSource::new(&bytes)),
                Ok(length)
            );
        }
        let mut all = vec![0; SECTORS * 512 + 10];
        let read = file.read(&mut Io::default(), &mut SliceSink::new(&mut all));
        assert_eq!(read, Ok(SECTORS * 512), "ends with the disk");
        assert_eq!(all[..SECTORS * 512], expected);
        let mut io = Io {
            offset: 777,
            ..Io::default()
        };
        let mut part = [0; 1001];
        assert_eq!(file.read(&mut io, &mut SliceSink::new(&mut part)), Ok(1001));
        assert_eq!(part, expected[777..1778]);
        assert_eq!(file.sync(false), Ok(()));
        assert_eq!(file.end(), SECTORS as u64 * 512);
    });
    assert_eq!(machine.seen().last(), Some(&Seen::Flush));
}

#[test]
fn a_file_ends_and_fails_as_its_disk() {
    let machine = machine(ALL, &[16]);
    let file = file(&machine);
    with_disk_running(&machine, || {
        let end = SECTORS as u64 * 512;
        let mut io = Io {
            offset: end,
            ..Io::default()
        };
        assert_eq!(file.read(&mut io, &mut SliceSink::new(&mut [0; 8])), Ok(0));
        assert_eq!(
            file.write(&mut io, &mut SliceSource::new(&[0; 8])),
            Err(Errno::ENOSPC)
        );
        let mut io = Io {
            offset: end - 4,
            ..Io::default()
        };
        assert_eq!(file.write(&mut io, &mut SliceSource::new(&[1; 8])), Ok(4));
        machine
            .model
            .with(|state| state.backend.next_status = vec![1]);
        let read = file.read(&mut Io::default(), &mut SliceSink::new(&mut [0; 8]));
        assert_eq!(read, Err(Errno::EIO));
    });
}

#[test]
fn a_read_only_disk_is_not_opened_for_writing() {
    let machine = machine(RO, &[16]);
    let node = BlockNode(Arc::new(file(&machine)));
    assert_eq!(node.open(OpenFlags::RDWR, None).err(), Some(Errno::EROFS));
    assert!(node.open(OpenFlags::empty(), None).is_ok());
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        sector: u64,
        sectors: u32,
        value: u8,
    },
    Read {
        sector: u64,
        sectors: u32,
    },
    Discard {
        sector: u64,
        sectors: u32,
    },
    Run,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0u64..SECTORS as u64 - 24, 1u32..24);
    let step = prop_oneof![
        3 => (place.clone(), any::<u8>())
            .prop_map(|((sector, sectors), value)| Step::Write { sector, sectors, value }),
        3 => place.clone().prop_map(|(sector, sectors)| Step::Read { sector, sectors }),
        1 => place.prop_map(|(sector, sectors)| Step::Discard { sector, sectors }),
        2 => Just(Step::Run),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sequence of requests leaves and returns what a plain array would:
    /// the model disk does them in order, so the order of submission counts.
    #[test]
    fn agrees_with_an_array(
        steps in steps(),
        features in 0u64..4,
        size in 1u32..5,
    ) {
        let machine = machine(ALL, &[1 << size]);
        let off = [0, feature::RING_INDIRECT, feature::RING_EVENT_INDEX,
            feature::RING_INDIRECT | feature::RING_EVENT_INDEX][features as usize];
        // Without indirect descriptors, one request needs at least three.
        let off = if size < 2 { off & !feature::RING_INDIRECT } else { off };
        machine.model.with(|state| state.offered &= !off);
        let disk = machine.open().unwrap();
        let mut array = vec![0u8; SECTORS * 512];
        let mut reads: Vec<(Arc<dyn Buffer>, Vec<u8>)> = Vec::new();
        let mut count = 0;
        for step in steps {
            match step {
                Step::Write { sector, sectors, value } => {
                    let request = machine.request(
                        Operation::Write, sector * 512, &vec![512; sectors as usize], count);
                    let bytes: Vec<u8> =
                        (0..sectors * 512).map(|index| (index / 512) as u8 ^ value).collect();
                    machine.fill(&request, &bytes);
                    let start = sector as usize * 512;
                    array[start..start + bytes.len()].copy_from_slice(&bytes);
                    disk.submit(request);
                    count += 1;
                }
                Step::Read { sector, sectors } => {
                    let request =
                        machine.request(Operation::Read, sector * 512, &[sectors * 512], count);
                    let start = sector as usize * 512;
                    let expected = array[start..start + sectors as usize * 512].to_vec();
                    reads.push((request.data.as_ref().unwrap().buffer.clone(), expected));
                    disk.submit(request);
                    count += 1;
                }
                Step::Discard { sector, sectors } => {
                    let mut request = machine.request(Operation::Discard, sector * 512, &[], count);
                    request.length = u64::from(sectors) * 512;
                    let start = sector as usize * 512;
                    array[start..start + sectors as usize * 512].fill(0);
                    disk.submit(request);
                    count += 1;
                }
                Step::Run => { machine.model.run(); }
            }
        }
        machine.model.run();
        let mut results = machine.results.take();
        results.sort_by_key(|(token, _)| *token);
        let expected: Vec<_> = (0..count).map(|token| (token, Ok(()))).collect();
        prop_assert_eq!(results, expected);
        for (buffer, expected) in reads {
            prop_assert_eq!(machine.contents(&*buffer), expected);
        }
let bytes = machine.model.with(|state| state.backend.bytes.clone());
        prop_assert_eq!(bytes, array);
    }
}
