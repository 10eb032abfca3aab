//! [`Queue`]: requests out, completions in (virtio 1.2, sections 2.7.13, 2.7.14).
//!
//! A driver calls [`Queue::add`] for each request, then [`Queue::publish`]
//! once, and tells the device if that says so. On an interrupt it calls
//! [`Queue::pop`] until that returns `None`, then [`Queue::enable_interrupts`],
//! and pops again if that says that more arrived meanwhile.

use core::sync::atomic::{Ordering, fence};

use crate::layout::DESCRIPTOR;
use crate::slots::Slots;
use crate::{AddError, DeviceError, Layout, LayoutError, QueueMemory, Segment};

const FLAG_NEXT: u64 = 1 << 32;
const FLAG_WRITE: u64 = 1 << 33;
const FLAG_INDIRECT: u64 = 1 << 34;
/// In the available ring's flags: send no interrupts.
const NO_INTERRUPT: u16 = 1;
/// In the used ring's flags: send no notifications.
const NO_NOTIFY: u16 = 1;

/// What was negotiated with the device and concerns the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFeatures {
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: bool,
    /// VIRTIO_F_EVENT_IDX.
    pub event_index: bool,
}

/// A request that the device is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion<T> {
    /// The id that [`Queue::add`] returned; free again.
    pub id: u16,
    /// What the request was added with.
    pub token: T,
    /// Bytes that the device says it wrote, at most what the request allowed.
    pub written: u32,
}

/// A request that was not queued, with its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected<T> {
    /// Why.
    pub error: AddError,
    /// What the request came with.
    pub token: T,
}

/// One split virtqueue, seen from the driver. `T` is what the caller wants
/// back with a request's completion.
pub struct Queue<M, T> {
    memory: M,
    layout: Layout,
    features: QueueFeatures,
    slots: Slots<T>,
    /// Requests placed in the ring, published or not; wraps.
    available: u16,
    /// How far the device was shown; wraps.
    published: u16,
    /// Completions taken; wraps.
    taken: u16,
    /// The device's used index when it was last read; wraps.
    seen: u16,
    broken: Option<DeviceError>,
}

impl<M: QueueMemory, T> Queue<M, T> {
    /// An empty queue in `memory`, whose contents are lost.
    ///
    /// # Errors
    /// [`LayoutError::Memory`] if the memory is too short.
    pub fn new(memory: M, layout: Layout, features: QueueFeatures) -> Result<Self, LayoutError> {
        let (found, needed) = (memory.length(), layout.length());
        if found < needed {
            return Err(LayoutError::Memory { found, needed });
        }
        let slots = Slots::new(layout.size());
        let mut queue = Self {
            memory,
            layout,
            features,
            slots,
            available: 0,
            published: 0,
            taken: 0,
            seen: 0,
            broken: None,
        };
        queue.clear();
        Ok(queue)
    }

    /// Brings shared memory and indices to their state after a device reset.
    fn clear(&mut self) {
        let end = self.layout.indirect_table(0);
        (0..end)
            .step_by(8)
            .for_each(|offset| self.memory.write_u64(offset, 0));
        (self.available, self.published, self.taken, self.seen) = (0, 0, 0, 0);
        self.broken = None;
    }

    /// Starts over after the device was reset. Requests still in flight must
    /// have been taken with [`Queue::take_oldest`].
    ///
    /// # Panics
    /// If requests are in flight: their completions would be lost.
    pub fn reset(&mut self) {
        assert_eq!(
            self.slots.in_flight(),
            0,
            "invariant: a queue is reset when it is empty"
        );
        self.clear();
    }

    /// Where the parts lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The shared memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Addresses of descriptor table, available ring and used ring, as the
    /// device sees them.
    pub fn addresses(&self) -> [u64; 3] {
        let parts = [
            self.layout.descriptors(),
            self.layout.available(),
            self.layout.used(),
        ];
        parts.map(|offset| self.memory.device_address(offset))
    }

    /// Requests that the device has not completed.
    pub fn in_flight(&self) -> u16 {
        self.slots.in_flight()
    }

    /// The id that the next request will get, or `None` if the queue is full.
    /// A driver keeps its per-request memory by it.
    pub fn next_id(&self) -> Option<u16> {
        (self.slots.free_count() > 0).then(|| self.slots.free_head())
    }

    /// The most segments that one request may have.
    pub fn max_segments(&self) -> u16 {
        if self.uses_indirect() {
            self.layout.segments()
        } else {
            self.layout.size()
        }
    }

    fn uses_indirect(&self) -> bool {
        self.features.indirect && self.layout.segments() > 0
    }

    /// What the device did that stopped the queue, if anything.
    pub fn broken(&self) -> Option<DeviceError> {
        self.broken
    }

    /// Begins a request. Nothing of it is queued before [`Draft::finish`].
    ///
    /// # Errors
    /// [`AddError::Full`] or [`AddError::Broken`].
    #[inline]
    pub fn begin(&mut self) -> Result<Draft<'_, M, T>, AddError> {
        if self.broken.is_some() {
            return Err(AddError::Broken);
        }
        let head = self.next_id().ok_or(AddError::Full)?;
        let table = match self.uses_indirect() {
            true => Some(self.layout.indirect_table(head)),
            false => None,
        };
        Ok(Draft {
            table,
            last: None,
            at: head,
            count: 0,
            writable: 0,
            queue: self,
        })
    }

    /// Queues a request of `segments`, those the device reads first. The
    /// device sees it after [`Queue::publish`]. Returns the request's id.
    ///
    /// # Errors
    /// [`Rejected`] with the token; the device sees nothing.
    pub fn add(
        &mut self,
        segments: impl IntoIterator<Item = Segment>,
        token: T,
    ) -> Result<u16, Rejected<T>> {
        let mut draft = match self.begin() {
            Ok(draft) => draft,
            Err(error) => return Err(Rejected { error, token }),
        };
        for segment in segments {
            if let Err(error) = draft.push(segment) {
                return Err(Rejected { error, token });
            }
        }
        draft.finish(token)
    }

    #[inline]
    fn write_descriptor(&self, offset: usize, segment: Segment, next: Option<u16>) {
        let mut word = u64::from(segment.length);
        if segment.device_writes {
            word |= FLAG_WRITE;
        }
        if let Some(next) = next {
            word |= FLAG_NEXT | u64::from(next) << 48;
        }
        self.memory.write_u64(offset, segment.address);
        self.memory.write_u64(offset + 8, word);
    }

    /// Shows all queued requests to the device. Returns whether the device
    /// wants to be told.
    #[must_use = "a device that is not told does not look"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.available);
        if old == new {
            return false;
        }
        fence(Ordering::Release);
        self.memory.write_u16(self.layout.available_index(), new);
        self.published = new;
        // The index must be visible before the device's wish is read, or both
        // sides could wait for each other.
        fence(Ordering::SeqCst);
        if self.features.event_index {
            passes(
                self.memory.read_u16(self.layout.available_event()),
                old,
                new,
            )
        } else {
            self.memory.read_u16(self.layout.used()) & NO_NOTIFY == 0
        }
    }

    /// Takes one completion, if there is one.
    ///
    /// # Errors
    /// [`DeviceError`] if the device broke the rules: the queue is then
    /// stopped, repeats the error, and keeps the requests for
    /// [`Queue::take_oldest`].
    pub fn pop(&mut self) -> Result<Option<Completion<T>>, DeviceError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if self.seen == self.taken && !self.look()? {
            return Ok(None);
        }
        let element = self.memory.read_u64(self.layout.used_entry(self.taken));
        let (id, written) = (element as u32, (element >> 32) as u32);
        match self.slots.complete(id, written) {
            Ok((id, token)) => {
                self.taken = self.taken.wrapping_add(1);
                Ok(Some(Completion { id, token, written }))
            }
            Err(error) => Err(self.stop(error)),
        }
    }

    /// Reads the device's used index; whether it moved.
    fn look(&mut self) -> Result<bool, DeviceError> {
        let found = self.memory.read_u16(self.layout.used_index());
        fence(Ordering::Acquire);
        let (taken, in_flight) = (self.taken, self.slots.in_flight());
        // What is queued but not published cannot be done.
        let hidden = self.available.wrapping_sub(self.published);
        if found.wrapping_sub(taken) > in_flight - hidden {
            return Err(self.stop(DeviceError::UsedIndex {
                found,
                taken,
                in_flight,
            }));
        }
        self.seen = found;
        Ok(found != taken)
    }

    fn stop(&mut self, error: DeviceError) -> DeviceError {
        self.broken = Some(error);
        error
    }

    /// Takes back the request that was added first, for a device that is
    /// reset or gone: call it until it returns `None` to have them in order.
    /// The device must not be able to reach their memory any more.
    pub fn take_oldest(&mut self) -> Option<(u16, T)> {
        self.slots.take_oldest()
    }

    /// Asks the device for an interrupt at its next completion. Returns
    /// whether completions are there already: the caller pops again then.
    #[must_use = "completions that are already there cause no interrupt"]
    pub fn enable_interrupts(&mut self) -> bool {
        if self.features.event_index {
            self.memory.write_u16(self.layout.used_event(), self.taken);
        } else {
            self.memory.write_u16(self.layout.available(), 0);
        }
        fence(Ordering::SeqCst);
        self.memory.read_u16(self.layout.used_index()) != self.taken
    }

    /// Tells the device that interrupts are not needed; some may still come.
    pub fn disable_interrupts(&mut self) {
        if self.features.event_index {
            // The index just passed: it is reached again after 65,535 completions.
            self.memory
                .write_u16(self.layout.used_event(), self.taken.wrapping_sub(1));
        } else {
            self.memory.write_u16(self.layout.available(), NO_INTERRUPT);
        }
    }
}

/// A request that is being put together. Dropping it leaves no trace.
pub struct Draft<'a, M, T> {
    queue: &'a mut Queue<M, T>,
    /// Offset of the indirect table, if there is one.
    table: Option<usize>,
    /// The newest segment, written when it is known whether another follows.
    last: Option<Segment>,
    /// The entry of `last`, or the first one: an index into the indirect
    /// table, or a descriptor.
    at: u16,
    count: u16,
    writable: u32,
}

impl<M: QueueMemory, T> Draft<'_, M, T> {
    /// Appends a segment; those the device reads come first.
    ///
    /// # Errors
    /// [`AddError`]; the draft is to be dropped then.
    #[inline]
    pub fn push(&mut self, segment: Segment) -> Result<(), AddError> {
        if segment.length == 0 {
            return Err(AddError::EmptySegment);
        }
        if segment.device_writes {
            self.writable = self
                .writable
                .checked_add(segment.length)
                .ok_or(AddError::TooLong)?;
        }
        match self.last {
            Some(last) if last.device_writes && !segment.device_writes => {
                return Err(AddError::ReadAfterWrite);
            }
            Some(last) => self.link(last)?,
            // The indirect table is filled from its beginning.
            None if self.table.is_some() => self.at = 0,
            None => {}
        }
        self.last = Some(segment);
        self.count += 1;
        Ok(())
    }

    /// Writes `last` with a link to the entry that follows it.
    #[inline]
    fn link(&mut self, last: Segment) -> Result<(), AddError> {
        let allowed = self.queue.max_segments();
        if self.count >= allowed {
            return Err(AddError::TooManySegments { allowed });
        }
        let (offset, next) = match self.table {
            Some(table) => (table + usize::from(self.at) * DESCRIPTOR, self.at + 1),
            None if self.count >= self.queue.slots.free_count() => return Err(AddError::Full),
            None => (
                self.queue.layout.descriptor(self.at),
                self.queue.slots.next(self.at),
            ),
        };
        self.queue.write_descriptor(offset, last, Some(next));
        self.at = next;
        Ok(())
    }

    /// Queues the request; the device sees it after [`Queue::publish`].
    /// Returns its id.
    ///
    /// # Errors
    /// [`Rejected`] with [`AddError::Empty`] if it has no segment.
    #[inline]
    pub fn finish(self, token: T) -> Result<u16, Rejected<T>> {
        let Self {
            queue,
            table,
            last,
            at,
            count,
            writable,
        } = self;
        let Some(last) = last else {
            return Err(Rejected {
                error: AddError::Empty,
                token,
            });
        };
        let (layout, head) = (queue.layout, queue.slots.free_head());
        let (descriptors, tail) = match table {
            // A table of one entry would only cost the device a read.
            Some(_) if count == 1 => {
                queue.write_descriptor(layout.descriptor(head), last, None);
                (1, head)
            }
            Some(table) => {
                queue.write_descriptor(table + usize::from(at) * DESCRIPTOR, last, None);
                let length = u64::from(count) * DESCRIPTOR as u64;
                let offset = layout.descriptor(head);
                queue
                    .memory
                    .write_u64(offset, queue.memory.device_address(table));
                queue.memory.write_u64(offset + 8, length | FLAG_INDIRECT);
                (1, head)
            }
            None => {
                queue.write_descriptor(layout.descriptor(at), last, None);
                (count, at)
            }
        };
        queue.slots.take(descriptors, tail, writable, token);
        queue
            .memory
            .write_u16(layout.available_entry(queue.available), head);
        queue.available = queue.available.wrapping_add(1);
        Ok(head)
    }
}

/// Whether moving an index from `old` to `new` passes `event` (virtio 1.2,
/// section 2.7.10).
pub(crate) fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn an_event_is_passed_once() {
        assert!(passes(5, 5, 6));
        assert!(passes(5, 3, 6));
        assert!(!passes(5, 6, 7));
        assert!(!passes(5, 3, 5));
        assert!(passes(0xffff, 0xfffe, 0));
        assert!(!passes(0, 0xfffe, 0));
    }
}
