//! [`Console`]: a virtio console's first port (virtio 1.2, section 5.3).
//!
//! Nothing here waits. Output goes into buffers that the device takes when it
//! likes; what finds no free buffer is left to the caller, who hears by
//! [`ConsoleHandler::writable`] when to come again. Input arrives by interrupt.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::{Once, SpinLock};
use virtqueue::{Layout, Queue, QueueMemory, Segment};

use super::{Notifier, Transport, TransportError, feature, queue_features};
use crate::pci::{self, ConfigSpace, Function, Msix};
use crate::{InterruptHandler, Platform};

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const QUEUE_SIZE: u16 = 64;
/// Bytes of a buffer; a multiple of 8.
pub const BUFFER_BYTES: usize = 256;

/// Who uses a console. Both are called in an interrupt and must not block.
pub trait ConsoleHandler: Send + Sync {
    /// These bytes were typed.
    fn received(&self, bytes: &[u8]);
    /// A write that was cut short may go on.
    fn writable(&self);
}

/// A virtio console.
pub struct Console<P: Platform> {
    transport: Transport<P::Registers>,
    receive: Once<SpinLock<Line<P>>>,
    transmit: Once<SpinLock<Line<P>>>,
    handler: Once<Box<dyn ConsoleHandler>>,
}

/// A queue and a buffer for each of its requests, which is found by the
/// request's id.
struct Line<P: Platform> {
    queue: Queue<P::Dma, ()>,
    notifier: Notifier,
    buffers: P::Dma,
    /// Whether a write was cut short.
    is_awaited: bool,
}

impl<P: Platform> Line<P> {
    /// Gives the device buffers to write to, all that are free.
    fn offer(&mut self) {
        while let Some(id) = self.queue.next_id() {
            let address = self.buffers.device_address(start(id));
            let segment = Segment::writable(address, BUFFER_BYTES as u32);
            if self.queue.add([segment], ()).is_err() {
                return;
            }
        }
    }

    /// Gives the device bytes to read, as many as there are buffers for.
    fn send(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        for piece in bytes.chunks(BUFFER_BYTES) {
            let Some(id) = self.queue.next_id() else {
                break;
            };
            for (word, offset) in piece.chunks(8).zip((start(id)..).step_by(8)) {
                let mut eight = [0; 8];
                eight[..word.len()].copy_from_slice(word);
                self.buffers.write_u64(offset, u64::from_le_bytes(eight));
            }
            let address = self.buffers.device_address(start(id));
            let segment = Segment::readable(address, piece.len() as u32);
            if self.queue.add([segment], ()).is_err() {
                break;
            }
            done += piece.len();
        }
        done
    }

    fn read(&self, id: u16, length: usize) -> Vec<u8> {
        let words = (start(id)..start(id) + length).step_by(8);
        let mut bytes: Vec<u8> = words
            .flat_map(|at| self.buffers.read_u64(at).to_le_bytes())
            .collect();
        bytes.truncate(length);
        bytes
    }
}

/// Where the buffer of request `id` begins.
fn start(id: u16) -> usize {
    usize::from(id) * BUFFER_BYTES
}

impl<P: Platform + 'static> Console<P> {
    /// Takes `function` into use. Input is kept by the device until there is a
    /// handler.
    ///
    /// # Errors
    /// [`TransportError`] if it is not a working device.
    pub fn open(
        config: &impl ConfigSpace,
        function: &Function,
        platform: &P,
    ) -> Result<Arc<Self>, TransportError> {
        pci::enable(config, function.address);
        let transport = Transport::open(config, function, platform)?;
        let msix = Msix::open(config, function, platform)?;
        let features = transport.negotiate(feature::COMMON, feature::VERSION_1)?;
        let device = Arc::new(Self {
            transport,
            receive: Once::new(),
            transmit: Once::new(),
            handler: Once::new(),
        });
        if let Err(error) = device.set_up(platform, &msix, features) {
            device.transport.reset()?;
            return Err(error);
        }
        msix.enable(config);
        device.transport.start();
        Ok(device)
    }

    fn set_up(
        self: &Arc<Self>,
        platform: &P,
        msix: &Msix<P::Registers>,
        features: u64,
    ) -> Result<(), TransportError> {
        for (index, place) in [(RECEIVE, &self.receive), (TRANSMIT, &self.transmit)] {
            let message = platform.allocate_interrupt(0, self.clone(), index.into());
            msix.set(index, message.ok_or(TransportError::NoResources)?);
            let layout = Layout::new(self.transport.queue_size(index, QUEUE_SIZE)?, 0)?;
            let dma = |length| {
                platform
                    .allocate_dma(length)
                    .ok_or(TransportError::NoResources)
            };
            let buffers = dma(start(layout.size()))?;
            let queue = Queue::new(dma(layout.length())?, layout, queue_features(features))?;
            let notifier = self.transport.set_queue(index, &queue, index)?;
            let line = Line {
                queue,
                notifier,
                buffers,
                is_awaited: false,
            };
            let _ = place.set(SpinLock::new(line));
        }
        Ok(())
    }

    /// Says who uses it, and begins to receive. The first call counts.
    pub fn set_handler(&self, handler: Box<dyn ConsoleHandler>) {
        if self.handler.set(handler).is_ok()
            && let Some(line) = self.receive.get()
        {
            let mut line = line.lock();
            line.offer();
            self.publish(&mut line);
        }
    }

    fn publish(&self, line: &mut Line<P>) {
        if line.queue.publish() {
            self.transport.notify(line.notifier);
        }
    }

    /// Sends `bytes`, as many as there is room for now, and returns how many:
    /// 0 from a device that has failed.
    pub fn write(&self, bytes: &[u8]) -> usize {
        let Some(line) = self.transmit.get() else {
            return 0;
        };
        let mut line = line.lock();
        let mut done = line.send(bytes);
        // Buffers may be free by now; their interrupt is not waited for.
        while done < bytes.len() && self.reclaim(&mut line) {
            done += line.send(&bytes[done..]);
        }
        self.publish(&mut line);
        line.is_awaited |= done < bytes.len();
        done
    }

    /// Whether the device has taken all that was written, or has failed.
    pub fn is_drained(&self) -> bool {
        let Some(line) = self.transmit.get() else {
            return true;
        };
        let mut line = line.lock();
        self.reclaim(&mut line);
        line.queue.broken().is_some() || line.queue.in_flight() == 0
    }

    /// Takes back the buffers that the device has read; whether there were any.
    fn reclaim(&self, line: &mut Line<P>) -> bool {
        let mut any = false;
        loop {
            match line.queue.pop() {
                Ok(Some(_)) => any = true,
                Ok(None) if line.queue.enable_interrupts() => {}
                Ok(None) => return any,
                Err(_) => return false,
            }
        }
    }

    fn take_input(&self) {
        let (Some(line), Some(handler)) = (self.receive.get(), self.handler.get()) else {
            return;
        };
        loop {
            let mut locked = line.lock();
            let bytes = match locked.queue.pop() {
                Ok(Some(done)) => {
                    // The queue has checked the length against the request's.
                    let bytes = locked.read(done.id, (done.written as usize).min(BUFFER_BYTES));
                    locked.offer();
                    self.publish(&mut locked);
                    bytes
                }
                Ok(None) if locked.queue.enable_interrupts() => continue,
                Ok(None) => return,
                Err(error) => {
                    drop(locked);
                    return self.fail(&error);
                }
            };
            drop(locked);
            handler.received(&bytes);
        }
    }

    fn take_output(&self) {
        let Some(line) = self.transmit.get() else {
            return;
        };
        let mut locked = line.lock();
        self.reclaim(&mut locked);
        let broken = locked.queue.broken();
        let is_awaited = core::mem::take(&mut locked.is_awaited);
        drop(locked);
        if let Some(error) = broken {
            return self.fail(&error);
        }
        if is_awaited && let Some(handler) = self.handler.get() {
            handler.writable();
        }
    }

    /// The device broke the rules: it is stopped.
    fn fail(&self, error: &virtqueue::DeviceError) {
        let stopped = self.transport.reset();
        let function = self.transport.function();
        log::error!("console {function} is not used any more: {error}");
        if let Err(error) = stopped {
            log::error!("{error}");
        }
    }
}

impl<P: Platform + 'static> InterruptHandler for Console<P> {
    fn interrupt(&self, argument: usize) {
        if argument == usize::from(RECEIVE) {
            self.take_input();
        } else {
            self.take_output();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::enumerate;
    use crate::simulation::{Backend, SimulatedBus, SimulatedPlatform, VirtioDevice, VirtioParts};
    use crate::virtio::device_type;
    use std::sync::Mutex;
    use virtqueue::simulation::{Request, SharedMemory};

    /// Types what it is told, prints what it is sent.
    #[derive(Default)]
    struct Person {
        types: Vec<u8>,
        sees: Vec<u8>,
    }

    impl Backend for Person {
        fn serve(&mut self, queue: u16, request: &Request, memory: &SharedMemory) -> u32 {
            let [segment] = request.segments[..] else {
                panic!("{request:?}")
            };
            if queue == TRANSMIT {
                self.sees
                    .extend(memory.read(segment.address, segment.length as usize));
                return 0;
            }
            memory.write(segment.address, &self.types);
            self.types.len() as u32
        }
    }

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<(Vec<u8>, usize)>>);

    impl ConsoleHandler for Terminal {
        fn received(&self, bytes: &[u8]) {
            self.0.lock().unwrap().0.extend_from_slice(bytes);
        }
        fn writable(&self) {
            self.0.lock().unwrap().1 += 1;
        }
    }

    struct Machine {
        console: Arc<Console<SimulatedPlatform>>,
        model: VirtioDevice<Person>,
        terminal: Terminal,
    }

    fn machine(queues: &[u16]) -> Machine {
        let (platform, mut bus) = (SimulatedPlatform::new(), SimulatedBus::new());
        let parts = VirtioParts {
            kind: device_type::CONSOLE,
            features: 1 << 1,
            queues,
            config: &[0; 12],
            backend: Person::default(),
        };
        let model = VirtioDevice::install(&platform, &mut bus, ("00:05.0", 0xfe00_0000), parts);
        let function = enumerate(&bus, 0, 0).remove(0);
        let console = Console::open(&bus, &function, &platform).unwrap();
        let terminal = Terminal::default();
        console.set_handler(Box::new(terminal.clone()));
        Machine {
            console,
            model,
            terminal,
        }
    }

    #[test]
    fn what_is_typed_arrives_and_what_is_written_is_seen() {
        let machine = machine(&[16, 16]);
        assert_eq!(
            machine.model.with(|state| state.chosen()) & 2,
            0,
            "one port"
        );
        let offered = machine.model.take(RECEIVE);
        assert_eq!(offered.len(), 16);
        machine
            .model
            .with(|state| state.backend.types = b"ls /dev\r".to_vec());
        machine.model.finish(RECEIVE, &offered[0]);
        machine
            .model
            .with(|state| state.backend.types = b"x".to_vec());
        machine.model.finish(RECEIVE, &offered[1]);
        assert_eq!(machine.terminal.0.lock().unwrap().0, b"ls /dev\rx");
        assert_eq!(machine.model.take(RECEIVE).len(), 2, "buffers come back");
        let text: Vec<u8> = (0..700u32).map(|at| at as u8).collect();
        assert_eq!(machine.console.write(&text), 700);
        assert!(!machine.console.is_drained());
        assert_eq!(machine.model.run(), 3);
        assert_eq!(machine.model.with(|state| state.backend.sees.clone()), text);
        assert!(machine.console.is_drained());
        assert_eq!(machine.terminal.0.lock().unwrap().1, 0, "nobody waited");
    }

    #[test]
    fn a_device_that_does_not_read_delays_nobody() {
        let machine = machine(&[4, 4]);
        let text = [b'.'; 5 * BUFFER_BYTES];
        assert_eq!(machine.console.write(&text), 4 * BUFFER_BYTES);
        assert_eq!(machine.console.write(&text), 0);
        let waiting = machine.model.take(TRANSMIT);
        machine.model.finish(TRANSMIT, &waiting[0]);
        assert_eq!(machine.terminal.0.lock().unwrap().1, 1, "told once");
        assert_eq!(machine.console.write(&text), BUFFER_BYTES);
    }

    #[test]
    fn a_device_that_lies_about_input_is_stopped() {
        let machine = machine(&[4, 4]);
        let offered = machine.model.take(RECEIVE);
        let id = offered[0].id.into();
        machine
            .model
            .with(|state| state.side(RECEIVE).put_used(id, BUFFER_BYTES as u32 + 1));
        machine.model.interrupt(RECEIVE);
        assert!(machine.terminal.0.lock().unwrap().0.is_empty());
        assert_eq!(machine.model.with(|state| state.resets), 2);
    }

    #[test]
    fn a_device_that_lies_about_output_is_stopped() {
        let machine = machine(&[4, 4]);
        assert_eq!(machine.console.write(b"text"), 4);
        machine.model.take(TRANSMIT);
        machine
            .model
            .with(|state| state.side(TRANSMIT).put_used(3, 0));
        machine.model.interrupt(TRANSMIT);
        assert_eq!(machine.model.with(|state| state.resets), 2);
        assert!(machine.console.is_drained(), "nobody waits for it for ever");
        assert_eq!(machine.console.write(b"more"), 0);
    }

    #[test]
    fn used_up_resources_are_an_error() {
        let (platform, mut bus) = (SimulatedPlatform::new(), SimulatedBus::new());
        let parts = VirtioParts {
            kind: device_type::CONSOLE,
            features: 0,
            queues: &[4, 4],
            config: &[],
            backend: Person::default(),
        };
        let _model = VirtioDevice::install(&platform, &mut bus, ("00:05.0", 0xfe00_0000), parts);
        let function = enumerate(&bus, 0, 0).remove(0);
        for (dma, interrupts) in [(3, 2), (4, 1)] {
            platform.limit(dma, interrupts);
            let result = Console::open(&bus, &function, &platform);
            assert_eq!(result.err(), Some(TransportError::NoResources));
        }
    }
}
