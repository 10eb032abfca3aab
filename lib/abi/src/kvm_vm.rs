//! Arguments of the requests of a VM. Main type: [`UserspaceMemoryRegion`].
//! Neighbours: [`crate::kvm`] (request numbers), [`crate::kvm_vcpu`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A memory slot: a range of guest-physical addresses backed by a range of the
/// monitor's addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserspaceMemoryRegion {
    /// Slot number; the upper 16 bits are the address space, 0 here.
    pub slot: u32,
    /// [`crate::kvm::memory_flag`] bits.
    pub flags: u32,
    /// First guest-physical address, page aligned.
    pub guest_phys_addr: u64,
    /// Bytes, page aligned; 0 deletes the slot.
    pub memory_size: u64,
    /// First address in the monitor, page aligned.
    pub userspace_addr: u64,
}

/// Request to fetch a slot's dirty bitmap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DirtyLog {
    /// Slot number.
    pub slot: u32,
    /// Unused.
    pub padding: u32,
    /// Where the bitmap goes in the monitor, one bit a page.
    pub dirty_bitmap: u64,
}

/// Level of a GSI.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrqLevel {
    /// The GSI; on return from IRQ_LINE_STATUS, how it went.
    pub irq: u32,
    /// 0 or 1.
    pub level: u32,
}

/// Header of a routing table; `nr` entries of [`IrqRoutingEntry`] follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrqRouting {
    /// Number of entries.
    pub nr: u32,
    /// 0.
    pub flags: u32,
}

/// One route: from a GSI to a pin or a message.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrqRoutingEntry {
    /// The GSI.
    pub gsi: u32,
    /// [`Self::IRQCHIP`] or [`Self::MSI`].
    pub kind: u32,
    /// 0.
    pub flags: u32,
    /// Unused.
    pub pad: u32,
    /// IRQCHIP: chip, pin. MSI: address low, address high, data, device id.
    pub words: [u32; 8],
}

impl IrqRoutingEntry {
    /// A pin of a chip: `words[0]` is the chip, `words[1]` the pin.
    pub const IRQCHIP: u32 = 1;
    /// A message: `words` are address low, address high, data.
    pub const MSI: u32 = 2;
}

/// Ties an eventfd to a GSI.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrqFd {
    /// The eventfd.
    pub fd: u32,
    /// The GSI it raises.
    pub gsi: u32,
    /// [`Self::DEASSIGN`], [`Self::RESAMPLE`].
    pub flags: u32,
    /// Signalled when the guest acknowledges (with RESAMPLE).
    pub resamplefd: u32,
    /// Unused.
    pub pad: [u8; 16],
}

impl IrqFd {
    /// Remove the tie.
    pub const DEASSIGN: u32 = 1;
    /// Level-triggered, with `resamplefd`.
    pub const RESAMPLE: u32 = 2;
}

/// Ties a port or an address to an eventfd.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IoEventFd {
    /// Value that must be written (with DATAMATCH).
    pub datamatch: u64,
    /// Port or guest-physical address.
    pub addr: u64,
    /// 0 (any), 1, 2, 4 or 8 bytes.
    pub len: u32,
    /// The eventfd.
    pub fd: i32,
    /// [`Self::DATAMATCH`], [`Self::PIO`], [`Self::DEASSIGN`].
    pub flags: u32,
    /// Unused.
    pub pad: [u8; 36],
}

impl IoEventFd {
    /// Only writes of `datamatch` count.
    pub const DATAMATCH: u32 = 1;
    /// `addr` is a port.
    pub const PIO: u32 = 2;
    /// Remove the tie.
    pub const DEASSIGN: u32 = 4;
}

/// Configuration of the PIT.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PitConfig {
    /// [`Self::SPEAKER_DUMMY`].
    pub flags: u32,
    /// Unused.
    pub pad: [u32; 15],
}

impl PitConfig {
    /// The kernel also answers port 61h.
    pub const SPEAKER_DUMMY: u32 = 1;
}

/// Whether the PIT makes up for late ticks.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReinjectControl {
    /// 0 or 1.
    pub pit_reinject: u8,
    /// Unused.
    pub reserved: [u8; 31],
}

/// The paravirtual clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ClockData {
    /// Nanoseconds since the VM's clock started.
    pub clock: u64,
    /// [`Self::TSC_STABLE`], [`Self::REALTIME`], [`Self::HOST_TSC`].
    pub flags: u32,
    /// Unused.
    pub pad0: u32,
    /// Host's real time at the same instant, in nanoseconds.
    pub realtime: u64,
    /// Host's TSC at the same instant.
    pub host_tsc: u64,
    /// Unused.
    pub pad: [u32; 4],
}

impl ClockData {
    /// All vCPUs see one clock.
    pub const TSC_STABLE: u32 = 2;
    /// `realtime` counts.
    pub const REALTIME: u32 = 4;
    /// `host_tsc` counts.
    pub const HOST_TSC: u32 = 8;
}

/// One message-signalled interrupt.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Msi {
    /// Bits 31:0 of the address.
    pub address_lo: u32,
    /// Bits 63:32 of the address.
    pub address_hi: u32,
    /// The data.
    pub data: u32,
    /// 0.
    pub flags: u32,
    /// Unused.
    pub devid: u32,
    /// Unused.
    pub pad: [u8; 12],
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use kvm_bindings as kb;

    macro_rules! same {
        ($ours:ty, $theirs:ty, $($field:ident = $other:ident),*) => {
            assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
            $(assert_eq!(offset_of!($ours, $field), offset_of!($theirs, $other));)*
        };
    }

    #[test]
    fn layouts_match_the_bindings() {
        same!(
            UserspaceMemoryRegion,
            kb::kvm_userspace_memory_region,
            slot = slot,
            flags = flags,
            guest_phys_addr = guest_phys_addr,
            memory_size = memory_size,
            userspace_addr = userspace_addr
        );
        same!(
            DirtyLog,
            kb::kvm_dirty_log,
            slot = slot,
            dirty_bitmap = __bindgen_anon_1
        );
        same!(
            IrqLevel,
            kb::kvm_irq_level,
            irq = __bindgen_anon_1,
            level = level
        );
        same!(IrqRouting, kb::kvm_irq_routing, nr = nr, flags = flags);
        same!(
            IrqRoutingEntry,
            kb::kvm_irq_routing_entry,
            gsi = gsi,
            kind = type_,
            words = u
        );
        same!(
            IrqFd,
            kb::kvm_irqfd,
            fd = fd,
            gsi = gsi,
            flags = flags,
            resamplefd = resamplefd
        );
        same!(
            IoEventFd,
            kb::kvm_ioeventfd,
            datamatch = datamatch,
            addr = addr,
            len = len,
            fd = fd,
            flags = flags
        );
        same!(PitConfig, kb::kvm_pit_config, flags = flags);
        same!(
            ReinjectControl,
            kb::kvm_reinject_control,
            pit_reinject = pit_reinject
        );
        same!(
            ClockData,
            kb::kvm_clock_data,
            clock = clock,
            flags = flags,
            realtime = realtime,
            host_tsc = host_tsc
        );
        same!(
            Msi,
            kb::kvm_msi,
            address_lo = address_lo,
            address_hi = address_hi,
            data = data,
            flags = flags
        );
    }
}
