//! [`Entropy`]: the host's random numbers (virtio 1.2, section 5.4).
//!
//! The driver never waits: [`Entropy::request`] asks, and when the device has
//! answered, its interrupt hands the bytes to the random number generator. A
//! device that is slow or silent delays nothing.

use alloc::sync::Arc;

use sync::{Once, SpinLock};
use virtqueue::{Layout, Queue, QueueMemory, Segment};

use super::{Notifier, Transport, TransportError, feature, queue_features};
use crate::pci::{self, ConfigSpace, Function, Msix};
use crate::{InterruptHandler, Platform};

/// Bytes asked for at a time.
pub const REQUEST_BYTES: usize = 64;
const QUEUE_SIZE: u16 = 8;

/// A virtio entropy device.
pub struct Entropy<P: Platform> {
    transport: Transport<P::Registers>,
    state: Once<SpinLock<State<P>>>,
    sink: fn(&[u8]),
}

struct State<P: Platform> {
    queue: Queue<P::Dma, ()>,
    notifier: Notifier,
    bytes: P::Dma,
}

impl<P: Platform + 'static> Entropy<P> {
    /// Takes `function` into use; `sink` gets all bytes that it delivers, in
    /// an interrupt.
    ///
    /// # Errors
    /// [`TransportError`] if it is not a working device.
    pub fn open(
        config: &impl ConfigSpace,
        function: &Function,
        platform: &P,
        sink: fn(&[u8]),
    ) -> Result<Arc<Self>, TransportError> {
        pci::enable(config, function.address);
        let transport = Transport::open(config, function, platform)?;
        let msix = Msix::open(config, function, platform)?;
        let features = transport.negotiate(feature::COMMON, feature::VERSION_1)?;
        let device = Arc::new(Self {
            transport,
            state: Once::new(),
            sink,
        });
        let message = platform.allocate_interrupt(0, device.clone(), 0);
        msix.set(0, message.ok_or(TransportError::NoResources)?);
        if let Err(error) = device.set_up(platform, features) {
            device.transport.reset()?;
            return Err(error);
        }
        msix.enable(config);
        device.transport.start();
        Ok(device)
    }

    fn set_up(&self, platform: &P, features: u64) -> Result<(), TransportError> {
        let layout = Layout::new(self.transport.queue_size(0, QUEUE_SIZE)?, 0)?;
        let dma = |length| {
            platform
                .allocate_dma(length)
                .ok_or(TransportError::NoResources)
        };
        let queue = Queue::new(dma(layout.length())?, layout, queue_features(features))?;
        let bytes = dma(REQUEST_BYTES)?;
        let notifier = self.transport.set_queue(0, &queue, 0)?;
        let _ = self.state.set(SpinLock::new(State {
            queue,
            notifier,
            bytes,
        }));
        Ok(())
    }

    /// Asks for bytes, unless that was done and not answered yet.
    pub fn request(&self) {
        let Some(state) = self.state.get() else {
            return;
        };
        let mut state = state.lock();
        if state.queue.in_flight() > 0 {
            return;
        }
        let segment = Segment::writable(state.bytes.device_address(0), REQUEST_BYTES as u32);
        if state.queue.add([segment], ()).is_ok() && state.queue.publish() {
            self.transport.notify(state.notifier);
        }
    }

    /// Copies what the device delivered: the bytes and how many.
    fn take(&self) -> Option<([u8; REQUEST_BYTES], usize)> {
        let mut state = self.state.get()?.lock();
        loop {
            match state.queue.pop() {
                Ok(Some(done)) => {
                    let mut bytes = [0; REQUEST_BYTES];
                    for (chunk, offset) in bytes.chunks_exact_mut(8).zip((0..).step_by(8)) {
                        chunk.copy_from_slice(&state.bytes.read_u64(offset).to_le_bytes());
                    }
                    return Some((bytes, done.written as usize));
                }
                Ok(None) if state.queue.enable_interrupts() => {}
                Ok(None) => return None,
                Err(error) => {
                    let function = self.transport.function();
                    log::error!("entropy device {function} is not used any more: {error}");
                    if let Err(error) = self.transport.reset() {
                        log::error!("{error}");
                    }
                    return None;
                }
            }
        }
    }
}

impl<P: Platform + 'static> InterruptHandler for Entropy<P> {
    fn interrupt(&self, _argument: usize) {
        while let Some((bytes, length)) = self.take() {
            // The queue has checked the length against the request's.
            (self.sink)(&bytes[..length.min(REQUEST_BYTES)]);
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
    use std::vec::Vec;
    use virtqueue::simulation::{Request, SharedMemory};

    /// Delivers 1, 2, 3 and so on, fewer bytes each time.
    struct Numbers(u32);

    impl Backend for Numbers {
        fn serve(&mut self, _queue: u16, request: &Request, memory: &SharedMemory) -> u32 {
            let [segment] = request.segments[..] else {
                panic!("{request:?}")
            };
            self.0 += 1;
            memory.write(
                segment.address,
                &std::vec![self.0 as u8; segment.length as usize],
            );
            segment.length / self.0
        }
    }

    static DELIVERED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    /// One test for all of it: the sink is a plain function.
    #[test]
    fn bytes_arrive_as_asked_until_the_device_breaks_the_rules() {
        let (platform, mut bus) = (SimulatedPlatform::new(), SimulatedBus::new());
        let (kind, backend) = (device_type::ENTROPY, Numbers(0));
        let parts = VirtioParts {
            kind,
            features: 0,
            queues: &[8],
            config: &[],
            backend,
        };
        let model = VirtioDevice::install(&platform, &mut bus, ("00:04.0", 0xfe00_0000), parts);
        let function = enumerate(&bus, 0, 0).remove(0);
        let sink = |bytes: &[u8]| DELIVERED.lock().unwrap().extend_from_slice(bytes);
        let entropy = Entropy::open(&bus, &function, &platform, sink).unwrap();
        entropy.request();
        entropy.request();
        assert_eq!(model.run(), 1, "one request at a time");
        assert_eq!(*DELIVERED.lock().unwrap(), [1; 64]);
        entropy.request();
        assert_eq!(model.run(), 1);
        assert_eq!(DELIVERED.lock().unwrap()[64..], [2; 32]);
        entropy.request();
        let taken = model.take(0);
        model.with(|state| state.side(0).put_used(taken[0].id.into(), 65));
        model.interrupt(0);
        assert_eq!(
            DELIVERED.lock().unwrap().len(),
            96,
            "nothing of a false length"
        );
        assert_eq!(model.with(|state| state.resets), 2);
        entropy.request();
        assert_eq!(model.run(), 0);
    }
}
