//! State of the in-kernel interrupt controllers as the KVM ABI carries it:
//! `KVM_GET/SET_LAPIC`, `KVM_GET/SET_IRQCHIP`, `KVM_GET/SET_PIT2` and
//! `KVM_SET_GSI_ROUTING`.
//!
//! Plain data, byte for byte what a monitor of ring 3 hands to an ioctl; the
//! tests compare every size and offset with the crate `kvm-bindings`. The
//! machines behind the data are in the kernel's crate `irqchip`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `chip_id` of the first 8259A in [`Irqchip`] and in routing entries.
pub const IRQCHIP_PIC_MASTER: u32 = 0;
/// `chip_id` of the second 8259A.
pub const IRQCHIP_PIC_SLAVE: u32 = 1;
/// `chip_id` of the I/O APIC.
pub const IRQCHIP_IOAPIC: u32 = 2;

/// `kind` of a routing entry that leads to a pin of an interrupt controller.
pub const ROUTING_IRQCHIP: u32 = 1;
/// `kind` of a routing entry that leads to a message.
pub const ROUTING_MSI: u32 = 2;

/// Flag of [`PitState2`]: channels 0 and 1 are disconnected by the HPET.
pub const PIT_FLAGS_HPET_LEGACY: u32 = 1;
/// Flag of [`PitState2`]: bit 1 of port 0x61 (speaker data) is set.
pub const PIT_FLAGS_SPEAKER_DATA_ON: u32 = 2;
/// Flag of [`PitConfig`]: port 0x61 is answered by the kernel.
pub const PIT_SPEAKER_DUMMY: u32 = 1;

/// Pins of the I/O APIC.
pub const IOAPIC_PINS: usize = 24;

/// `struct kvm_lapic_state`: the first KiB of the register page.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LapicState {
    /// Registers, each in the first four bytes of a 16-byte slot.
    pub regs: [u8; 1024],
}

impl Default for LapicState {
    fn default() -> Self {
        Self { regs: [0; 1024] }
    }
}

/// `struct kvm_pic_state`: one 8259A.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PicState {
    /// Line levels at the last look, for edge detection.
    pub last_irr: u8,
    /// Interrupt request register.
    pub irr: u8,
    /// Interrupt mask register.
    pub imr: u8,
    /// In-service register.
    pub isr: u8,
    /// The input with the highest priority.
    pub priority_add: u8,
    /// Vector of input 0 (ICW2).
    pub irq_base: u8,
    /// A read of the command port gives ISR (1) or IRR (0).
    pub read_reg_select: u8,
    /// The next read is a poll.
    pub poll: u8,
    /// Special mask mode.
    pub special_mask: u8,
    /// Which initialization word comes next; 0 when initialized.
    pub init_state: u8,
    /// Automatic end of interrupt.
    pub auto_eoi: u8,
    /// Rotate priorities on automatic end of interrupt.
    pub rotate_on_auto_eoi: u8,
    /// Special fully nested mode.
    pub special_fully_nested_mode: u8,
    /// ICW1 said that ICW4 will follow.
    pub init4: u8,
    /// Edge/level control: a set bit means level.
    pub elcr: u8,
    /// Bits of ELCR that can be written.
    pub elcr_mask: u8,
}

/// `struct kvm_ioapic_state`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct IoapicState {
    /// Guest-physical address of the register window.
    pub base_address: u64,
    /// Index register.
    pub ioregsel: u32,
    /// Identification register's ID field.
    pub id: u32,
    /// Lines that are asserted, one bit a pin.
    pub irr: u32,
    /// Unused.
    pub pad: u32,
    /// Redirection table as the guest sees it.
    pub redirtbl: [u64; IOAPIC_PINS],
}

/// `struct kvm_irqchip`: a chip number and the state of that chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Irqchip {
    /// One of the `IRQCHIP_*` numbers.
    pub chip_id: u32,
    /// Unused.
    pub pad: u32,
    /// A [`PicState`] or an [`IoapicState`], by `chip_id`, from byte 0.
    pub chip: [u8; 512],
}

impl Irqchip {
    /// Wraps the state of one 8259A.
    pub fn from_pic(chip_id: u32, state: &PicState) -> Self {
        Self::with_bytes(chip_id, state.as_bytes())
    }

    /// Wraps the state of the I/O APIC.
    pub fn from_ioapic(state: &IoapicState) -> Self {
        Self::with_bytes(IRQCHIP_IOAPIC, state.as_bytes())
    }

    /// The state as that of an 8259A, whatever `chip_id` says.
    pub fn pic(&self) -> PicState {
        PicState::read_from_prefix(&self.chip).map_or_else(|_| PicState::default(), |(s, _)| s)
    }

    /// The state as that of an I/O APIC, whatever `chip_id` says.
    pub fn ioapic(&self) -> IoapicState {
        IoapicState::read_from_prefix(&self.chip)
            .map_or_else(|_| IoapicState::default(), |(s, _)| s)
    }

    fn with_bytes(chip_id: u32, bytes: &[u8]) -> Self {
        let mut chip = [0; 512];
        chip[..bytes.len()].copy_from_slice(bytes);
        Self {
            chip_id,
            pad: 0,
            chip,
        }
    }
}

/// `struct kvm_pit_channel_state`: one counter of the 8254.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PitChannelState {
    /// Initial count, 1 to 65,536.
    pub count: u32,
    /// Count caught by a latch command.
    pub latched_count: u16,
    /// How the latched count will be read (an access mode); 0: nothing latched.
    pub count_latched: u8,
    /// A status byte is latched.
    pub status_latched: u8,
    /// The latched status byte.
    pub status: u8,
    /// Which byte a read gives: 1 low, 2 high, 3 low of a word, 4 high of a word.
    pub read_state: u8,
    /// Which byte a write sets, in the same coding.
    pub write_state: u8,
    /// Low byte of a word whose high byte is still to come.
    pub write_latch: u8,
    /// Access mode: 1 low byte, 2 high byte, 3 both.
    pub rw_mode: u8,
    /// Counting mode, 0 to 5.
    pub mode: u8,
    /// Binary coded decimal.
    pub bcd: u8,
    /// Gate input.
    pub gate: u8,
    /// When the count was loaded, in nanoseconds of the host's clock.
    pub count_load_time: i64,
}

/// `struct kvm_pit_state2`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PitState2 {
    /// The three counters.
    pub channels: [PitChannelState; 3],
    /// `PIT_FLAGS_*`.
    pub flags: u32,
    /// Unused.
    pub reserved: [u32; 9],
}

/// `struct kvm_pit_config`: the argument of `KVM_CREATE_PIT2`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct PitConfig {
    /// `PIT_SPEAKER_DUMMY` or 0.
    pub flags: u32,
    /// Unused.
    pub pad: [u32; 15],
}

/// `struct kvm_irq_routing_entry`. What `u` holds depends on `kind`; the
/// accessors give names to its words.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RoutingEntry {
    /// The global system interrupt that this entry is for.
    pub gsi: u32,
    /// `ROUTING_*` (the C field is called `type`).
    pub kind: u32,
    /// `KVM_MSI_VALID_DEVID` or 0.
    pub flags: u32,
    /// Unused.
    pub pad: u32,
    /// Irqchip: chip, pin. MSI: address low, address high, data, device.
    pub u: [u32; 8],
}

impl RoutingEntry {
    /// An entry that leads `gsi` to `pin` of `chip`.
    pub fn irqchip(gsi: u32, chip: u32, pin: u32) -> Self {
        let mut entry = Self {
            gsi,
            kind: ROUTING_IRQCHIP,
            ..Self::default()
        };
        entry.u[0] = chip;
        entry.u[1] = pin;
        entry
    }

    /// An entry that turns `gsi` into a message.
    pub fn msi(gsi: u32, address: u64, data: u32) -> Self {
        let mut entry = Self {
            gsi,
            kind: ROUTING_MSI,
            ..Self::default()
        };
        entry.u[0] = address as u32;
        entry.u[1] = (address >> 32) as u32;
        entry.u[2] = data;
        entry
    }
}

/// `struct kvm_irq_routing` without its trailing entries.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RoutingHeader {
    /// Number of [`RoutingEntry`] that follow.
    pub nr: u32,
    /// Must be 0.
    pub flags: u32,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::mem::{offset_of, size_of};
    use kvm_bindings as kvm;

    macro_rules! same_layout {
        ($ours:ty, $theirs:ty; $($field:ident = $their_field:ident),* $(,)?) => {
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
            $(assert_eq!(
                offset_of!($ours, $field),
                offset_of!($theirs, $their_field),
                concat!(stringify!($ours), ".", stringify!($field))
            );)*
        };
        ($ours:ty, $theirs:ty; $($field:ident),* $(,)?) => {
            same_layout!($ours, $theirs; $($field = $field),*);
        };
    }

    #[test]
    fn controllers_have_the_layout_of_the_abi() {
        same_layout!(LapicState, kvm::kvm_lapic_state; regs);
        same_layout!(PicState, kvm::kvm_pic_state; last_irr, irr, imr, isr, priority_add,
            irq_base, read_reg_select, poll, special_mask, init_state, auto_eoi,
            rotate_on_auto_eoi, special_fully_nested_mode, init4, elcr, elcr_mask);
        same_layout!(IoapicState, kvm::kvm_ioapic_state; base_address, ioregsel, id, irr, pad,
            redirtbl);
        same_layout!(Irqchip, kvm::kvm_irqchip; chip_id, pad, chip);
    }

    #[test]
    fn timer_has_the_layout_of_the_abi() {
        same_layout!(PitChannelState, kvm::kvm_pit_channel_state; count, latched_count,
            count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode,
            mode, bcd, gate, count_load_time);
        same_layout!(PitState2, kvm::kvm_pit_state2; channels, flags, reserved);
        same_layout!(PitConfig, kvm::kvm_pit_config; flags, pad);
    }

    #[test]
    fn routing_has_the_layout_of_the_abi() {
        same_layout!(RoutingEntry, kvm::kvm_irq_routing_entry; gsi = gsi, kind = type_,
            flags = flags, pad = pad, u = u);
        same_layout!(RoutingHeader, kvm::kvm_irq_routing; nr, flags);
        assert_eq!(offset_of!(kvm::kvm_irq_routing_irqchip, pin), 4);
        assert_eq!(offset_of!(kvm::kvm_irq_routing_msi, address_hi), 4);
        assert_eq!(offset_of!(kvm::kvm_irq_routing_msi, data), 8);
    }

    #[test]
    fn numbers_are_those_of_the_abi() {
        assert_eq!(IRQCHIP_PIC_MASTER, kvm::KVM_IRQCHIP_PIC_MASTER);
        assert_eq!(IRQCHIP_PIC_SLAVE, kvm::KVM_IRQCHIP_PIC_SLAVE);
        assert_eq!(IRQCHIP_IOAPIC, kvm::KVM_IRQCHIP_IOAPIC);
        assert_eq!(ROUTING_IRQCHIP, kvm::KVM_IRQ_ROUTING_IRQCHIP);
        assert_eq!(ROUTING_MSI, kvm::KVM_IRQ_ROUTING_MSI);
        assert_eq!(PIT_FLAGS_HPET_LEGACY, kvm::KVM_PIT_FLAGS_HPET_LEGACY);
        assert_eq!(
            PIT_FLAGS_SPEAKER_DATA_ON,
            kvm::KVM_PIT_FLAGS_SPEAKER_DATA_ON
        );
        assert_eq!(PIT_SPEAKER_DUMMY, kvm::KVM_PIT_SPEAKER_DUMMY);
        assert_eq!(IOAPIC_PINS as u32, kvm::KVM_IOAPIC_NUM_PINS);
    }

    #[test]
    fn irqchip_carries_either_state() {
        let mut ioapic = IoapicState {
            irr: 5,
            ..IoapicState::default()
        };
        ioapic.redirtbl[23] = 0x1_2345;
        assert_eq!(Irqchip::from_ioapic(&ioapic).ioapic(), ioapic);
        let pic = PicState {
            irq_base: 0x30,
            elcr_mask: 0xde,
            ..PicState::default()
        };
        let wrapped = Irqchip::from_pic(IRQCHIP_PIC_SLAVE, &pic);
        assert_eq!((wrapped.chip_id, wrapped.pic()), (1, pic));
    }
}
