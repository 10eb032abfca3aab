//! [`VirtioDevice`]: a virtio PCI function whose behaviour a test supplies.
//!
//! A notification only marks its queue: the device works when the test calls
//! [`VirtioDevice::run`], and then interrupts the driver, as hardware would,
//! outside of the driver's own calls.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use virtqueue::QueueFeatures;
use virtqueue::simulation::{DeviceSide, Request, SharedMemory};

use super::{Model, PlainRegisters, SimulatedBus, SimulatedFunction, SimulatedPlatform, lock};
use crate::MsiMessage;
use crate::pci::Capability;
use crate::virtio::{feature, queue_features};

/// Where the windows are in BAR 0.
const DEVICE_START: usize = 0x1000;
const NOTIFY_START: usize = 0x2000;
const NOTIFY_MULTIPLIER: u32 = 4;
const BAR_LENGTH: usize = 0x4000;

/// What a device does with a request.
pub trait Backend: Send {
    /// Does the request and returns how many bytes it wrote.
    fn serve(&mut self, queue: u16, request: &Request, memory: &SharedMemory) -> u32;
}

struct QueueState {
    max: u16,
    size: u16,
    vector: u16,
    addresses: [u64; 3],
    side: Option<DeviceSide<SharedMemory>>,
    is_notified: bool,
}

/// The function's registers and what is behind them.
pub struct State<B> {
    /// What the test supplied.
    pub backend: B,
    /// Features it offers.
    pub offered: u64,
    /// The device's own configuration.
    pub config: Vec<u8>,
    /// Whether it accepts what the driver chose.
    pub accepts_features: bool,
    /// Whether it comes out of reset.
    pub can_reset: bool,
    /// How often it was reset.
    pub resets: u32,
    /// How often the driver told it of requests.
    pub notifications: u32,
    chosen: u64,
    selects: [u32; 2],
    config_vector: u16,
    status: u8,
    selected_queue: u16,
    queues: Vec<QueueState>,
    memory: SharedMemory,
}

impl<B> State<B> {
    /// The features that the driver chose.
    pub fn chosen(&self) -> u64 {
        self.chosen
    }

    /// The device's side of a queue that the driver set up.
    pub fn side(&mut self, queue: u16) -> &mut DeviceSide<SharedMemory> {
        self.queues[usize::from(queue)]
            .side
            .as_mut()
            .expect("the driver set the queue up")
    }

    fn queue_features(&self) -> QueueFeatures {
        queue_features(self.chosen)
    }

    fn set_status(&mut self, status: u8) {
        if status == 0 {
            self.resets += 1;
            if self.can_reset {
                self.status = 0;
                self.chosen = 0;
                for queue in &mut self.queues {
                    (queue.size, queue.vector, queue.side) = (queue.max, 0xffff, None);
                    queue.is_notified = false;
                }
            }
            return;
        }
        let refused = if self.accepts_features { 0 } else { 8 };
        self.status = status & !refused;
    }

    fn enable_queue(&mut self) {
        assert_eq!(self.status & 8, 8, "queues are set up after features");
        assert_eq!(
            self.status & 4,
            0,
            "queues are set up before the device starts"
        );
        let (features, memory) = (self.queue_features(), self.memory.clone());
        let queue = &mut self.queues[usize::from(self.selected_queue)];
        assert!(queue.size.is_power_of_two() && queue.size <= queue.max);
        queue.side = Some(DeviceSide::new(
            memory,
            queue.size,
            queue.addresses,
            features,
        ));
    }

    fn read_common(&mut self, offset: usize) -> u32 {
        let queue = self.queues.get(usize::from(self.selected_queue));
        match offset {
            0x04 => (self.offered >> (32 * self.selects[0])) as u32,
            0x10 => self.config_vector.into(),
            0x12 => self.queues.len() as u32,
            0x14 => self.status.into(),
            0x15 => 0,
            0x18 => queue.map_or(0, |queue| queue.size.into()),
            0x1a => queue.map_or(0xffff, |queue| queue.vector.into()),
            0x1e => self.selected_queue.into(),
            _ => panic!("read of common register {offset:#x}"),
        }
    }

    fn write_common(&mut self, offset: usize, value: u32) {
        let selected = usize::from(self.selected_queue);
        match offset {
            0x00 => self.selects[0] = value,
            0x08 => self.selects[1] = value,
            0x0c => self.chosen |= u64::from(value) << (32 * self.selects[1]),
            0x10 => self.config_vector = value as u16,
            0x14 => self.set_status(value as u8),
            0x16 => self.selected_queue = value as u16,
            0x18 => self.queues[selected].size = value as u16,
            0x1a => self.queues[selected].vector = value as u16,
            0x1c => self.enable_queue(),
            0x20..0x38 => {
                let part = &mut self.queues[selected].addresses[(offset - 0x20) / 8];
                let shift = 8 * (offset & 4);
                *part = *part & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            _ => panic!("write of common register {offset:#x}"),
        }
    }
}

impl<B: Backend> Model for State<B> {
    fn read(&mut self, offset: usize, width: usize) -> u32 {
        match offset {
            0..DEVICE_START => self.read_common(offset),
            _ => {
                let start = offset - DEVICE_START;
                let bytes = &self.config[start..start + width];
                bytes
                    .iter()
                    .rev()
                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
            }
        }
    }

    fn write(&mut self, offset: usize, _width: usize, value: u32) {
        match offset.checked_sub(NOTIFY_START) {
            None => self.write_common(offset, value),
            Some(place) => {
                assert_eq!(place, value as usize * NOTIFY_MULTIPLIER as usize);
                assert_eq!(self.status & 4, 4, "the device was not started");
                self.notifications += 1;
                self.queues[value as usize].is_notified = true;
            }
        }
    }
}

/// A virtio function in a simulated machine.
pub struct VirtioDevice<B> {
    state: Arc<Mutex<State<B>>>,
    platform: SimulatedPlatform,
    table: PlainRegisters,
}

/// What a device is made of.
pub struct VirtioParts<'a, B> {
    /// Device type.
    pub kind: u16,
    /// Features besides those every device has.
    pub features: u64,
    /// The greatest size of each queue.
    pub queues: &'a [u16],
    /// The device's own configuration.
    pub config: &'a [u8],
    /// What it does.
    pub backend: B,
}

impl<B: Backend + 'static> VirtioDevice<B> {
    /// Puts a device on `bus` at `address`, such as `00:02.0`. `base` is the
    /// physical address of its registers, a multiple of 64 KiB.
    pub fn install(
        platform: &SimulatedPlatform,
        bus: &mut SimulatedBus,
        (address, base): (&str, u64),
        parts: VirtioParts<'_, B>,
    ) -> Self {
        let queue = |max: &u16| QueueState {
            max: *max,
            size: *max,
            vector: 0xffff,
            addresses: [0; 3],
            side: None,
            is_notified: false,
        };
        let state = State {
            backend: parts.backend,
            offered: parts.features | feature::COMMON & !feature::ACCESS_PLATFORM,
            config: parts.config.to_vec(),
            accepts_features: true,
            can_reset: true,
            resets: 0,
            notifications: 0,
            chosen: 0,
            selects: [0; 2],
            config_vector: 0xffff,
            status: 0,
            selected_queue: 0,
            queues: parts.queues.iter().map(queue).collect(),
            memory: platform.memory(),
        };
        let state = Arc::new(Mutex::new(state));
        platform.add_model(base, BAR_LENGTH, state.clone());
        let table = platform.add_plain_registers(base + 0x8000, 0x1000);
        let vectors = parts.queues.len() as u16 + 1;
        bus.add(
            address,
            describe(parts.kind, base as u32, vectors, parts.config.len() as u32),
        );
        Self {
            state,
            platform: platform.clone(),
            table,
        }
    }

    /// Looks at or changes the device.
    pub fn with<T>(&self, change: impl FnOnce(&mut State<B>) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// Takes all requests of a queue without doing them.
    pub fn take(&self, queue: u16) -> Vec<Request> {
        self.with(|state| {
            state.queues[usize::from(queue)].is_notified = false;
            let side = state.side(queue);
            let taken = core::iter::from_fn(|| side.take()).collect();
            side.set_asleep(true);
            taken
        })
    }

    /// Does one request that was taken, completes it and interrupts the driver
    /// if it wants that. Returns the CPU that was interrupted.
    pub fn finish(&self, queue: u16, request: &Request) -> Option<usize> {
        let wanted = self.with(|state| {
            let memory = state.memory.clone();
            let written = state.backend.serve(queue, request, &memory);
            state.side(queue).complete(request.id, written)
        });
        wanted.then(|| self.interrupt(queue))?
    }

    /// Does what the driver told it of, until there is nothing more. Returns
    /// the number of requests done.
    pub fn run(&self) -> usize {
        let mut done = 0;
        while let Some(queue) = self.next_notified() {
            for request in self.take(queue) {
                self.finish(queue, &request);
                done += 1;
            }
        }
        done
    }

    fn next_notified(&self) -> Option<u16> {
        let position = |state: &mut State<B>| state.queues.iter().position(|q| q.is_notified);
        self.with(position).map(|index| index as u16)
    }

    /// Sends the interrupt of a queue, if its entry is not masked.
    pub fn interrupt(&self, queue: u16) -> Option<usize> {
        self.send(self.with(|state| state.queues[usize::from(queue)].vector))
    }

    /// Sends the interrupt for a change of the configuration.
    pub fn config_interrupt(&self) -> Option<usize> {
        self.send(self.with(|state| state.config_vector))
    }

    fn send(&self, vector: u16) -> Option<usize> {
        let entry = 16 * usize::from(vector);
        if vector == 0xffff || self.table.word(entry + 12) & 1 == 1 {
            return None;
        }
        let address =
            u64::from(self.table.word(entry)) | u64::from(self.table.word(entry + 4)) << 32;
        let message = MsiMessage {
            address,
            data: self.table.word(entry + 8),
        };
        Some(self.platform.deliver(message))
    }
}

/// The function's configuration space: two BARs, the windows, MSI-X.
fn describe(kind: u16, base: u32, vectors: u16, config_length: u32) -> SimulatedFunction {
    let mut function =
        SimulatedFunction::new(crate::virtio::VENDOR, crate::virtio::FIRST_DEVICE + kind);
    function.set_bar(0, base, 0xffff_c000);
    function.set_bar(1, base + 0x8000, 0xffff_f000);
    // Not every device has a configuration of its own.
    let mut window = |at: usize, kind: u8, start: usize, length: u32, extra: &[u8]| {
        let mut body = std::vec![16 + extra.len() as u8, kind, 0, 0, 0, 0];
        body.extend((start as u32).to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(extra);
        function.add_capability(at, Capability::VENDOR, &body);
    };
    window(0x40, 1, 0, 0x38, &[]);
    if config_length > 0 {
        window(0x50, 4, DEVICE_START, config_length, &[]);
    }
    window(
        0x60,
        2,
        NOTIFY_START,
        0x1000,
        &NOTIFY_MULTIPLIER.to_le_bytes(),
    );
    let mut body = [0; 10];
    body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
    body[2] = 1;
    function.add_capability(0x80, Capability::MSIX, &body);
    function
}
