use crate::layout::{BAR_LEN, COMMON, DEVICE, DOORBELLS, ISR, MSIX_TABLE};
use crate::{Attachment, VirtioPci};
use pci::MsiMessage;
use proptest::prelude::*;
use virtio_device::device::read_config_bytes;
use virtio_device::test_ring::{BUFFERS, MEMORY_LEN, TestRing};
use virtio_device::{GuestMemory, QueueFault, Served, VirtQueue, VirtioDevice};

/// A device that gives every buffer back, full.
#[derive(Default)]
struct Echo {
    activations: usize,
}

impl VirtioDevice for Echo {
    fn device_type(&self) -> u16 {
        2
    }
    fn features(&self) -> u64 {
        1 << 5
    }
    fn queue_sizes(&self) -> &[u16] {
        &[16, 16]
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(b"config", offset, data);
    }
    fn activate(&mut self, _: u64) {
        self.activations += 1;
    }
    fn process(
        &mut self,
        _: usize,
        queue: &mut VirtQueue,
        memory: &GuestMemory,
    ) -> Result<Served, QueueFault> {
        queue.serve_all(memory, |chain| chain.writable.len() as u32)
    }
}

#[derive(Default)]
struct Wires {
    sent: Vec<u16>,
    rung: Vec<usize>,
    messages: Vec<(u16, MsiMessage)>,
    pin: bool,
    doorbells: Option<u64>,
}

impl Attachment for Wires {
    fn set_message(&mut self, vector: u16, message: MsiMessage) {
        self.messages.push((vector, message));
    }
    fn send(&mut self, vector: u16) {
        self.sent.push(vector);
    }
    fn ring(&mut self, queue: usize) {
        self.rung.push(queue);
    }
    fn set_pin(&mut self, level: bool) {
        self.pin = level;
    }
    fn set_doorbells(&mut self, address: Option<u64>) {
        self.doorbells = address;
    }
}

type Function = VirtioPci<Echo, Wires>;

fn function(ring: &TestRing) -> Function {
    VirtioPci::new(
        Echo::default(),
        Wires::default(),
        ring.memory.clone(),
        0xC000_0000,
        17,
    )
}

fn read(function: &mut Function, offset: u64, len: usize) -> u64 {
    let mut data = [0; 8];
    function.bar_read(offset, &mut data[..len]);
    u64::from_le_bytes(data)
}

fn write(function: &mut Function, offset: u64, value: u64, len: usize) {
    function.bar_write(offset, &value.to_le_bytes()[..len]);
}

fn status(function: &mut Function) -> u64 {
    read(function, COMMON + 0x14, 1)
}

/// What a driver does up to DRIVER_OK, with queue 0 on the test ring.
fn start(function: &mut Function, ring: &TestRing) {
    use virtio_queue::QueueT;
    write(function, COMMON + 0x14, 0, 1);
    write(function, COMMON + 0x14, 3, 1);
    write(function, COMMON + 0x08, 1, 4);
    write(function, COMMON + 0x0C, 1, 4);
    write(function, COMMON + 0x14, 11, 1);
    assert_eq!(status(function), 11);
    write(function, COMMON + 0x16, 0, 2);
    write(function, COMMON + 0x18, TestRing::SIZE.into(), 2);
    write(function, COMMON + 0x1A, 1, 2);
    write(function, COMMON + 0x20, ring.queue.ring().desc_table(), 8);
    write(function, COMMON + 0x28, ring.queue.ring().avail_ring(), 4);
    write(function, COMMON + 0x30, ring.queue.ring().used_ring(), 4);
    write(function, COMMON + 0x1C, 1, 2);
    write(function, COMMON + 0x14, 15, 1);
}

fn enable_msix(function: &mut Function, control: u16) {
    let at = function_msix_control(function);
    function.config_write(at, &control.to_le_bytes());
}

/// Walks the capability list to MSI-X, as a driver does.
fn function_msix_control(function: &mut Function) -> usize {
    let mut at = 0x34;
    loop {
        let mut link = [0];
        function.config_read(at, &mut link);
        assert_ne!(link[0], 0, "no MSI-X capability");
        let mut id = [0];
        function.config_read(link[0].into(), &mut id);
        if id[0] == 0x11 {
            return usize::from(link[0]) + 2;
        }
        at = usize::from(link[0]) + 1;
    }
}

#[test]
fn features_are_offered_and_checked() {
    let ring = TestRing::new();
    let mut function = function(&ring);
    assert_eq!(
        read(&mut function, COMMON + 4, 4),
        1 << 5 | 1 << 28 | 1 << 29
    );
    write(&mut function, COMMON, 1, 4);
    assert_eq!(read(&mut function, COMMON + 4, 4), 1);
    // Without VERSION_1 the device refuses.
    write(&mut function, COMMON + 0x14, 11, 1);
    assert_eq!(status(&mut function), 3);
    // So it does with a feature that was not offered.
    write(&mut function, COMMON + 0x08, 1, 4);
    write(&mut function, COMMON + 0x0C, 3, 4);
    write(&mut function, COMMON + 0x14, 11, 1);
    assert_eq!(status(&mut function), 3);
}

#[test]
fn a_doorbell_serves_the_queue_and_the_pin_follows_the_status() {
    let mut ring = TestRing::new();
    let mut function = function(&ring);
    start(&mut function, &ring);
    assert_eq!(function.device().activations, 1);
    ring.add(&[(BUFFERS, 8, true)]);
    write(&mut function, DOORBELLS, 0, 2);
    assert_eq!(ring.used(), [(0, 8)]);
    assert!(function_wires(&function).pin);
    let mut interrupt_status = [0; 2];
    function.config_read(6, &mut interrupt_status);
    assert_eq!(interrupt_status[0] & 8, 8);
    assert_eq!(read(&mut function, ISR, 1), 1);
    assert_eq!(read(&mut function, ISR, 1), 0);
    assert!(!function_wires(&function).pin);
}

fn function_wires(function: &Function) -> &Wires {
    function.attachment_for_tests()
}

#[test]
fn a_masked_vector_is_held_back_until_unmasked() {
    let mut ring = TestRing::new();
    let mut function = function(&ring);
    start(&mut function, &ring);
    enable_msix(&mut function, 0x8000);
    write(&mut function, MSIX_TABLE + 16, 0xFEE0_0000, 8);
    write(&mut function, MSIX_TABLE + 24, 0x41, 4);
    ring.add(&[(BUFFERS, 8, true)]);
    write(&mut function, DOORBELLS, 0, 2);
    assert!(function_wires(&function).sent.is_empty());
    write(&mut function, MSIX_TABLE + 28, 0, 4);
    let wires = function_wires(&function);
    assert_eq!(wires.sent, [1]);
    assert_eq!(
        wires.messages,
        [(
            1,
            MsiMessage {
                address: 0xFEE0_0000,
                data: 0x41
            }
        )]
    );
    assert!(!wires.pin);
}

#[test]
fn a_broken_ring_asks_for_a_reset_and_works_after_it() {
    let mut ring = TestRing::new();
    let mut function = function(&ring);
    start(&mut function, &ring);
    ring.set_available(100);
    write(&mut function, DOORBELLS, 0, 2);
    assert_eq!(status(&mut function), 15 | 64);
    assert_eq!(read(&mut function, ISR, 1), 2);
    write(&mut function, COMMON + 0x14, 0, 1);
    assert_eq!(status(&mut function), 0);
    let mut ring = TestRing::new();
    function = self::function(&ring);
    start(&mut function, &ring);
    ring.add(&[(BUFFERS, 8, true)]);
    write(&mut function, DOORBELLS, 0, 2);
    assert_eq!(ring.used(), [(0, 8)]);
}

#[test]
fn a_ring_outside_of_memory_is_not_used() {
    let ring = TestRing::new();
    let mut function = function(&ring);
    write(&mut function, COMMON + 0x08, 1, 4);
    write(&mut function, COMMON + 0x0C, 1, 4);
    write(&mut function, COMMON + 0x14, 11, 1);
    write(&mut function, COMMON + 0x20, MEMORY_LEN as u64, 8);
    write(&mut function, COMMON + 0x1C, 1, 2);
    write(&mut function, COMMON + 0x14, 15, 1);
    assert_eq!(status(&mut function), 15 | 64);
    assert_eq!(function.device().activations, 0);
}

#[test]
fn a_full_ring_rings_again() {
    let mut ring = TestRing::new();
    let mut function = function(&ring);
    start(&mut function, &ring);
    for _ in 0..TestRing::SIZE {
        ring.add(&[(BUFFERS, 8, true)]);
    }
    write(&mut function, DOORBELLS, 0, 2);
    assert_eq!(function_wires(&function).rung, [0]);
}

#[test]
fn doorbells_follow_the_bar() {
    let ring = TestRing::new();
    let mut function = function(&ring);
    assert!(function.config_write(4, &[2, 0]));
    assert_eq!(
        function_wires(&function).doorbells,
        Some(0xC000_0000 + DOORBELLS)
    );
    function.config_write(0x10, &0xD000_0000u32.to_le_bytes());
    assert_eq!(
        function_wires(&function).doorbells,
        Some(0xD000_0000 + DOORBELLS)
    );
    function.config_write(4, &[0, 0]);
    assert_eq!(function_wires(&function).doorbells, None);
    assert!(function.bars().is_empty());
}

#[test]
fn the_window_in_configuration_space_reaches_the_bar() {
    let ring = TestRing::new();
    let mut function = function(&ring);
    let mut at = 0x34;
    let window = loop {
        let mut link = [0];
        function.config_read(at, &mut link);
        let mut cap = [0; 4];
        function.config_read(link[0].into(), &mut cap);
        if (cap[0], cap[3]) == (9, 5) {
            break usize::from(link[0]);
        }
        at = usize::from(link[0]) + 1;
    };
    function.config_write(window + 8, &(DEVICE as u32 + 1).to_le_bytes());
    function.config_write(window + 12, &2u32.to_le_bytes());
    let mut data = [0; 2];
    function.config_read(window + 16, &mut data);
    assert_eq!(&data, b"on");
    function.config_write(window + 8, &(COMMON as u32 + 0x14).to_le_bytes());
    function.config_write(window + 12, &1u32.to_le_bytes());
    function.config_write(window + 16, &[3]);
    assert_eq!(status(&mut function), 3);
}

#[derive(Clone, Debug)]
enum Access {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    ConfigRead(usize, usize),
    ConfigWrite(usize, Vec<u8>),
    Notify(usize),
}

fn access() -> impl Strategy<Value = Access> {
    let offset = prop_oneof![4 => 0u64..0x40, 1 => 0x3000u64..0x3010, 1 => 0x4000u64..0x4040,
        1 => 0u64..u64::from(BAR_LEN)];
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        (0u8..16).prop_map(|byte| vec![byte]),
        (0u16..20).prop_map(|word| word.to_le_bytes().to_vec()),
        (0u32..0x5000).prop_map(|word| word.to_le_bytes().to_vec()),
    ];
    prop_oneof![
        1 => (offset.clone(), 0usize..9).prop_map(|(o, l)| Access::Read(o, l)),
        4 => (offset, data.clone()).prop_map(|(o, d)| Access::Write(o, d)),
        1 => (0usize..300, 0usize..9).prop_map(|(o, l)| Access::ConfigRead(o, l)),
        1 => (0usize..300, data).prop_map(|(o, d)| Access::ConfigWrite(o, d)),
        1 => (0usize..4).prop_map(Access::Notify),
    ]
}

proptest! {
    #[test]
    fn no_driver_panics_the_function(
        is_started in any::<bool>(),
        noise in prop::collection::vec(any::<u8>(), 0..512),
        accesses in prop::collection::vec(access(), 0..80),
    ) {
        use vm_memory::{Bytes, GuestAddress};
        let ring = TestRing::new();
        let mut function = function(&ring);
        if is_started {
            start(&mut function, &ring);
        }
        for at in [0x1000, 0x2000, 0x3000] {
            ring.memory.write_slice(&noise, GuestAddress(at)).unwrap();
        }
        for access in accesses {
            match access {
                Access::Read(offset, len) => function.bar_read(offset, &mut vec![0; len]),
                Access::Write(offset, data) => function.bar_write(offset, &data),
                Access::ConfigRead(offset, len) => function.config_read(offset, &mut vec![0; len]),
                Access::ConfigWrite(offset, data) => {
                    function.config_write(offset, &data);
                }
                Access::Notify(queue) => function.notify(queue),
            }
        }
    }
}
