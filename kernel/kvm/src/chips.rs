//! The interrupt controllers of a VM that its vCPUs share: [`Chips`]. The chips
//! themselves are pure and stand in the crate `irqchip`; here are their locks,
//! the way to the vCPUs, and the PIT's timer.

use crate::memory::VcpuList;
use crate::platform::{EventFile, Ring};
use crate::shared::{VcpuShared, request};
use abi::Errno;
use abi::kvm_irqchip::{
    IOAPIC_PINS, IRQCHIP_IOAPIC, IRQCHIP_PIC_MASTER, IRQCHIP_PIC_SLAVE, IoapicState, Irqchip,
    PicState, PitState2, RoutingEntry,
};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use irqchip::{
    Acknowledged, DestinationMap, Events, Ioapic, Message, Mode, Pic, PinMask, Pit, Routes,
    SharedLine, Target,
};
use sync::SpinLock;
use wait::{TimerId, TimerTarget};
use zerocopy::{FromBytes, IntoBytes};

/// Who drives a line: the bit in [`SharedLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// KVM_IRQ_LINE.
    Monitor = 0,
    /// Irqfds without resampling, and the PIT: they pulse.
    Pulse = 1,
    /// Irqfds with resampling.
    Resampled = 2,
}

/// The I/O APIC with its lines.
struct Lines {
    chip: Ioapic,
    pins: [SharedLine; IOAPIC_PINS],
}

/// The controllers.
pub struct Chips {
    pic: SpinLock<Pic>,
    pic_lines: SpinLock<[SharedLine; 16]>,
    /// The PIC's output, for vCPUs to look at without a lock.
    pic_output: AtomicBool,
    lines: SpinLock<Lines>,
    routes: SpinLock<Arc<Routes>>,
    destinations: SpinLock<Arc<DestinationMap>>,
    vcpus: SpinLock<VcpuList>,
    rotor: AtomicU8,
    resamplers: SpinLock<Vec<Arc<IrqFd>>>,
    pit: SpinLock<Option<Arc<PitUnit>>>,
}

impl Chips {
    /// As after power-up, with the standard routes.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(vcpus: VcpuList) -> Result<Self, Errno> {
        let routes = Routes::standard().map_err(|_| Errno::ENOMEM)?;
        let lines = Lines {
            chip: Ioapic::default(),
            pins: Default::default(),
        };
        Ok(Chips {
            pic: SpinLock::new(Pic::new()),
            pic_lines: SpinLock::new(Default::default()),
            pic_output: AtomicBool::new(false),
            lines: SpinLock::new(lines),
            routes: SpinLock::new(Arc::new(routes)),
            destinations: SpinLock::new(Arc::default()),
            vcpus: SpinLock::new(vcpus),
            rotor: AtomicU8::new(0),
            resamplers: SpinLock::new(Vec::new()),
            pit: SpinLock::new(None),
        })
    }

    /// The VM has more vCPUs, or a local APIC has another identity.
    pub fn rebuild(&self, vcpus: VcpuList) {
        let identities = vcpus
            .iter()
            .filter_map(|vcpu| Some((vcpu.index, vcpu.identity()?)));
        let map = Arc::new(DestinationMap::build(identities));
        *self.destinations.lock() = map;
        for vcpu in vcpus.iter() {
            vcpu.post(request::CONFIG);
        }
        *self.vcpus.lock() = vcpus;
    }

    /// Where messages go, as it is now.
    #[must_use]
    pub fn destinations(&self) -> Arc<DestinationMap> {
        self.destinations.lock().clone()
    }

    /// Delivers a message from a device. Whether anybody got it anew.
    pub fn send(&self, message: &Message) -> bool {
        let map = self.destinations();
        let vcpus = self.vcpus.lock().clone();
        self.send_over(message, &map, &vcpus, 0)
    }

    /// Delivers a message with what the sender has at hand.
    #[inline]
    pub fn send_over(
        &self,
        message: &Message,
        map: &DestinationMap,
        vcpus: &[Arc<VcpuShared>],
        sender: u8,
    ) -> bool {
        if let Some(index) = map.single(message.destination) {
            return vcpus
                .get(usize::from(index))
                .is_some_and(|vcpu| vcpu.deliver(message));
        }
        let targets = map.targets(message.destination, sender);
        if message.mode == Mode::LowestPriority {
            let rotor = self.rotor.fetch_add(1, Ordering::Relaxed);
            let picked = targets
                .pick(rotor)
                .and_then(|index| vcpus.get(usize::from(index)));
            return picked.is_some_and(|vcpu| vcpu.deliver(message));
        }
        let mut any = false;
        for index in targets {
            any |= vcpus
                .get(usize::from(index))
                .is_some_and(|vcpu| vcpu.deliver(message));
        }
        any
    }

    /// Sets the level of a GSI. Whether an interrupt was delivered.
    pub fn set_gsi(&self, gsi: u32, source: Source, level: bool) -> bool {
        let routes = self.routes.lock().clone();
        let mut delivered = false;
        for target in routes.targets(gsi) {
            delivered |= match target {
                Target::Pic(pin) => self.set_pic_line(pin, source, level),
                Target::Ioapic(pin) => self.set_ioapic_line(usize::from(pin), source, level),
                Target::Message(message) => level && self.send(&message),
            };
        }
        delivered
    }

    /// Raises a GSI and lets it go.
    pub fn pulse_gsi(&self, gsi: u32) -> bool {
        let delivered = self.set_gsi(gsi, Source::Pulse, true);
        self.set_gsi(gsi, Source::Pulse, false);
        delivered
    }

    fn set_pic_line(&self, pin: u8, source: Source, level: bool) -> bool {
        let level = match self.pic_lines.lock().get_mut(usize::from(pin)) {
            Some(line) => line.set(source as u8, level),
            None => return false,
        };
        let mut pic = self.pic.lock();
        pic.set_line(pin, level);
        self.pic_changed(&pic)
    }

    /// Tells the bootstrap processor if the PIC wants it. The lock is held so
    /// that outputs are published in order.
    fn pic_changed(&self, pic: &Pic) -> bool {
        let output = pic.output();
        let before = self.pic_output.swap(output, Ordering::AcqRel);
        if output && !before {
            let first = self.vcpus.lock().first().cloned();
            if let Some(vcpu) = first {
                vcpu.post(Events::EXTINT);
            }
        }
        output
    }

    /// Whether the PIC wants to interrupt.
    #[inline]
    #[must_use]
    pub fn pic_output(&self) -> bool {
        self.pic_output.load(Ordering::Acquire)
    }

    /// The processor acknowledges the PIC.
    pub fn acknowledge_pic(&self) -> u8 {
        let Acknowledged { vector, ended, .. } = {
            let mut pic = self.pic.lock();
            let acknowledged = pic.acknowledge();
            self.pic_output.store(pic.output(), Ordering::Release);
            acknowledged
        };
        self.pic_ended(ended);
        vector
    }

    fn set_ioapic_line(&self, pin: usize, source: Source, level: bool) -> bool {
        let message = {
            let mut lines = self.lines.lock();
            let Some(line) = lines.pins.get_mut(pin) else {
                return false;
            };
            let level = line.set(source as u8, level);
            lines.chip.set_line(pin, level)
        };
        message.is_some_and(|message| self.send(&message))
    }

    /// A level-triggered vector has ended at a local APIC.
    pub fn end_of_interrupt(&self, vector: u8) {
        let pins = self.lines.lock().chip.eoi(vector);
        for pin in pins {
            self.resample(Target::Ioapic(pin as u8));
            self.redeliver(PinMask(1 << pin));
        }
    }

    fn redeliver(&self, pins: PinMask) {
        for pin in pins {
            let message = self.lines.lock().chip.redeliver(pin);
            if let Some(message) = message {
                self.send(&message);
            }
        }
    }

    fn pic_ended(&self, mut ended: u16) {
        while ended != 0 {
            self.resample(Target::Pic(ended.trailing_zeros() as u8));
            ended &= ended - 1;
        }
    }

    /// Lowers the lines that resampling irqfds drive at this pin, and tells
    /// their owners.
    fn resample(&self, target: Target) {
        if self.resamplers.lock().is_empty() {
            return;
        }
        let routes = self.routes.lock().clone();
        for gsi in routes.sources(target) {
            let mut index = 0;
            loop {
                let next = {
                    let list = self.resamplers.lock();
                    let found = list.iter().skip(index).find(|irqfd| irqfd.gsi == gsi);
                    index += 1;
                    found.cloned()
                };
                let Some(irqfd) = next else { break };
                self.set_gsi(gsi, Source::Resampled, false);
                if let Some(event) = &irqfd.resample {
                    event.signal();
                }
            }
        }
    }

    /// Reads a port of the PIC or the PIT; `None` for others.
    pub fn read_port(&self, port: u16, size: u8) -> Option<u64> {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => {
                let mut value = 0;
                for byte in 0..u16::from(size.min(2)) {
                    let (read, ended) = self.pic.lock().read(port + byte);
                    value |= u64::from(read) << (8 * byte);
                    self.pic_ended(ended);
                }
                self.pic_output
                    .store(self.pic.lock().output(), Ordering::Release);
                Some(value)
            }
            0x40..=0x43 | 0x61 => self.pit()?.read(port),
            _ => None,
        }
    }

    /// Writes a port of the PIC or the PIT. Whether it is one.
    pub fn write_port(&self, port: u16, size: u8, value: u64) -> bool {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => {
                for byte in 0..u16::from(size.min(2)) {
                    let ended = {
                        let mut pic = self.pic.lock();
                        let ended = pic.write(port + byte, (value >> (8 * byte)) as u8);
                        self.pic_changed(&pic);
                        ended
                    };
                    self.pic_ended(ended);
                }
                true
            }
            0x40..=0x43 | 0x61 => self.pit().is_some_and(|pit| pit.write(port, value as u8)),
            _ => false,
        }
    }

    /// The I/O APIC's window.
    #[must_use]
    pub fn ioapic_base(&self) -> u64 {
        self.lines.lock().chip.base()
    }

    /// Reads a register of the I/O APIC.
    #[must_use]
    pub fn read_ioapic(&self, offset: u32) -> u32 {
        self.lines.lock().chip.read(offset)
    }

    /// Writes a register of the I/O APIC.
    pub fn write_ioapic(&self, offset: u32, value: u32) {
        let message = self.lines.lock().chip.write(offset, value);
        if let Some(message) = message {
            self.send(&message);
        }
    }

    /// SET_GSI_ROUTING.
    ///
    /// # Errors
    /// EINVAL for a wrong entry, ENOMEM.
    pub fn set_routes(&self, entries: &[RoutingEntry]) -> Result<(), Errno> {
        let routes = Routes::new(entries).map_err(|error| match error {
            irqchip::RouteError::Memory => Errno::ENOMEM,
            _ => Errno::EINVAL,
        })?;
        *self.routes.lock() = Arc::new(routes);
        Ok(())
    }

    /// GET_IRQCHIP.
    ///
    /// # Errors
    /// EINVAL for an unknown chip.
    pub fn state(&self, chip: &mut Irqchip) -> Result<(), Errno> {
        match chip.chip_id {
            IRQCHIP_PIC_MASTER => put(&mut chip.chip, &self.pic.lock().state(false)),
            IRQCHIP_PIC_SLAVE => put(&mut chip.chip, &self.pic.lock().state(true)),
            IRQCHIP_IOAPIC => put(&mut chip.chip, &self.lines.lock().chip.state()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// SET_IRQCHIP.
    ///
    /// # Errors
    /// EINVAL for an unknown chip.
    pub fn set_state(&self, chip: &Irqchip) -> Result<(), Errno> {
        match chip.chip_id {
            IRQCHIP_PIC_MASTER | IRQCHIP_PIC_SLAVE => {
                let (state, _) =
                    PicState::read_from_prefix(&chip.chip).map_err(|_| Errno::EINVAL)?;
                let mut pic = self.pic.lock();
                pic.set_state(chip.chip_id == IRQCHIP_PIC_SLAVE, &state);
                self.pic_changed(&pic);
            }
            IRQCHIP_IOAPIC => {
                let (state, _) =
                    IoapicState::read_from_prefix(&chip.chip).map_err(|_| Errno::EINVAL)?;
                let pins = self.lines.lock().chip.set_state(&state);
                self.redeliver(pins);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// The PIT, if it was created.
    #[must_use]
    pub fn pit(&self) -> Option<Arc<PitUnit>> {
        self.pit.lock().clone()
    }

    /// CREATE_PIT2.
    ///
    /// # Errors
    /// EEXIST.
    pub fn create_pit(self: &Arc<Self>, speaker: bool) -> Result<(), Errno> {
        let mut slot = self.pit.lock();
        if slot.is_some() {
            return Err(Errno::EEXIST);
        }
        let chips = Arc::downgrade(self);
        *slot = Some(Arc::new_cyclic(|this| PitUnit {
            pit: SpinLock::new(Pit::new()),
            timer: SpinLock::new(None),
            chips,
            this: this.clone(),
            speaker,
        }));
        Ok(())
    }
}

fn put(room: &mut [u8; 512], state: &(impl IntoBytes + zerocopy::Immutable)) -> Result<(), Errno> {
    room.fill(0);
    state.write_to_prefix(room).map_err(|_| Errno::EINVAL)
}

/// The PIT with its timer.
pub struct PitUnit {
    pit: SpinLock<Pit>,
    timer: SpinLock<Option<TimerId>>,
    chips: Weak<Chips>,
    this: Weak<PitUnit>,
    /// Port 61h is here too.
    speaker: bool,
}

impl PitUnit {
    fn read(&self, port: u16) -> Option<u64> {
        if port == 0x61 && !self.speaker {
            return None;
        }
        Some(u64::from(self.pit.lock().read(port, wait::now_ns())))
    }

    fn write(&self, port: u16, value: u8) -> bool {
        if port == 0x61 && !self.speaker {
            return false;
        }
        self.pit.lock().write(port, value, wait::now_ns());
        self.arm();
        true
    }

    fn arm(&self) {
        let deadline = self.pit.lock().deadline();
        let mut timer = self.timer.lock();
        if let Some(old) = timer.take() {
            wait::scheduler().cancel(old);
        }
        *timer = deadline.map(|at| {
            let target: Weak<dyn TimerTarget> = self.this.clone();
            wait::scheduler().arm(at, target)
        });
    }

    /// GET_PIT2.
    #[must_use]
    pub fn state(&self) -> PitState2 {
        self.pit.lock().state()
    }

    /// SET_PIT2.
    pub fn set_state(&self, state: &PitState2) {
        self.pit.lock().set_state(state, wait::now_ns());
        self.arm();
    }
}

impl TimerTarget for PitUnit {
    fn expired(&self, now_ns: u64) {
        let fired = self.pit.lock().expire(now_ns);
        if fired && let Some(chips) = self.chips.upgrade() {
            chips.pulse_gsi(0);
        }
        let deadline = self.pit.lock().deadline();
        *self.timer.lock() = deadline.map(|at| {
            let target: Weak<dyn TimerTarget> = self.this.clone();
            wait::scheduler().arm(at, target)
        });
    }
}

impl Drop for PitUnit {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.lock().take() {
            wait::scheduler().cancel(timer);
        }
    }
}

/// An eventfd tied to a GSI.
pub struct IrqFd {
    /// The GSI.
    pub gsi: u32,
    /// The eventfd.
    pub event: Arc<dyn EventFile>,
    /// Signalled when the guest has acknowledged a level-triggered interrupt.
    pub resample: Option<Arc<dyn EventFile>>,
    chips: Weak<Chips>,
}

impl Ring for IrqFd {
    fn ring(&self) {
        let Some(chips) = self.chips.upgrade() else {
            return;
        };
        self.event.consume();
        if self.resample.is_some() {
            chips.set_gsi(self.gsi, Source::Resampled, true);
        } else {
            chips.pulse_gsi(self.gsi);
        }
    }
}

/// An irqfd with its subscription to the eventfd.
pub struct IrqFdTie {
    irqfd: Arc<IrqFd>,
    _subscription: Box<dyn Send + Sync>,
}

impl IrqFdTie {
    /// Ties `event` to `gsi`. If it is signalled already, the GSI rises at once.
    #[must_use]
    pub fn new(
        chips: &Arc<Chips>,
        gsi: u32,
        event: Arc<dyn EventFile>,
        resample: Option<Arc<dyn EventFile>>,
    ) -> Self {
        let irqfd = Arc::new(IrqFd {
            gsi,
            event: event.clone(),
            resample,
            chips: Arc::downgrade(chips),
        });
        if irqfd.resample.is_some() {
            chips.resamplers.lock().push(irqfd.clone());
        }
        let weak: Weak<dyn Ring> = Arc::downgrade(&irqfd) as Weak<dyn Ring>;
        let subscription = event.subscribe(weak);
        if event.consume() {
            irqfd.ring();
        }
        IrqFdTie {
            irqfd,
            _subscription: subscription,
        }
    }

    /// Whether this ties that eventfd to that GSI.
    #[must_use]
    pub fn is(&self, gsi: u32, event: &dyn EventFile) -> bool {
        self.irqfd.gsi == gsi && self.irqfd.event.identity() == event.identity()
    }

    /// Whether this ties that eventfd to any GSI.
    #[must_use]
    pub fn uses(&self, event: &dyn EventFile) -> bool {
        self.irqfd.event.identity() == event.identity()
    }
}

impl Drop for IrqFdTie {
    fn drop(&mut self) {
        if let Some(chips) = self.irqfd.chips.upgrade() {
            chips
                .resamplers
                .lock()
                .retain(|other| !Arc::ptr_eq(other, &self.irqfd));
            if self.irqfd.resample.is_some() {
                chips.set_gsi(self.irqfd.gsi, Source::Resampled, false);
            }
        }
    }
}
