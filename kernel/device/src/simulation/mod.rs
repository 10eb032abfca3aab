//! A PCI bus, registers and memory in software, for tests of drivers.
//!
//! [`SimulatedBus`] has functions that are plain bytes with the rules of BARs;
//! [`SimulatedPlatform`] maps windows to device models and gives out memory.

mod virtio;

pub use virtio::{Backend, State, VirtioDevice, VirtioParts};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use virtqueue::simulation::SharedMemory;

use crate::pci::{Command, ConfigSpace, FunctionAddress};
use crate::{InterruptHandler, MsiMessage, Platform, Registers};

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("invariant: no test panics while it holds this lock")
}

/// A function's 256 bytes of configuration space.
#[derive(Clone)]
pub struct SimulatedFunction {
    bytes: [u8; 256],
    /// Which bits of each BAR can be written.
    masks: [u32; 6],
    last_capability: Option<usize>,
}

impl SimulatedFunction {
    /// A device without BARs.
    pub fn new(vendor: u16, device: u16) -> Self {
        let mut function = Self {
            bytes: [0; 256],
            masks: [0; 6],
            last_capability: None,
        };
        function.write(0, &vendor.to_le_bytes());
        function.write(2, &device.to_le_bytes());
        function
    }

    /// A bridge to a bus.
    pub fn bridge(secondary_bus: u8) -> Self {
        let mut function = Self::new(0x1b36, 1);
        function.write(0x0e, &[1]);
        function.write(0x19, &[secondary_bus]);
        function
    }

    /// Announces further functions.
    #[must_use]
    pub fn multi_function(mut self) -> Self {
        self.bytes[0x0e] |= 0x80;
        self
    }

    /// Changes bytes.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Gives a BAR its value and what it reads after all ones were written.
    pub fn set_bar(&mut self, index: usize, value: u32, probed: u32) {
        self.write(0x10 + 4 * index, &value.to_le_bytes());
        self.masks[index] = probed;
    }

    /// Sets the command register.
    pub fn set_command(&mut self, command: Command) {
        self.write(4, &command.bits().to_le_bytes());
    }

    /// Adds a capability: id, link, then `body`.
    pub fn add_capability(&mut self, offset: usize, id: u8, body: &[u8]) {
        let link = self.last_capability.map_or(0x34, |last| last + 1);
        self.bytes[link] = offset as u8;
        self.bytes[6] |= 0x10;
        self.write(offset, &[id, 0]);
        self.write(offset + 2, body);
        self.last_capability = Some(offset);
    }

    /// All bytes.
    pub fn config(&self) -> &[u8] {
        &self.bytes
    }

    fn read_word(&self, offset: usize) -> u32 {
        let bytes = self
            .bytes
            .get(offset..offset + 4)
            .and_then(|bytes| bytes.first_chunk());
        bytes.map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes))
    }

    fn write_word(&mut self, offset: usize, value: u32) {
        let bar = (0x10..0x28).contains(&offset).then(|| (offset - 0x10) / 4);
        let value = match bar {
            Some(index) => {
                let fixed = self.masks[index] & if self.masks[index] & 1 == 1 { 3 } else { 0xf };
                let is_upper = index > 0 && self.masks[index - 1] & 7 == 4;
                if is_upper {
                    value & self.masks[index]
                } else {
                    value & self.masks[index] & !0xf | fixed
                }
            }
            None => value,
        };
        self.write(offset, &value.to_le_bytes());
    }
}

/// Functions by address.
#[derive(Default)]
pub struct SimulatedBus {
    functions: Mutex<BTreeMap<FunctionAddress, SimulatedFunction>>,
    sized: Mutex<Vec<FunctionAddress>>,
}

/// `bus:device.function` in hexadecimal, in segment 0.
fn parse(text: &str) -> FunctionAddress {
    let mut parts = text
        .split([':', '.'])
        .map(|part| u8::from_str_radix(part, 16));
    let mut next = || parts.next().expect("three numbers").expect("hexadecimal");
    FunctionAddress {
        segment: 0,
        bus: next(),
        device: next(),
        function: next(),
    }
}

impl SimulatedBus {
    /// A machine without functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `function` at an address such as `00:1f.2`.
    pub fn add(&mut self, address: &str, function: SimulatedFunction) {
        lock(&self.functions).insert(parse(address), function);
    }

    /// The bytes of a function.
    pub fn config(&self, address: &str) -> Vec<u8> {
        lock(&self.functions)[&parse(address)].config().to_vec()
    }

    /// Functions whose BARs were probed while they decoded them.
    pub fn sized_while_decoding(&self) -> Vec<FunctionAddress> {
        lock(&self.sized).clone()
    }

    fn change(&self, at: FunctionAddress, change: impl FnOnce(&mut SimulatedFunction)) {
        if let Some(function) = lock(&self.functions).get_mut(&at) {
            change(function);
        }
    }
}

impl ConfigSpace for SimulatedBus {
    fn read_u32(&self, function: FunctionAddress, offset: u16) -> u32 {
        assert_eq!(offset % 4, 0);
        let functions = lock(&self.functions);
        functions
            .get(&function)
            .map_or(u32::MAX, |found| found.read_word(offset.into()))
    }

    fn write_u32(&self, function: FunctionAddress, offset: u16, value: u32) {
        assert_eq!(offset % 4, 0);
        self.change(function, |found| {
            let decodes = found.bytes[4] & 3 != 0;
            if decodes && value == u32::MAX && (0x10..0x28).contains(&offset) {
                lock(&self.sized).push(function);
            }
            found.write_word(offset.into(), value);
        });
    }

    fn write_u16(&self, function: FunctionAddress, offset: u16, value: u16) {
        assert_eq!(offset % 2, 0);
        self.change(function, |found| {
            found.write(offset.into(), &value.to_le_bytes())
        });
    }
}

/// A device behind a window of registers.
pub trait Model: Send {
    /// Reads `width` bytes at `offset`.
    fn read(&mut self, offset: usize, width: usize) -> u32;
    /// Writes `width` bytes at `offset`.
    fn write(&mut self, offset: usize, width: usize, value: u32);
}

/// Registers that only remember.
#[derive(Clone)]
pub struct PlainRegisters(Arc<Mutex<Vec<u8>>>);

impl PlainRegisters {
    /// The word at `offset`.
    pub fn word(&self, offset: usize) -> u32 {
        self.clone().read(offset, 4)
    }
}

impl Model for PlainRegisters {
    fn read(&mut self, offset: usize, width: usize) -> u32 {
        lock(&self.0)[offset..offset + width]
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    }

    fn write(&mut self, offset: usize, width: usize, value: u32) {
        lock(&self.0)[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

type SharedModel = Arc<Mutex<dyn Model>>;

/// A mapped part of a model's registers.
#[derive(Clone)]
pub struct Window {
    model: SharedModel,
    start: usize,
    length: usize,
}

impl Window {
    fn read(&self, offset: usize, width: usize) -> u32 {
        assert!(
            offset.is_multiple_of(width) && offset + width <= self.length,
            "{offset:#x}"
        );
        lock(&self.model).read(self.start + offset, width)
    }

    fn write(&self, offset: usize, width: usize, value: u32) {
        assert!(
            offset.is_multiple_of(width) && offset + width <= self.length,
            "{offset:#x}"
        );
        lock(&self.model).write(self.start + offset, width, value);
    }
}

impl Registers for Window {
    fn read_u8(&self, offset: usize) -> u8 {
        self.read(offset, 1) as u8
    }
    fn read_u16(&self, offset: usize) -> u16 {
        self.read(offset, 2) as u16
    }
    fn read_u32(&self, offset: usize) -> u32 {
        self.read(offset, 4)
    }
    fn write_u8(&self, offset: usize, value: u8) {
        self.write(offset, 1, value.into());
    }
    fn write_u16(&self, offset: usize, value: u16) {
        self.write(offset, 2, value.into());
    }
    fn write_u32(&self, offset: usize, value: u32) {
        self.write(offset, 4, value);
    }
}

struct Interrupt {
    handler: Arc<dyn InterruptHandler>,
    argument: usize,
    cpu: usize,
}

#[derive(Default)]
struct Machine {
    windows: Vec<(u64, usize, SharedModel)>,
    interrupts: Vec<Interrupt>,
    cpu: usize,
    cpu_count: usize,
    dma_left: usize,
    interrupts_left: usize,
}

/// Memory, registers and interrupts of a machine; clones share them.
#[derive(Clone)]
pub struct SimulatedPlatform {
    machine: Arc<Mutex<Machine>>,
    memory: SharedMemory,
    next: Arc<Mutex<usize>>,
}

/// All memory of the machine is here.
const MEMORY: u64 = 0x10_0000;
const MEMORY_LENGTH: usize = 4 << 20;
/// Interrupt messages are written here, plus 4096 for each CPU.
pub const MESSAGES: u64 = 0xfee0_0000;

impl Default for SimulatedPlatform {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedPlatform {
    /// A machine of one CPU with 4 MiB of memory.
    pub fn new() -> Self {
        let machine = Machine {
            cpu_count: 1,
            dma_left: usize::MAX,
            interrupts_left: usize::MAX,
            ..Machine::default()
        };
        let memory = SharedMemory::new(MEMORY, MEMORY_LENGTH);
        Self {
            machine: Arc::new(Mutex::new(machine)),
            memory,
            next: Arc::default(),
        }
    }

    /// All memory, by physical addresses: what a device reaches.
    pub fn memory(&self) -> SharedMemory {
        self.memory.clone()
    }

    /// Puts a model behind `length` bytes at `address`.
    pub fn add_model(&self, address: u64, length: usize, model: SharedModel) {
        lock(&self.machine).windows.push((address, length, model));
    }

    /// Puts registers that only remember at `address`.
    pub fn add_plain_registers(&self, address: u64, length: usize) -> PlainRegisters {
        let registers = PlainRegisters(Arc::new(Mutex::new(std::vec![0; length])));
        self.add_model(address, length, Arc::new(Mutex::new(registers.clone())));
        registers
    }

    /// Says how many CPUs there are and on which one drivers run.
    pub fn set_cpu(&self, cpu: usize, cpu_count: usize) {
        let mut machine = lock(&self.machine);
        (machine.cpu, machine.cpu_count) = (cpu, cpu_count);
    }

    /// Lets only so many more allocations succeed.
    pub fn limit(&self, dma: usize, interrupts: usize) {
        let mut machine = lock(&self.machine);
        (machine.dma_left, machine.interrupts_left) = (dma, interrupts);
    }

    /// Does what writing a message does: calls its handler. Gives the CPU.
    pub fn deliver(&self, message: MsiMessage) -> usize {
        let (handler, argument, cpu) = {
            let machine = lock(&self.machine);
            let found = &machine.interrupts[message.data as usize];
            (found.handler.clone(), found.argument, found.cpu)
        };
        assert_eq!(message.address, MESSAGES + 4096 * cpu as u64);
        handler.interrupt(argument);
        cpu
    }

    /// Memory for test data: physical address of `length` bytes.
    pub fn allocate(&self, length: usize) -> u64 {
        let mut next = lock(&self.next);
        let start = *next;
        *next = (start + length).next_multiple_of(4096);
        assert!(
            *next <= MEMORY_LENGTH,
            "the simulated machine's memory is used up"
        );
        MEMORY + start as u64
    }
}

/// A piece of the machine's memory.
#[derive(Clone)]
pub struct DmaPiece {
    memory: SharedMemory,
    start: u64,
    length: usize,
}

impl virtqueue::QueueMemory for DmaPiece {
    fn length(&self) -> usize {
        self.length
    }
    fn device_address(&self, offset: usize) -> u64 {
        assert!(offset <= self.length);
        self.start + offset as u64
    }
    fn read_u16(&self, offset: usize) -> u16 {
        let bytes = self.memory.read(self.device_address(offset), 2);
        u16::from_le_bytes(bytes.try_into().expect("invariant: 2 bytes"))
    }
    fn read_u64(&self, offset: usize) -> u64 {
        let bytes = self.memory.read(self.device_address(offset), 8);
        u64::from_le_bytes(bytes.try_into().expect("invariant: 8 bytes"))
    }
    fn write_u16(&self, offset: usize, value: u16) {
        self.memory
            .write(self.device_address(offset), &value.to_le_bytes());
    }
    fn write_u64(&self, offset: usize, value: u64) {
        self.memory
            .write(self.device_address(offset), &value.to_le_bytes());
    }
}

impl Platform for SimulatedPlatform {
    type Registers = Window;
    type Dma = DmaPiece;

    fn map_registers(&self, address: u64, length: usize) -> Option<Window> {
        let machine = lock(&self.machine);
        machine.windows.iter().find_map(|(base, size, model)| {
            let start = usize::try_from(address.checked_sub(*base)?).ok()?;
            let fits = start + length <= *size;
            fits.then(|| Window {
                model: model.clone(),
                start,
                length,
            })
        })
    }

    fn allocate_dma(&self, length: usize) -> Option<DmaPiece> {
        let mut machine = lock(&self.machine);
        machine.dma_left = machine.dma_left.checked_sub(1)?;
        let start = self.allocate(length);
        Some(DmaPiece {
            memory: self.memory.clone(),
            start,
            length,
        })
    }

    fn allocate_interrupt(
        &self,
        cpu: usize,
        handler: Arc<dyn InterruptHandler>,
        argument: usize,
    ) -> Option<MsiMessage> {
        let mut machine = lock(&self.machine);
        machine.interrupts_left = machine.interrupts_left.checked_sub(1)?;
        assert!(cpu < machine.cpu_count);
        machine.interrupts.push(Interrupt {
            handler,
            argument,
            cpu,
        });
        let data = machine.interrupts.len() as u32 - 1;
        Some(MsiMessage {
            address: MESSAGES + 4096 * cpu as u64,
            data,
        })
    }

    fn cpu(&self) -> usize {
        lock(&self.machine).cpu
    }

    fn cpu_count(&self) -> usize {
        lock(&self.machine).cpu_count
    }
}
