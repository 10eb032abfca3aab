//! Requests of a VM, one function each.

use crate::chips::{Chips, IrqFdTie, Source};
use crate::platform::{EventFile, Monitor, Platform};
use crate::system::{check_extension, read_list, read_value, write_value};
use crate::vm::Vm;
use abi::Errno;
use abi::kvm;
use abi::kvm_irqchip::{
    Irqchip, PIT_SPEAKER_DUMMY, PitConfig, PitState2, RoutingEntry, RoutingHeader,
};
use abi::kvm_vm::{
    ClockData, DirtyLog, IoEventFd, IrqFd, IrqLevel, Msi, ReinjectControl, UserspaceMemoryRegion,
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use irqchip::Message;
use zerocopy::IntoBytes;

impl<P: Platform> Vm<P> {
    /// A request of a VM other than CREATE_VCPU.
    ///
    /// # Errors
    /// ENOTTY for a request that is not known,
    /// and those of the request.
    // LONG: a flat table of requests.
    pub fn request(
        &self,
        monitor: &dyn Monitor,
        request: u32,
        argument: u64,
    ) -> Result<u64, Errno> {
        match request {
            kvm::CHECK_EXTENSION => Ok(check_extension::<P>(argument)),
            kvm::SET_USER_MEMORY_REGION => {
                let region: UserspaceMemoryRegion = read_value(monitor, argument)?;
                let _changing = self.changing.lock();
                self.memory.set_region(region).map(|()| 0)
            }
            kvm::GET_DIRTY_LOG => self.dirty_log(monitor, argument),
            kvm::CREATE_IRQCHIP => self.create_chips(),
            kvm::CREATE_PIT2 => self.create_pit(&read_value(monitor, argument)?),
            kvm::CREATE_PIT => self.create_pit(&PitConfig {
                flags: 0,
                pad: [0; 15],
            }),
            kvm::REINJECT_CONTROL => self.reinject_control(&read_value(monitor, argument)?),
            kvm::GET_IRQCHIP => {
                let mut chip: Irqchip = read_value(monitor, argument)?;
                self.need_chips()?.state(&mut chip)?;
                write_value(monitor, argument, &chip)
            }
            kvm::SET_IRQCHIP => {
                let chip: Irqchip = read_value(monitor, argument)?;
                self.need_chips()?.set_state(&chip).map(|()| 0)
            }
            kvm::GET_PIT2 => {
                let pit = self.need_chips()?.pit().ok_or(Errno::ENXIO)?;
                write_value(monitor, argument, &pit.state())
            }
            kvm::SET_PIT2 => {
                let state: PitState2 = read_value(monitor, argument)?;
                self.need_chips()?
                    .pit()
                    .ok_or(Errno::ENXIO)?
                    .set_state(&state);
                Ok(0)
            }
            kvm::IRQ_LINE => self.irq_line(&read_value(monitor, argument)?).map(|_| 0),
            kvm::IRQ_LINE_STATUS => {
                let mut level: IrqLevel = read_value(monitor, argument)?;
                level.irq = u32::from(self.irq_line(&level)?);
                write_value(monitor, argument, &level)
            }
            kvm::SET_GSI_ROUTING => self.set_routing(monitor, argument),
            kvm::SIGNAL_MSI => self.signal_msi(&read_value(monitor, argument)?),
            kvm::IRQFD => self.irqfd(monitor, &read_value(monitor, argument)?),
            kvm::IOEVENTFD => self.ioeventfd(monitor, &read_value(monitor, argument)?),
            kvm::GET_CLOCK => write_value(monitor, argument, &self.clock_data()),
            kvm::SET_CLOCK => self.set_clock(&read_value(monitor, argument)?),
            kvm::SET_BOOT_CPU_ID => self.set_boot_cpu(argument),
            kvm::SET_TSS_ADDR => Ok(0),
            kvm::SET_IDENTITY_MAP_ADDR => read_value::<u64>(monitor, argument).map(|_| 0),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn need_chips(&self) -> Result<&Arc<Chips>, Errno> {
        self.chips().ok_or(Errno::ENXIO)
    }

    fn create_chips(&self) -> Result<u64, Errno> {
        let _changing = self.changing.lock();
        if self.chips().is_some() {
            return Err(Errno::EEXIST);
        }
        // vCPUs that exist have no local APIC.
        if !self.memory.vcpus().is_empty() {
            return Err(Errno::EINVAL);
        }
        let chips = Chips::new(self.memory.vcpus())?;
        self.chips.set(Arc::new(chips)).map_err(|_| Errno::EEXIST)?;
        Ok(0)
    }

    fn create_pit(&self, config: &PitConfig) -> Result<u64, Errno> {
        let chips = self.chips().ok_or(Errno::ENOENT)?;
        chips
            .create_pit(config.flags & PIT_SPEAKER_DUMMY != 0)
            .map(|()| 0)
    }

    /// Late ticks are never made up for.
    fn reinject_control(&self, control: &ReinjectControl) -> Result<u64, Errno> {
        self.need_chips()?.pit().ok_or(Errno::ENXIO)?;
        if control.pit_reinject > 1 {
            Err(Errno::EINVAL)
        } else {
            Ok(0)
        }
    }

    fn irq_line(&self, level: &IrqLevel) -> Result<bool, Errno> {
        let chips = self.need_chips()?;
        Ok(chips.set_gsi(level.irq, Source::Monitor, level.level != 0))
    }

    fn set_routing(&self, monitor: &dyn Monitor, argument: u64) -> Result<u64, Errno> {
        let header: RoutingHeader = read_value(monitor, argument)?;
        if header.flags != 0 || header.nr > irqchip::Routes::GSIS {
            return Err(Errno::EINVAL);
        }
        let chips = self.chips().ok_or(Errno::EINVAL)?;
        let entries: alloc::vec::Vec<RoutingEntry> = read_list(
            monitor,
            argument.wrapping_add(size_of::<RoutingHeader>() as u64),
            header.nr as usize,
        )?;
        chips.set_routes(&entries).map(|()| 0)
    }

    fn signal_msi(&self, msi: &Msi) -> Result<u64, Errno> {
        let chips = self.chips().ok_or(Errno::EINVAL)?;
        if msi.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let address = u64::from(msi.address_hi) << 32 | u64::from(msi.address_lo);
        Ok(u64::from(chips.send(&Message::from_msi(address, msi.data))))
    }

    fn irqfd(&self, monitor: &dyn Monitor, request: &IrqFd) -> Result<u64, Errno> {
        if request.flags & !(IrqFd::DEASSIGN | IrqFd::RESAMPLE) != 0
            || request.gsi >= irqchip::Routes::GSIS
        {
            return Err(Errno::EINVAL);
        }
        let chips = self.chips().ok_or(Errno::EINVAL)?;
        let event = monitor.event(request.fd as i32)?;
        if request.flags & IrqFd::DEASSIGN != 0 {
            let gone = {
                let mut ties = self.irqfds.lock();
                let position = ties.iter().position(|tie| tie.is(request.gsi, &*event));
                position.map(|position| ties.swap_remove(position))
            };
            drop(gone);
            return Ok(0);
        }
        if self.irqfds.lock().iter().any(|tie| tie.uses(&*event)) {
            return Err(Errno::EBUSY);
        }
        let resample = if request.flags & IrqFd::RESAMPLE != 0 {
            Some(monitor.event(request.resamplefd as i32)?)
        } else {
            None
        };
        let tie = IrqFdTie::new(chips, request.gsi, event, resample);
        self.irqfds.lock().push(tie);
        Ok(0)
    }

    fn ioeventfd(&self, monitor: &dyn Monitor, request: &IoEventFd) -> Result<u64, Errno> {
        let event = monitor.event(request.fd)?;
        self.tie(request, event).map(|()| 0)
    }

    /// Ties a port or an address to an eventfd, or removes the tie.
    ///
    /// # Errors
    /// See [`crate::bus::Bus::changed`].
    pub fn tie(&self, request: &IoEventFd, event: Arc<dyn EventFile>) -> Result<(), Errno> {
        let _changing = self.changing.lock();
        let bus = self.bus.lock().clone();
        self.set_bus(bus.changed(request, event)?);
        Ok(())
    }

    fn clock_data(&self) -> ClockData {
        let stable = if P::tsc_is_stable() {
            ClockData::TSC_STABLE
        } else {
            0
        };
        ClockData {
            clock: self.clock.now(),
            flags: stable | ClockData::REALTIME | ClockData::HOST_TSC,
            realtime: wait::realtime_ns(),
            host_tsc: hal::time::tsc(),
            ..ClockData::default()
        }
    }

    fn set_clock(&self, data: &ClockData) -> Result<u64, Errno> {
        let known = ClockData::TSC_STABLE | ClockData::REALTIME | ClockData::HOST_TSC;
        if data.flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let mut clock = data.clock;
        if data.flags & ClockData::REALTIME != 0 {
            clock = clock.saturating_add(wait::realtime_ns().saturating_sub(data.realtime));
        }
        self.clock.set(clock);
        for vcpu in self.memory.vcpus().iter() {
            vcpu.post(crate::shared::request::CLOCK);
        }
        Ok(0)
    }

    fn set_boot_cpu(&self, id: u64) -> Result<u64, Errno> {
        if !self.memory.vcpus().is_empty() {
            return Err(Errno::EBUSY);
        }
        let id = u32::try_from(id).map_err(|_| Errno::EINVAL)?;
        self.boot_cpu.store(id, Ordering::Relaxed);
        Ok(0)
    }

    fn dirty_log(&self, monitor: &dyn Monitor, argument: u64) -> Result<u64, Errno> {
        let log: DirtyLog = read_value(monitor, argument)?;
        let _changing = self.changing.lock();
        self.memory.take_dirty(log.slot, |word, bits| {
            monitor.write(
                log.dirty_bitmap.wrapping_add(word as u64 * 8),
                bits.as_bytes(),
            )
        })?;
        Ok(0)
    }
}
