//! The function: [`VirtioPci`] ties the registers to the device and says
//! through [`Attachment`] what the board is to do.

use crate::capabilities::{self, Offsets};
use crate::common::{Common, CommonEffect, EVENT_INDEX, NO_VECTOR};
use crate::layout::{self, Region, region};
use pci::msix::Live;
use pci::root_bus::BarRange;
use pci::{ConfigSpace, MsiMessage, Msix};
use virtio_device::{GuestMemory, VirtQueue, VirtioDevice};
use virtio_queue::QueueT;

const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;
/// Registers of the window capability, from its start.
const WINDOW_BAR: usize = 4;
const WINDOW_OFFSET: usize = 8;
const WINDOW_LEN: usize = 12;
const WINDOW_DATA: usize = 16;

/// What a function does to the board.
pub trait Attachment: Send {
    /// A vector has this message from now on.
    fn set_message(&mut self, vector: u16, message: MsiMessage);
    /// Send a vector's message.
    fn send(&mut self, vector: u16);
    /// Ring a queue's doorbell, as the driver would: there is more to do.
    fn ring(&mut self, queue: usize);
    /// Drive the interrupt pin.
    fn set_pin(&mut self, level: bool);
    /// The doorbells are at this address, or nowhere.
    fn set_doorbells(&mut self, address: Option<u64>);
}

/// A PCI function around a virtio device.
pub struct VirtioPci<D, A> {
    device: D,
    attachment: A,
    memory: GuestMemory,
    space: ConfigSpace,
    offsets: Offsets,
    common: Common,
    msix: Msix,
    queues: Vec<VirtQueue>,
    isr: u8,
    doorbells: Option<u64>,
}

impl<D: VirtioDevice, A: Attachment> VirtioPci<D, A> {
    /// Puts `device` on PCI: its BAR at `bar_start`, its pin on `line`.
    pub fn new(device: D, attachment: A, memory: GuestMemory, bar_start: u32, line: u8) -> Self {
        let queues: Vec<_> = device
            .queue_sizes()
            .iter()
            .map(|size| VirtQueue::new(*size))
            .collect();
        // One vector a queue and one for configuration changes.
        let msix = Msix::new(queues.len() as u16 + 1);
        let common = Common::new(device.features(), queues.len(), msix.vectors());
        let (space, offsets) = capabilities::build(device.device_type(), &msix, bar_start, line);
        Self {
            device,
            attachment,
            memory,
            space,
            offsets,
            common,
            msix,
            queues,
            isr: 0,
            doorbells: None,
        }
    }

    /// Vectors that a device with `queues` queues has.
    pub fn vectors_for(queues: usize) -> usize {
        queues + 1
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to give it work; then [`notify`](Self::notify) a queue.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    #[cfg(test)]
    pub(crate) fn attachment_for_tests(&self) -> &A {
        &self.attachment
    }

    /// Where the BAR answers.
    pub fn bars(&self) -> Vec<BarRange> {
        let bar = self.space.memory_bar(layout::BAR);
        bar.map(|(start, len)| BarRange {
            bar: layout::BAR,
            start,
            len,
        })
        .into_iter()
        .collect()
    }

    /// Reads configuration space.
    pub fn config_read(&mut self, offset: usize, data: &mut [u8]) {
        if let Some((at, len)) = self.window_access(offset, data.len()) {
            self.bar_read(at, &mut data[..len]);
            return;
        }
        self.space.read(offset, data);
    }

    /// Writes configuration space; true if the BAR may have moved.
    pub fn config_write(&mut self, offset: usize, data: &[u8]) -> bool {
        let changes = self.space.write(offset, data);
        if changes.capabilities {
            let control = self.space.u16_at(self.offsets.msix_control);
            let live = self.msix.set_control(control);
            self.announce(live);
            if let Some((at, len)) = self.window_access(offset, data.len()) {
                self.bar_write(at, &data[..len]);
            }
        }
        self.update_pin();
        if changes.bars {
            let doorbells = self
                .space
                .memory_bar(layout::BAR)
                .map(|(start, _)| start + layout::DOORBELLS);
            if doorbells != self.doorbells {
                self.doorbells = doorbells;
                self.attachment.set_doorbells(doorbells);
            }
        }
        changes.bars
    }

    /// The offset into the BAR that an access to the window's data means.
    fn window_access(&self, offset: usize, len: usize) -> Option<(u64, usize)> {
        let start = self.offsets.window;
        let mut bar = [0];
        self.space.read(start + WINDOW_BAR, &mut bar);
        let wanted = self.space.u32_at(start + WINDOW_LEN) as usize;
        let is_data = offset == start + WINDOW_DATA && usize::from(bar[0]) == layout::BAR;
        let is_width = matches!(wanted, 1 | 2 | 4) && wanted <= len;
        let at = self.space.u32_at(start + WINDOW_OFFSET);
        (is_data && is_width && at < layout::BAR_LEN).then_some((u64::from(at), wanted))
    }

    /// Reads inside the BAR.
    pub fn bar_read(&mut self, offset: u64, data: &mut [u8]) {
        match region(offset) {
            Region::Common(at) => self.common.read(at, data, &self.queues),
            Region::Isr => {
                data.fill(0);
                if let Some(first) = data.first_mut() {
                    *first = std::mem::take(&mut self.isr);
                }
                self.update_pin();
            }
            Region::Device(at) => self.device.read_config(at, data),
            Region::MsixTable(at) => self.msix.read_table(at, data),
            Region::MsixPending(at) => self.msix.read_pending(at, data),
            Region::Doorbell(_) | Region::Hole => data.fill(0),
        }
    }

    /// Writes inside the BAR.
    pub fn bar_write(&mut self, offset: u64, data: &[u8]) {
        match region(offset) {
            Region::Common(at) => match self.common.write(at, data, &mut self.queues) {
                CommonEffect::None => {}
                CommonEffect::Reset => self.reset(),
                CommonEffect::Activate => self.activate(),
            },
            Region::Device(at) => self.device.write_config(at, data),
            Region::Doorbell(queue) => self.notify(queue),
            Region::MsixTable(at) => {
                let live = self.msix.write_table(at, data);
                self.announce(live);
            }
            Region::Isr | Region::MsixPending(_) | Region::Hole => {}
        }
    }

    /// Lets the device work on a queue: its doorbell rang, or the device has
    /// something for it. Nothing happens before the driver is ready.
    pub fn notify(&mut self, index: usize) {
        let is_live = self.common.is_live();
        let Some(queue) = self
            .queues
            .get_mut(index)
            .filter(|q| is_live && q.ring().ready())
        else {
            return;
        };
        match self.device.process(index, queue, &self.memory) {
            Ok(served) => {
                if served.wants_interrupt {
                    self.interrupt(self.common.queue_vectors[index], ISR_QUEUE);
                }
                if served.has_more {
                    self.attachment.ring(index);
                }
            }
            Err(_) => self.fail(),
        }
    }

    fn activate(&mut self) {
        let features = self.common.features();
        for queue in &mut self.queues {
            queue.ring_mut().set_event_idx(features & EVENT_INDEX != 0);
            if queue.ring().ready() && !queue.is_usable(&self.memory) {
                self.fail();
                return;
            }
        }
        self.device.activate(features);
        for index in 0..self.queues.len() {
            self.notify(index);
        }
    }

    /// The driver broke the rules: stop until it resets the device.
    fn fail(&mut self) {
        self.common.set_needs_reset();
        self.interrupt(self.common.config_vector, ISR_CONFIG);
    }

    fn reset(&mut self) {
        self.common.reset();
        self.device.reset();
        for queue in &mut self.queues {
            queue.ring_mut().reset();
        }
        self.isr = 0;
        self.update_pin();
    }

    fn interrupt(&mut self, vector: u16, isr: u8) {
        if !self.msix.is_enabled() {
            self.isr |= isr;
            self.update_pin();
        } else if vector != NO_VECTOR && self.msix.signal(vector) {
            self.attachment.send(vector);
        }
    }

    fn announce(&mut self, live: impl IntoIterator<Item = Live>) {
        for Live {
            vector,
            message,
            send,
        } in live
        {
            self.attachment.set_message(vector, message);
            if send {
                self.attachment.send(vector);
            }
        }
    }

    /// The pin follows the interrupt status, unless MSI-X is in use.
    fn update_pin(&mut self) {
        let is_asserted = self.isr != 0 && !self.msix.is_enabled();
        let level = self.space.set_interrupt_status(is_asserted);
        self.attachment.set_pin(level);
    }
}
