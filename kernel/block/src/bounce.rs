//! [`Bounce`]: a piece of DMA memory through which a thread reads and writes
//! a disk, one request at a time.

use alloc::sync::Arc;

use sync::SpinLock;
use virtqueue::QueueMemory;
use wait::WaitQueue;

use crate::{BlockDevice, BlockError, Buffer, Completion, Data, Operation, Piece, Request};

/// Its size in bytes.
pub(crate) const BOUNCE: usize = 64 << 10;

const WORD: usize = 8;

struct Memory<M> {
    dma: M,
    pieces: [Piece; 1],
}

impl<M: QueueMemory + Send + Sync> Buffer for Memory<M> {
    fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// A thread that waits for its request.
#[derive(Default)]
struct Waiter {
    result: SpinLock<Option<Result<(), BlockError>>>,
    queue: WaitQueue,
}

impl Completion for Waiter {
    fn complete(&self, _token: u64, result: Result<(), BlockError>) {
        *self.result.lock() = Some(result);
        self.queue.wake();
    }
}

/// The memory, and the waiting for it.
pub(crate) struct Bounce<M> {
    memory: Arc<Memory<M>>,
    waiter: Arc<Waiter>,
}

impl<M: QueueMemory + Send + Sync + 'static> Bounce<M> {
    /// Over `dma`, which has at least [`BOUNCE`] bytes.
    pub fn new(dma: M) -> Self {
        let pieces = [Piece {
            address: dma.device_address(0),
            length: BOUNCE as u32,
        }];
        Self {
            memory: Arc::new(Memory { dma, pieces }),
            waiter: Arc::default(),
        }
    }

    /// Does one request of whole blocks with the memory's first `length`
    /// bytes and blocks until it is done.
    pub fn transfer(
        &mut self,
        device: &dyn BlockDevice,
        operation: Operation,
        start: u64,
        length: usize,
    ) -> Result<(), BlockError> {
        let needs_memory = matches!(operation, Operation::Read | Operation::Write);
        let buffer: Arc<dyn Buffer> = self.memory.clone();
        device.submit(Request {
            operation,
            start,
            length: length as u64,
            data: needs_memory.then_some(Data { buffer, offset: 0 }),
            completion: self.waiter.clone(),
            token: 0,
        });
        self.waiter
            .queue
            .wait_uninterrupted(|| self.waiter.result.lock().take())
    }

    /// Copies out of the memory; the range must be inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % WORD;
            let (now, later) = rest.split_at_mut(rest.len().min(WORD - within));
            let word = self.memory.dma.read_u64(at - within).to_le_bytes();
            now.copy_from_slice(&word[within..within + now.len()]);
            at += now.len();
            rest = later;
        }
    }

    /// Copies into the memory; the range must be inside.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % WORD;
            let (now, later) = rest.split_at(rest.len().min(WORD - within));
            let mut word = self.memory.dma.read_u64(at - within).to_le_bytes();
            word[within..within + now.len()].copy_from_slice(now);
            self.memory
                .dma
                .write_u64(at - within, u64::from_le_bytes(word));
            at += now.len();
            rest = later;
        }
    }
}
