//! Attachment of virtio functions to the machine: [`PciDevice`] is a function
//! with its lock, [`Wires`] are its vectors, pin and doorbells on KVM.
//!
//! A doorbell that the guest writes becomes an event in the kernel; the event
//! loop then calls [`Doorbells::ring`]. So queues are served there and not on
//! a vCPU's thread.

use crate::console::{ConsoleInput, ConsoleOutput, RoomSignal};
use crate::interrupts::{Interrupts, MsiLine};
use crate::outcome::Outcome;
use crate::stop::StopSignal;
use board::address_map::intx_gsi;
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use pci::root_bus::BarRange;
use pci::{MsiMessage, PciFunction};
use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use virtio_console::VirtioConsole;
use virtio_device::{GuestMemory, VirtioDevice};
use virtio_pci::layout::{BAR_LEN, DOORBELL_LEN};
use virtio_pci::{Attachment, VirtioPci};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What the machine offers a function.
#[derive(Clone)]
pub struct Slot {
    /// The VM, for doorbells.
    pub vm: Arc<VmFd>,
    /// The machine's interrupts.
    pub interrupts: Arc<Interrupts>,
    /// Whom to tell if the kernel refuses something.
    pub stop: Arc<StopSignal>,
    /// The slot's number.
    pub number: u8,
    /// First address of the function's BAR.
    pub bar_start: u32,
}

impl Slot {
    /// A slot whose BAR is the `number`th of the PCI window.
    pub fn new(
        vm: Arc<VmFd>,
        interrupts: Arc<Interrupts>,
        stop: Arc<StopSignal>,
        number: u8,
    ) -> Self {
        let bar_start = board::address_map::PCI_WINDOW_START as u32 + u32::from(number) * BAR_LEN;
        Self {
            vm,
            interrupts,
            stop,
            number,
            bar_start,
        }
    }
}

/// A function's connections to the board.
pub struct Wires {
    slot: Slot,
    vectors: Vec<MsiLine>,
    doorbells: Arc<[EventFd]>,
    /// Where the kernel knows each doorbell to be.
    doorbells_at: Vec<Option<u64>>,
}

impl Wires {
    fn new(slot: Slot, vectors: usize, doorbells: Arc<[EventFd]>) -> io::Result<Self> {
        let vectors = (0..vectors)
            .map(|_| slot.interrupts.msi_line())
            .collect::<io::Result<_>>()?;
        let doorbells_at = vec![None; doorbells.len()];
        Ok(Self {
            slot,
            vectors,
            doorbells,
            doorbells_at,
        })
    }

    /// The kernel refused something that the guest needs: stop rather than
    /// let it wait for ever.
    fn check<E: Display>(&self, what: &str, result: Result<(), E>) {
        if let Err(error) = result {
            let message = format!("PCI slot {}: {what}: {error}", self.slot.number);
            self.slot.stop.request(Outcome::HostError(message));
        }
    }

    /// Moves one doorbell. The kernel refuses a place that another one has,
    /// as when a guest puts two BARs at one address; a doorbell that the
    /// kernel does not know rings on the vCPU's thread, just slower.
    fn move_doorbell(&mut self, queue: usize, to: Option<u64>) {
        let (Some(event), Some(at)) = (self.doorbells.get(queue), self.doorbells_at.get_mut(queue))
        else {
            return;
        };
        let vm = &self.slot.vm;
        if let Some(from) = at.take() {
            // It was registered there, so it can only be gone already.
            let _ = vm.unregister_ioevent(event, &IoEventAddress::Mmio(from), NoDatamatch);
        }
        *at = to.filter(|to| {
            vm.register_ioevent(event, &IoEventAddress::Mmio(*to), NoDatamatch)
                .is_ok()
        });
    }
}

impl Attachment for Wires {
    fn set_message(&mut self, vector: u16, message: MsiMessage) {
        let Some(line) = self.vectors.get_mut(usize::from(vector)) else {
            return;
        };
        let result = self.slot.interrupts.set_message(line, message);
        self.check("its interrupt message is refused", result);
    }

    fn send(&mut self, vector: u16) {
        if let Some(line) = self.vectors.get(usize::from(vector)) {
            line.signal();
        }
    }

    fn ring(&mut self, queue: usize) {
        if let Some(event) = self.doorbells.get(queue) {
            // A full counter is as loud as it gets.
            let _ = event.write(1);
        }
    }

    fn set_pin(&mut self, level: bool) {
        let number = self.slot.number;
        let result = self
            .slot
            .interrupts
            .set_level(intx_gsi(number), number.into(), level);
        self.check("its interrupt pin is refused", result);
    }

    fn set_doorbells(&mut self, address: Option<u64>) {
        for queue in 0..self.doorbells.len() {
            let to = address.map(|start| start + DOORBELL_LEN * queue as u64);
            self.move_doorbell(queue, to);
        }
    }
}

/// What the event loop needs of a function.
pub trait Doorbells: Send + Sync {
    /// One event a queue.
    fn events(&self) -> &[EventFd];
    /// The event of `queue` fired.
    fn ring(&self, queue: usize);
}

/// A virtio function in its slot.
pub struct PciDevice<D> {
    function: Mutex<VirtioPci<D, Wires>>,
    doorbells: Arc<[EventFd]>,
}

impl<D: VirtioDevice> PciDevice<D> {
    /// Puts `device` into `slot`.
    ///
    /// # Errors
    /// No eventfds can be had.
    pub fn new(device: D, slot: Slot, memory: GuestMemory) -> io::Result<Self> {
        let queues = device.queue_sizes().len();
        let doorbells = (0..queues)
            .map(|_| EventFd::new(EFD_NONBLOCK))
            .collect::<io::Result<Arc<[_]>>>()?;
        let (bar_start, line) = (slot.bar_start, intx_gsi(slot.number) as u8);
        let vectors = VirtioPci::<D, Wires>::vectors_for(queues);
        let wires = Wires::new(slot, vectors, doorbells.clone())?;
        let function = VirtioPci::new(device, wires, memory, bar_start, line);
        Ok(Self {
            function: Mutex::new(function),
            doorbells,
        })
    }

    fn lock(&self) -> MutexGuard<'_, VirtioPci<D, Wires>> {
        self.function.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: VirtioDevice> PciFunction for PciDevice<D> {
    fn config_read(&self, offset: usize, data: &mut [u8]) {
        self.lock().config_read(offset, data);
    }

    fn config_write(&self, offset: usize, data: &[u8]) -> bool {
        self.lock().config_write(offset, data)
    }

    fn bars(&self) -> Vec<BarRange> {
        self.lock().bars()
    }

    fn bar_read(&self, _bar: usize, offset: u64, data: &mut [u8]) {
        self.lock().bar_read(offset, data);
    }

    fn bar_write(&self, _bar: usize, offset: u64, data: &[u8]) {
        self.lock().bar_write(offset, data);
    }
}

impl<D: VirtioDevice> Doorbells for PciDevice<D> {
    fn events(&self) -> &[EventFd] {
        &self.doorbells
    }

    fn ring(&self, queue: usize) {
        if let Some(event) = self.doorbells.get(queue) {
            // Only clears the counter; if another ring came in, it is served.
            let _ = event.read();
            self.lock().notify(queue);
        }
    }
}

/// The virtio console as the console's input device.
pub struct ConsoleDevice {
    device: Arc<PciDevice<VirtioConsole<ConsoleOutput>>>,
    room: Arc<RoomSignal>,
}

impl ConsoleDevice {
    /// A console that tells by `room` when it takes input again.
    pub fn new(
        device: Arc<PciDevice<VirtioConsole<ConsoleOutput>>>,
        room: Arc<RoomSignal>,
    ) -> Self {
        Self { device, room }
    }
}

impl ConsoleInput for ConsoleDevice {
    fn offer(&self, input: &[u8]) -> usize {
        let mut function = self.device.lock();
        let taken = function.device_mut().offer(input);
        function.notify(virtio_console::RECEIVE);
        taken
    }
}

impl Doorbells for ConsoleDevice {
    fn events(&self) -> &[EventFd] {
        self.device.events()
    }

    fn ring(&self, queue: usize) {
        self.device.ring(queue);
        if self.device.lock().device().is_idle() {
            self.room.raise();
        }
    }
}
