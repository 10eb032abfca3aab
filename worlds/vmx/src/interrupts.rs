//! Interrupt lines of the machine: [`Interrupts`] hands out edge lines and
//! message-signalled vectors as eventfds bound to the kernel's interrupt
//! controllers, and drives the level-triggered lines.
//!
//! Global system interrupts 0 to 23 go to the PIC and the I/O APIC; those
//! above are message routes, one per MSI-X vector.

use board::address_map::IOAPIC_PINS;
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::VmFd;
use pci::MsiMessage;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const PIC_PINS: u32 = 8;

/// An edge-triggered line: each signal is one interrupt.
pub struct EdgeLine(EventFd);

impl EdgeLine {
    /// Interrupts once.
    ///
    /// # Errors
    /// The counter would overflow, that is, the kernel does not take it.
    pub fn signal(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

impl vm_superio::Trigger for EdgeLine {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.signal()
    }
}

/// One message-signalled vector. The kernel learns of it with its first message.
pub struct MsiLine {
    gsi: u32,
    event: EventFd,
    is_registered: bool,
}

impl MsiLine {
    /// Sends the vector's message, if it has one.
    pub fn signal(&self) {
        // The counter cannot overflow: the kernel empties it at once.
        let _ = self.event.write(1);
    }
}

#[derive(Default)]
struct Lines {
    messages: BTreeMap<u32, MsiMessage>,
    msi_lines: u32,
    /// Which sources assert each level-triggered line, one bit each.
    asserted: [u64; IOAPIC_PINS as usize],
}

/// The machine's interrupt lines.
pub struct Interrupts {
    vm: Arc<VmFd>,
    lines: Mutex<Lines>,
}

impl Interrupts {
    /// Lines of a VM whose interrupt controllers exist already.
    pub fn new(vm: Arc<VmFd>) -> Self {
        Self {
            vm,
            lines: Mutex::default(),
        }
    }

    /// An edge-triggered line to interrupt `gsi`.
    ///
    /// # Errors
    /// The kernel refuses the eventfd.
    pub fn edge_line(&self, gsi: u32) -> io::Result<EdgeLine> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        self.vm.register_irqfd(&event, gsi)?;
        Ok(EdgeLine(event))
    }

    /// A vector that has no message yet.
    ///
    /// # Errors
    /// No eventfd can be had.
    pub fn msi_line(&self) -> io::Result<MsiLine> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let gsi = IOAPIC_PINS + lines.msi_lines;
        lines.msi_lines += 1;
        Ok(MsiLine {
            gsi,
            event: EventFd::new(EFD_NONBLOCK)?,
            is_registered: false,
        })
    }

    /// Gives a vector its message.
    ///
    /// # Errors
    /// The kernel refuses the routes or the eventfd.
    pub fn set_message(&self, line: &mut MsiLine, message: MsiMessage) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.messages.insert(line.gsi, message) == Some(message) {
            return Ok(());
        }
        let messages = lines
            .messages
            .iter()
            .map(|(gsi, message)| msi_route(*gsi, message));
        let routes: Vec<_> = controller_routes().chain(messages).collect();
        let routes = KvmIrqRouting::from_entries(&routes).map_err(io::Error::other)?;
        self.vm.set_gsi_routing(&routes)?;
        if !line.is_registered {
            self.vm.register_irqfd(&line.event, line.gsi)?;
            line.is_registered = true;
        }
        Ok(())
    }

    /// Asserts or releases a level-triggered line on behalf of one source.
    ///
    /// # Errors
    /// The kernel refuses the line.
    pub fn set_level(&self, gsi: u32, source: u32, level: bool) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asserted) = lines.asserted.get_mut(gsi as usize) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let was = *asserted != 0;
        let bit = 1 << (source % u64::BITS);
        *asserted = if level {
            *asserted | bit
        } else {
            *asserted & !bit
        };
        let is = *asserted != 0;
        if was == is {
            return Ok(());
        }
        Ok(self.vm.set_irq_line(gsi, is)?)
    }
}

/// The fixed part of the routes: each line to its pins.
fn controller_routes() -> impl Iterator<Item = kvm_irq_routing_entry> {
    let pic = (0..2 * PIC_PINS).map(|gsi| {
        let chip = if gsi < PIC_PINS {
            KVM_IRQCHIP_PIC_MASTER
        } else {
            KVM_IRQCHIP_PIC_SLAVE
        };
        pin_route(gsi, chip, gsi % PIC_PINS)
    });
    let ioapic = (0..IOAPIC_PINS).map(|gsi| pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi));
    pic.chain(ioapic)
}

fn pin_route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..Default::default()
    };
    entry.u.irqchip.irqchip = irqchip;
    entry.u.irqchip.pin = pin;
    entry
}

fn msi_route(gsi: u32, message: &MsiMessage) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi.address_lo = message.address as u32;
    entry.u.msi.address_hi = (message.address >> 32) as u32;
    entry.u.msi.data = message.data;
    entry
}
