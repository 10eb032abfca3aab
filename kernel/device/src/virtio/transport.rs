//! [`Transport`]: the registers that all virtio PCI functions have.

use virtqueue::{MAX_SIZE, Queue, QueueMemory};

use super::TransportError;
use super::layout::*;
use crate::pci::{Bar, Capability, ConfigSpace, Function, FunctionAddress};
use crate::{Platform, Registers};

/// Reset takes a device's pending I/O; this many reads are seconds.
const RESET_ATTEMPTS: u32 = 4_000_000;
/// A generation that changes this often is not one of a working device.
const STABLE_ATTEMPTS: u32 = 1000;

/// A virtio function's registers.
pub struct Transport<R> {
    function: FunctionAddress,
    common: R,
    notify: R,
    notify_length: usize,
    notify_multiplier: u32,
    device: Option<R>,
    device_length: usize,
}

/// Where a register window is.
struct Window {
    offset: u16,
    bar: u8,
    start: u64,
    length: usize,
}

/// Finds the first window of type `kind` in the vendor capabilities.
fn find_window(config: &impl ConfigSpace, function: &Function, kind: u8) -> Option<Window> {
    let at = function.address;
    let vendor = function
        .capabilities
        .iter()
        .filter(|entry| entry.id == Capability::VENDOR);
    let mut offsets = vendor.map(|entry| entry.offset);
    let offset = offsets.find(|offset| config.read_u8(at, offset + 3) == kind)?;
    Some(Window {
        offset,
        bar: config.read_u8(at, offset + 4),
        start: config.read_u32(at, offset + 8).into(),
        length: config.read_u32(at, offset + 12) as usize,
    })
}

/// Maps a window, if it lies inside a memory BAR and has at least `least` bytes.
fn map<P: Platform>(
    window: &Window,
    function: &Function,
    platform: &P,
    least: usize,
) -> Option<P::Registers> {
    let (base, size) = function
        .bars
        .get(usize::from(window.bar))?
        .as_ref()
        .and_then(Bar::memory)?;
    let is_inside = window.start + window.length as u64 <= size && window.start.is_multiple_of(4);
    let fits = is_inside && window.length >= least;
    fits.then(|| platform.map_registers(base + window.start, window.length))?
}

impl<R: Registers> Transport<R> {
    /// Maps the windows of `function`, resets the device and tells it that
    /// there is a driver. The function must have been enabled.
    ///
    /// # Errors
    /// [`TransportError`] if it is not a working virtio 1.x function.
    pub fn open<P: Platform<Registers = R>>(
        config: &impl ConfigSpace,
        function: &Function,
        platform: &P,
    ) -> Result<Self, TransportError> {
        let at = function.address;
        let open = |kind, least| {
            let missing = TransportError::NoWindow { function: at, kind };
            let window = find_window(config, function, kind).ok_or(missing)?;
            let bad = TransportError::BadWindow { function: at, kind };
            let registers = map(&window, function, platform, least).ok_or(bad)?;
            Ok((registers, window))
        };
        let (common, _) = open(WINDOW_COMMON, COMMON_LENGTH)?;
        let (notify, notify_window) = open(WINDOW_NOTIFY, 2)?;
        let device = match open(WINDOW_DEVICE, 1) {
            Ok(found) => Some(found),
            Err(TransportError::NoWindow { .. }) => None,
            Err(error) => return Err(error),
        };
        let device_length = device.as_ref().map_or(0, |(_, window)| window.length);
        let transport = Self {
            function: at,
            common,
            notify,
            notify_length: notify_window.length,
            notify_multiplier: config.read_u32(at, notify_window.offset + 16),
            device: device.map(|(registers, _)| registers),
            device_length,
        };
        transport.reset()?;
        transport.add_status(STATUS_ACKNOWLEDGE);
        transport.add_status(STATUS_DRIVER);
        Ok(transport)
    }

    /// Which function it is.
    pub fn function(&self) -> FunctionAddress {
        self.function
    }

    /// Resets the device and waits until it is done: it touches no memory
    /// afterwards.
    ///
    /// # Errors
    /// [`TransportError::Reset`] if it never is; its memory must then never be
    /// used for anything else.
    pub fn reset(&self) -> Result<(), TransportError> {
        self.common.write_u8(DEVICE_STATUS, 0);
        for _ in 0..RESET_ATTEMPTS {
            if self.common.read_u8(DEVICE_STATUS) == 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(TransportError::Reset(self.function))
    }

    fn add_status(&self, bits: u8) {
        self.common
            .write_u8(DEVICE_STATUS, self.common.read_u8(DEVICE_STATUS) | bits);
    }

    /// Chooses all of `wanted` that the device offers; `needed` must be among
    /// that. Returns what was chosen.
    ///
    /// # Errors
    /// [`TransportError`] if something needed is missing or the device refuses.
    pub fn negotiate(&self, wanted: u64, needed: u64) -> Result<u64, TransportError> {
        let offered = self.offered();
        if offered & needed != needed {
            self.add_status(STATUS_FAILED);
            return Err(TransportError::Features { offered, needed });
        }
        let chosen = offered & (wanted | needed);
        for half in 0..2u32 {
            self.common.write_u32(DRIVER_FEATURE_SELECT, half);
            self.common
                .write_u32(DRIVER_FEATURE, (chosen >> (32 * half)) as u32);
        }
        self.add_status(STATUS_FEATURES_OK);
        if self.common.read_u8(DEVICE_STATUS) & STATUS_FEATURES_OK == 0 {
            self.add_status(STATUS_FAILED);
            return Err(TransportError::Refused { chosen });
        }
        Ok(chosen)
    }

    fn offered(&self) -> u64 {
        let half = |index: u32| {
            self.common.write_u32(DEVICE_FEATURE_SELECT, index);
            u64::from(self.common.read_u32(DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    /// Queues that the device has.
    pub fn queue_count(&self) -> u16 {
        self.common.read_u16(QUEUE_COUNT)
    }

    /// The size for queue `index`: the greatest power of two up to `wanted`
    /// that the device allows.
    ///
    /// # Errors
    /// [`TransportError::NoQueue`] if there is no such queue.
    pub fn queue_size(&self, index: u16, wanted: u16) -> Result<u16, TransportError> {
        self.common.write_u16(QUEUE_SELECT, index);
        let allowed = self.common.read_u16(QUEUE_SIZE).min(wanted).min(MAX_SIZE);
        match allowed.checked_ilog2() {
            Some(shift) if shift > 0 => Ok(1 << shift),
            _ => Err(TransportError::NoQueue(index)),
        }
    }

    /// Gives `queue` to the device as number `index`, with MSI-X entry
    /// `vector` for its completions. Returns how to tell the device of
    /// requests.
    ///
    /// # Errors
    /// [`TransportError`] if the device does not take it.
    pub fn set_queue<M: QueueMemory, T>(
        &self,
        index: u16,
        queue: &Queue<M, T>,
        vector: u16,
    ) -> Result<Notifier, TransportError> {
        self.common.write_u16(QUEUE_SELECT, index);
        self.common.write_u16(QUEUE_SIZE, queue.layout().size());
        self.common.write_u16(QUEUE_VECTOR, vector);
        if self.common.read_u16(QUEUE_VECTOR) != vector {
            return Err(TransportError::Vector(vector));
        }
        for (part, address) in queue.addresses().into_iter().enumerate() {
            let offset = QUEUE_DESCRIPTORS + 8 * part;
            self.common.write_u32(offset, address as u32);
            self.common.write_u32(offset + 4, (address >> 32) as u32);
        }
        let place = u64::from(self.common.read_u16(QUEUE_NOTIFY_OFFSET));
        let offset = place * u64::from(self.notify_multiplier);
        if offset + 2 > self.notify_length as u64 || !offset.is_multiple_of(2) {
            return Err(TransportError::Notification(index));
        }
        self.common.write_u16(QUEUE_ENABLE, 1);
        Ok(Notifier {
            offset: offset as usize,
            index,
        })
    }

    /// Uses MSI-X entry `vector` for changes of the device's configuration.
    ///
    /// # Errors
    /// [`TransportError::Vector`] if the device does not take it.
    pub fn set_config_vector(&self, vector: u16) -> Result<(), TransportError> {
        self.common.write_u16(CONFIG_VECTOR, vector);
        match self.common.read_u16(CONFIG_VECTOR) {
            NO_VECTOR => Err(TransportError::Vector(vector)),
            _ => Ok(()),
        }
    }

    /// Lets the device work.
    pub fn start(&self) {
        self.add_status(STATUS_DRIVER_OK);
    }

    /// Whether the device says that it is lost until a reset.
    pub fn needs_reset(&self) -> bool {
        self.common.read_u8(DEVICE_STATUS) & STATUS_NEEDS_RESET != 0
    }

    /// Tells the device of new requests.
    #[inline]
    pub fn notify(&self, notifier: Notifier) {
        self.notify.write_u16(notifier.offset, notifier.index);
    }

    /// Reads from the device's own configuration until one `read` saw no
    /// change; registers past its end read as 0.
    pub fn config<T>(&self, read: impl Fn(&DeviceConfig<'_, R>) -> T) -> T {
        let config = DeviceConfig {
            registers: self.device.as_ref(),
            length: self.device_length,
        };
        let mut value = read(&config);
        for _ in 0..STABLE_ATTEMPTS {
            let generation = self.common.read_u8(CONFIG_GENERATION);
            value = read(&config);
            if self.common.read_u8(CONFIG_GENERATION) == generation {
                break;
            }
        }
        value
    }
}

/// Where a queue's notifications go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notifier {
    offset: usize,
    index: u16,
}

/// The device's own configuration registers.
pub struct DeviceConfig<'a, R> {
    registers: Option<&'a R>,
    length: usize,
}

impl<R: Registers> DeviceConfig<'_, R> {
    fn at(&self, offset: usize, width: usize) -> Option<&R> {
        self.registers.filter(|_| offset + width <= self.length)
    }

    /// The byte at `offset`.
    pub fn u8(&self, offset: usize) -> u8 {
        self.at(offset, 1)
            .map_or(0, |registers| registers.read_u8(offset))
    }

    /// The two bytes at `offset`.
    pub fn u16(&self, offset: usize) -> u16 {
        self.at(offset, 2)
            .map_or(0, |registers| registers.read_u16(offset))
    }

    /// The four bytes at `offset`.
    pub fn u32(&self, offset: usize) -> u32 {
        self.at(offset, 4)
            .map_or(0, |registers| registers.read_u32(offset))
    }

    /// The eight bytes at `offset`, in two reads.
    pub fn u64(&self, offset: usize) -> u64 {
        u64::from(self.u32(offset)) | u64::from(self.u32(offset + 4)) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::{Msix, enumerate};
    use crate::simulation::{
        Backend, DmaPiece, SimulatedBus, SimulatedPlatform, VirtioDevice, VirtioParts, Window,
    };
    use crate::virtio::{device_type, feature, queue_features, type_of};
    use crate::{InterruptHandler, Platform};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use virtqueue::simulation::{Request, SharedMemory};
    use virtqueue::{Layout, Segment};

    /// Copies what it reads to what it writes.
    struct Echo;

    impl Backend for Echo {
        fn serve(&mut self, _queue: u16, request: &Request, memory: &SharedMemory) -> u32 {
            let [from, to] = request.segments[..] else {
                panic!("{request:?}")
            };
            memory.write(to.address, &memory.read(from.address, from.length as usize));
            from.length
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl InterruptHandler for Count {
        fn interrupt(&self, argument: usize) {
            self.0.fetch_add(argument, Ordering::Relaxed);
        }
    }

    struct Machine {
        platform: SimulatedPlatform,
        bus: SimulatedBus,
        device: VirtioDevice<Echo>,
    }

    fn machine() -> Machine {
        let platform = SimulatedPlatform::new();
        let mut bus = SimulatedBus::new();
        let kind = device_type::ENTROPY;
        let config = [1, 2, 3, 4, 5, 6, 7, 8];
        let parts = VirtioParts {
            kind,
            features: 1 << 5,
            queues: &[64, 48],
            config: &config,
            backend: Echo,
        };
        let device = VirtioDevice::install(&platform, &mut bus, ("00:02.0", 0xfe00_0000), parts);
        Machine {
            platform,
            bus,
            device,
        }
    }

    impl Machine {
        fn function(&self) -> Function {
            enumerate(&self.bus, 0, 0).remove(0)
        }

        fn open(&self) -> Result<Transport<Window>, TransportError> {
            Transport::open(&self.bus, &self.function(), &self.platform)
        }
    }

    #[test]
    fn a_request_goes_out_and_an_interrupt_comes_back() {
        let machine = machine();
        let function = machine.function();
        assert_eq!(type_of(&function), Some(device_type::ENTROPY));
        let transport = machine.open().unwrap();
        let features = transport
            .negotiate(feature::COMMON, feature::VERSION_1)
            .unwrap();
        assert_eq!(features & 1 << 5, 0, "not wanted");
        let count = Arc::new(Count::default());
        let msix = Msix::open(&machine.bus, &function, &machine.platform).unwrap();
        msix.set(
            1,
            machine
                .platform
                .allocate_interrupt(0, count.clone(), 7)
                .unwrap(),
        );
        msix.enable(&machine.bus);
        let size = transport.queue_size(1, 256).unwrap();
        assert_eq!(size, 32, "a power of two");
        let layout = Layout::new(size, 2).unwrap();
        let memory = machine.platform.allocate_dma(layout.length()).unwrap();
        let mut queue: Queue<DmaPiece, &str> =
            Queue::new(memory, layout, queue_features(features)).unwrap();
        let notifier = transport.set_queue(1, &queue, 1).unwrap();
        transport.start();

        let data = machine.platform.allocate(64);
        machine.platform.memory().write(data, b"over and back");
        let request = [
            Segment::readable(data, 13),
            Segment::writable(data + 32, 13),
        ];
        queue.add(request, "first").unwrap();
        assert!(queue.publish());
        transport.notify(notifier);
        assert_eq!(machine.device.run(), 1);
        assert_eq!(count.0.load(Ordering::Relaxed), 7);
        let done = queue.pop().unwrap().unwrap();
        assert_eq!((done.token, done.written), ("first", 13));
        assert_eq!(
            machine.platform.memory().read(data + 32, 13),
            b"over and back"
        );
        assert_eq!(
            transport.config(|config| (config.u8(1), config.u16(2), config.u64(0))),
            (2, 0x403, 0x807060504030201)
        );
        assert_eq!(
            transport.config(|config| (config.u32(6), config.u8(8))),
            (0, 0),
            "past the end"
        );
    }

    #[test]
    fn devices_that_refuse_are_errors() {
        let machine = machine();
        let needed = 1 << 40;
        let error = machine.open().unwrap().negotiate(0, needed).unwrap_err();
        assert!(matches!(error, TransportError::Features { .. }));
        machine.device.with(|state| state.accepts_features = false);
        let transport = machine.open().unwrap();
        let error = transport
            .negotiate(feature::COMMON, feature::VERSION_1)
            .unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }));
        assert_eq!(
            transport.queue_size(2, 256),
            Err(TransportError::NoQueue(2))
        );
    }

    #[test]
    fn a_device_that_stays_in_reset_is_an_error() {
        let machine = machine();
        let transport = machine.open().unwrap();
        machine.device.with(|state| state.can_reset = false);
        assert_eq!(
            transport.reset(),
            Err(TransportError::Reset(transport.function()))
        );
    }

    #[test]
    fn windows_out_of_place_are_refused() {
        let machine = machine();
        let mut function = machine.function();
        function.bars[0] = None;
        let bad = TransportError::BadWindow {
            function: function.address,
            kind: 1,
        };
        let result = Transport::open(&machine.bus, &function, &machine.platform);
        assert_eq!(result.err(), Some(bad));
        function.bars[0] = Some(Bar::Memory {
            address: 0xfe00_0000,
            length: 0x2000,
            is_prefetchable: false,
            is_64_bit: false,
        });
        let bad = TransportError::BadWindow {
            function: function.address,
            kind: 2,
        };
        let result = Transport::open(&machine.bus, &function, &machine.platform);
        assert_eq!(result.err(), Some(bad));
        function.capabilities.clear();
        let missing = TransportError::NoWindow {
            function: function.address,
            kind: 1,
        };
        let result = Transport::open(&machine.bus, &function, &machine.platform);
        assert_eq!(result.err(), Some(missing));
    }
}
