//! [`VirtioBlk`]: virtio disks over PCI (virtio 1.2, section 5.2).
//!
//! There is a queue for each CPU, as far as the device has that many; a
//! request goes to the queue of the CPU that submits it and its interrupt
//! comes back there. Per request the driver has one record of DMA memory,
//! by the request's id, for header and status.
//!
//! A disk that breaks the rules is reset and gone: all its requests fail. If
//! it does not even reset, the memory of those requests is kept for ever.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use device::pci::{self, ConfigSpace, Function, Msix};
use device::virtio::{Notifier, Transport, TransportError, feature, queue_features};
use device::{InterruptHandler, Platform};
use sync::{Once, SpinLock};
use virtqueue::{AddError, Completion, DEFAULT_SIZE, Draft, Layout, Queue, QueueMemory, Segment};

use crate::{BlockDevice, BlockError, Data, Geometry, Limits, Operation, Piece, Request, split};

const SEGMENTS_MAX: u64 = 1 << 2;
const SEGMENT_SIZE_MAX: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 5;
const BLOCK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const MULTI_QUEUE: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WANTED: u64 = feature::COMMON
    | SEGMENTS_MAX
    | SEGMENT_SIZE_MAX
    | READ_ONLY
    | BLOCK_SIZE
    | FLUSH
    | MULTI_QUEUE
    | DISCARD;

const SECTOR: u64 = 512;
/// Data segments of one request: 128 KiB of scattered pages.
const SEGMENTS: u16 = 32;
/// Header and status.
const EXTRA_SEGMENTS: u16 = 2;

/// DMA memory of a request: header, then discard range, then status.
const RECORD: usize = 64;
const RECORD_DISCARD: usize = 16;
const RECORD_STATUS: usize = 32;
const HEADER_LENGTH: u32 = 16;

/// The interrupt argument for changes of configuration; queues have theirs.
const CONFIG_CHANGED: usize = usize::MAX;

/// A virtio disk.
pub struct VirtioBlk<P: Platform> {
    platform: P,
    transport: Transport<P::Registers>,
    /// Without the capacity, which may change.
    geometry: Geometry,
    capacity: AtomicU64,
    queues: Once<Vec<DiskQueue<P>>>,
    is_gone: AtomicBool,
    /// Memory that a device which does not reset may still write.
    quarantine: SpinLock<Vec<Data>>,
}

struct DiskQueue<P: Platform> {
    notifier: Notifier,
    state: SpinLock<QueueState<P>>,
}

struct QueueState<P: Platform> {
    queue: Queue<P::Dma, Request>,
    records: P::Dma,
    /// Requests for which the queue had no room, oldest first.
    waiting: VecDeque<Request>,
}

impl<P: Platform + 'static> VirtioBlk<P> {
    /// Takes `function` into use.
    ///
    /// # Errors
    /// [`TransportError`] if it is not a working disk.
    pub fn open(
        config: &impl ConfigSpace,
        function: &Function,
        platform: P,
    ) -> Result<Arc<Self>, TransportError> {
        pci::enable(config, function.address);
        let transport = Transport::open(config, function, &platform)?;
        let msix = Msix::open(config, function, &platform)?;
        let features = transport.negotiate(WANTED, feature::VERSION_1)?;
        let (mut geometry, queue_count) = read_config(&transport, features);
        if !queue_features(features).indirect {
            // A request then takes a descriptor for each of its segments.
            let size = transport.queue_size(0, DEFAULT_SIZE)?;
            let room = size.checked_sub(EXTRA_SEGMENTS).filter(|room| *room > 0);
            let room = room.ok_or(TransportError::NoQueue(0))?;
            geometry.limits.segments = geometry.limits.segments.min(room);
        }
        let disk = Arc::new(Self {
            platform,
            transport,
            geometry,
            capacity: AtomicU64::new(geometry.capacity),
            queues: Once::new(),
            is_gone: AtomicBool::new(false),
            quarantine: SpinLock::new(Vec::new()),
        });
        if let Err(error) = disk.set_up(&msix, features, queue_count) {
            // What was given to the device is not its any more.
            disk.transport.reset()?;
            return Err(error);
        }
        msix.enable(config);
        disk.transport.start();
        Ok(disk)
    }

    /// Makes the queues and their interrupts. Entry 0 of the table is for
    /// configuration changes, entry n + 1 for queue n; with one entry only,
    /// all share it.
    fn set_up(
        self: &Arc<Self>,
        msix: &Msix<P::Registers>,
        features: u64,
        queue_count: u16,
    ) -> Result<(), TransportError> {
        let cpus = u16::try_from(self.platform.cpu_count()).unwrap_or(u16::MAX);
        let count = queue_count.min(cpus).min((msix.count() - 1).max(1));
        let shared = msix.count() == 1;
        let argument = if shared { 0 } else { CONFIG_CHANGED };
        self.set_interrupt(msix, 0, 0, argument)?;
        self.transport.set_config_vector(0)?;
        let mut queues = Vec::new();
        for index in 0..count {
            let vector = if shared { 0 } else { index + 1 };
            if !shared {
                self.set_interrupt(msix, vector, index.into(), index.into())?;
            }
            queues.push(self.make_queue(index, vector, features)?);
        }
        let _ = self.queues.set(queues);
        Ok(())
    }

    fn set_interrupt(
        self: &Arc<Self>,
        msix: &Msix<P::Registers>,
        entry: u16,
        cpu: usize,
        argument: usize,
    ) -> Result<(), TransportError> {
        let message = self
            .platform
            .allocate_interrupt(cpu, self.clone(), argument);
        msix.set(entry, message.ok_or(TransportError::NoResources)?);
        Ok(())
    }

    fn make_queue(
        &self,
        index: u16,
        vector: u16,
        features: u64,
    ) -> Result<DiskQueue<P>, TransportError> {
        let size = self.transport.queue_size(index, DEFAULT_SIZE)?;
        let segments = self.geometry.limits.segments + EXTRA_SEGMENTS;
        let layout = Layout::new(size, segments)?;
        let dma = |length| {
            self.platform
                .allocate_dma(length)
                .ok_or(TransportError::NoResources)
        };
        let queue = Queue::new(dma(layout.length())?, layout, queue_features(features))?;
        let records = dma(usize::from(size) * RECORD)?;
        let notifier = self.transport.set_queue(index, &queue, vector)?;
        let waiting = VecDeque::with_capacity(size.into());
        Ok(DiskQueue {
            notifier,
            state: SpinLock::new(QueueState {
                queue,
                records,
                waiting,
            }),
        })
    }

    fn queues(&self) -> &[DiskQueue<P>] {
        self.queues.get().map_or(&[], Vec::as_slice)
    }

    /// Gives a request that fits to the queue of this CPU.
    fn enqueue(&self, request: Request) {
        let queues = self.queues();
        let queue = &queues[self.platform.cpu() % queues.len()];
        let mut state = queue.state.lock();
        if self.is_gone.load(Ordering::Acquire) {
            drop(state);
            return request.finish(Err(BlockError::Gone));
        }
        let result = state.start(request, self.geometry.limits.segment_bytes);
        let must_notify = state.queue.publish();
        drop(state);
        if must_notify {
            self.transport.notify(queue.notifier);
        }
        if let Err((request, error)) = result {
            request.finish(Err(error));
        }
    }

    /// Takes one completion from queue `index`; `None` when there are no more
    /// and the device will interrupt for the next.
    fn next_done(&self, index: usize) -> Option<(Request, Result<(), BlockError>)> {
        let queue = &self.queues()[index];
        let mut state = queue.state.lock();
        loop {
            match state.queue.pop() {
                Ok(Some(Completion { id, token, .. })) => {
                    let result = state.status(id);
                    state.start_waiting(self.geometry.limits.segment_bytes);
                    let must_notify = state.queue.publish();
                    drop(state);
                    if must_notify {
                        self.transport.notify(queue.notifier);
                    }
                    return Some((token, result));
                }
                Ok(None) if state.queue.enable_interrupts() => {}
                Ok(None) => return None,
                Err(error) => {
                    drop(state);
                    self.give_up(&error);
                    return None;
                }
            }
        }
    }

    /// Stops the disk for good and fails all its requests.
    #[cold]
    fn give_up(&self, reason: &dyn core::fmt::Display) {
        if self.is_gone.swap(true, Ordering::AcqRel) {
            return;
        }
        let function = self.transport.function();
        log::error!("disk {function} is stopped: {reason}");
        let is_reset = self.transport.reset();
        if let Err(error) = &is_reset {
            log::error!("memory of its requests is never used again: {error}");
        }
        for queue in self.queues() {
            while let Some(mut request) = queue.state.lock().take() {
                if is_reset.is_err() {
                    self.quarantine.lock().extend(request.data.take());
                }
                request.finish(Err(BlockError::Gone));
            }
        }
    }

    fn configuration_changed(&self) {
        if self.transport.needs_reset() {
            return self.give_up(&"the device asks for a reset");
        }
        let sectors = self.transport.config(|config| config.u64(0));
        let capacity = whole_blocks(sectors, self.geometry.block);
        let before = self.capacity.swap(capacity, Ordering::Relaxed);
        if before != capacity {
            let function = self.transport.function();
            log::info!("disk {function} has {capacity} bytes now, {before} before");
        }
    }
}

/// The byte size of a disk of `sectors`, without a part of a block at its end.
fn whole_blocks(sectors: u64, block: u32) -> u64 {
    sectors.saturating_mul(SECTOR) & !u64::from(block - 1)
}

/// Geometry and number of queues (virtio 1.2, section 5.2.4).
fn read_config<R: device::Registers>(transport: &Transport<R>, features: u64) -> (Geometry, u16) {
    transport.config(|config| {
        let offered = |feature, value, otherwise| {
            if features & feature != 0 {
                value
            } else {
                otherwise
            }
        };
        let block = offered(BLOCK_SIZE, config.u32(20), 512);
        let block = if block.is_power_of_two() && block >= 512 {
            block
        } else {
            512
        };
        let segment_bytes = offered(SEGMENT_SIZE_MAX, config.u32(8), 1 << 20);
        let segments = offered(SEGMENTS_MAX, config.u32(12), SEGMENTS.into());
        let discard = u64::from(offered(DISCARD, config.u32(36), 0)) * SECTOR;
        let discard_bytes = discard & !u64::from(block - 1);
        let limits = Limits {
            segments: segments.clamp(1, SEGMENTS.into()) as u16,
            segment_bytes: segment_bytes.clamp(block, 1 << 20) & !(block - 1),
            bytes: 32 << 20,
            discard_bytes,
        };
        let geometry = Geometry {
            capacity: whole_blocks(config.u64(0), block),
            block,
            is_read_only: features & READ_ONLY != 0,
            has_cache: features & FLUSH != 0,
            can_discard: discard_bytes > 0,
            limits,
        };
        (
            geometry,
            offered(MULTI_QUEUE, config.u16(34).into(), 1).max(1) as u16,
        )
    })
}

impl<P: Platform> QueueState<P> {
    /// Queues a request behind those that wait already.
    fn start(&mut self, request: Request, segment_bytes: u32) -> Result<(), (Request, BlockError)> {
        let request = match self.waiting.is_empty() {
            true => match self.try_add(request, segment_bytes) {
                Ok(()) => return Ok(()),
                Err((request, AddError::Full)) => request,
                // Limits keep all other errors out, except for a stopped queue.
                Err((request, _)) => return Err((request, BlockError::Gone)),
            },
            false => request,
        };
        if self.waiting.try_reserve(1).is_err() {
            return Err((request, BlockError::OutOfMemory));
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// Queues as many waiting requests as there is room for.
    fn start_waiting(&mut self, segment_bytes: u32) {
        while let Some(request) = self.waiting.pop_front() {
            if let Err((request, _)) = self.try_add(request, segment_bytes) {
                return self.waiting.push_front(request);
            }
        }
    }

    fn try_add(&mut self, request: Request, segment_bytes: u32) -> Result<(), (Request, AddError)> {
        match self.draft(&request, segment_bytes) {
            Ok(draft) => match draft.finish(request) {
                Ok(_) => Ok(()),
                Err(rejected) => Err((rejected.token, rejected.error)),
            },
            Err(error) => Err((request, error)),
        }
    }

    /// Writes down what `request` asks: header, perhaps a range, data, status.
    #[inline]
    fn draft(
        &mut self,
        request: &Request,
        segment_bytes: u32,
    ) -> Result<Draft<'_, P::Dma, Request>, AddError> {
        let id = self.queue.next_id().ok_or(AddError::Full)?;
        let record = usize::from(id) * RECORD;
        let (kind, device_writes) = match request.operation {
            Operation::Read => (0, true),
            Operation::Write => (1, false),
            Operation::Flush => (4, false),
            Operation::Discard => (11, false),
        };
        let is_discard = request.operation == Operation::Discard;
        let sector = if is_discard {
            0
        } else {
            request.start / SECTOR
        };
        let records = &self.records;
        records.write_u64(record, kind);
        records.write_u64(record + 8, sector);
        // What no device writes, so that a status left out is an error.
        records.write_u64(record + RECORD_STATUS, u64::MAX);
        let at = records.device_address(record);
        let mut draft = self.queue.begin()?;
        draft.push(Segment::readable(at, HEADER_LENGTH))?;
        if is_discard {
            records.write_u64(record + RECORD_DISCARD, request.start / SECTOR);
            records.write_u64(record + RECORD_DISCARD + 8, request.length / SECTOR);
            draft.push(Segment::readable(at + RECORD_DISCARD as u64, 16))?;
        } else if let Some(data) = &request.data {
            for Piece { address, length } in data.range(request.length, segment_bytes) {
                draft.push(Segment {
                    address,
                    length,
                    device_writes,
                })?;
            }
        }
        draft.push(Segment::writable(at + RECORD_STATUS as u64, 1))?;
        Ok(draft)
    }

    /// What the device said about request `id`.
    fn status(&self, id: u16) -> Result<(), BlockError> {
        let record = usize::from(id) * RECORD;
        match self.records.read_u64(record + RECORD_STATUS) as u8 {
            0 => Ok(()),
            2 => Err(BlockError::Unsupported),
            _ => Err(BlockError::Failed),
        }
    }

    /// Takes a request back from a stopped device, oldest first.
    fn take(&mut self) -> Option<Request> {
        let flying = self.queue.take_oldest().map(|(_, request)| request);
        flying.or_else(|| self.waiting.pop_front())
    }
}

impl<P: Platform + 'static> BlockDevice for VirtioBlk<P> {
    fn geometry(&self) -> Geometry {
        Geometry {
            capacity: self.capacity.load(Ordering::Relaxed),
            ..self.geometry
        }
    }

    fn submit(&self, request: Request) {
        let geometry = self.geometry();
        if let Err(error) = geometry.check(&request) {
            return request.finish(Err(error));
        }
        let is_nothing = match request.operation {
            Operation::Flush => !geometry.has_cache,
            _ => request.length == 0,
        };
        if is_nothing {
            return request.finish(Ok(()));
        }
        split(request, &geometry, |part| self.enqueue(part));
    }
}

impl<P: Platform + 'static> InterruptHandler for VirtioBlk<P> {
    fn interrupt(&self, argument: usize) {
        if argument == CONFIG_CHANGED {
            return self.configuration_changed();
        }
        // Completions run without the queue's lock: they may submit again.
        while argument < self.queues().len()
            && let Some((request, result)) = self.next_done(argument)
        {
            request.finish(result);
        }
    }
}
