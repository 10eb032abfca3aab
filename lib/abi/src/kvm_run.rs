//! The page that the kernel and a monitor share for each vCPU: offsets of its
//! fields, and the exit records that share one place in it. The page is memory
//! that a hostile program writes at any time, so no reference to it is ever
//! made: the kernel reads and writes single fields by offset. Neighbour:
//! [`crate::kvm::exit`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the structure; the rest of the page is free.
pub const SIZE: usize = 2352;
/// Bytes of a vCPU's mapping: this page and the port data page.
pub const MMAP_SIZE: usize = 2 * 4096;
/// Where the data of port accesses lies in the mapping.
pub const PIO_DATA: usize = 4096;

/// Offsets of the fields.
pub mod offset {
    /// u8, from the monitor: exit when an interrupt can be taken.
    pub const REQUEST_INTERRUPT_WINDOW: usize = 0;
    /// u8, from the monitor: do not run the guest.
    pub const IMMEDIATE_EXIT: usize = 1;
    /// u32: [`crate::kvm::exit`].
    pub const EXIT_REASON: usize = 8;
    /// u8: an interrupt can be queued.
    pub const READY_FOR_INTERRUPT_INJECTION: usize = 12;
    /// u8: RFLAGS.IF.
    pub const IF_FLAG: usize = 13;
    /// u16: 0.
    pub const FLAGS: usize = 14;
    /// u64: in and out (without interrupt controllers in the kernel).
    pub const CR8: usize = 16;
    /// u64: in and out (without interrupt controllers in the kernel).
    pub const APIC_BASE: usize = 24;
    /// The exit record, at most 256 bytes.
    pub const EXIT: usize = 32;
    /// u64: registers to keep in step; none here.
    pub const VALID_REGS: usize = 288;
    /// u64: registers changed by the monitor; none here.
    pub const DIRTY_REGS: usize = 296;
    /// Data of an MMIO access, 8 bytes.
    pub const MMIO_DATA: usize = EXIT + 8;
}

/// The first 32 bytes, from `exit_reason` on, that each exit writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// [`crate::kvm::exit`].
    pub exit_reason: u32,
    /// An interrupt can be queued.
    pub ready_for_interrupt_injection: u8,
    /// RFLAGS.IF.
    pub if_flag: u8,
    /// 0.
    pub flags: u16,
    /// Task priority.
    pub cr8: u64,
    /// The local APIC's base MSR.
    pub apic_base: u64,
}

/// Exit record: a port access.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Io {
    /// [`crate::kvm::exit::IO_IN`] or `IO_OUT`.
    pub direction: u8,
    /// 1, 2 or 4.
    pub size: u8,
    /// The port.
    pub port: u16,
    /// Number of accesses (string instructions).
    pub count: u32,
    /// Where the data lies in the mapping.
    pub data_offset: u64,
}

/// Exit record: an access to an address without memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mmio {
    /// Guest-physical address.
    pub phys_addr: u64,
    /// What is written, or what the monitor answers.
    pub data: [u8; 8],
    /// 1 to 8.
    pub len: u32,
    /// 1 for a write.
    pub is_write: u8,
    /// Unused.
    pub pad: [u8; 3],
}

/// Exit record: the processor refused to enter the guest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FailEntry {
    /// The processor's exit code.
    pub hardware_entry_failure_reason: u64,
    /// The CPU it happened on.
    pub cpu: u32,
    /// Unused.
    pub pad: u32,
}

/// Exit record: the kernel could not go on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InternalError {
    /// [`crate::kvm::internal_error`].
    pub suberror: u32,
    /// How many of `data` count.
    pub ndata: u32,
    /// Details.
    pub data: [u64; 16],
}

/// What `InternalError::data` holds for an emulation failure: the flags word,
/// then one byte of length and up to 15 bytes of the instruction.
#[must_use]
pub fn emulation_failure(bytes: &[u8]) -> InternalError {
    let mut record = InternalError {
        suberror: crate::kvm::internal_error::EMULATION,
        ndata: 3,
        ..Default::default()
    };
    let kept = bytes.len().min(15);
    let mut insn = [0u8; 16];
    insn[0] = kept as u8;
    insn[1..1 + kept].copy_from_slice(&bytes[..kept]);
    record.data[0] = crate::kvm::internal_error::EMULATION_FLAG_INSTRUCTION_BYTES;
    let (low, high) = insn.split_at(8);
    for (word, half) in record.data[1..3].iter_mut().zip([low, high]) {
        let mut raw = [0u8; 8];
        raw.copy_from_slice(half);
        *word = u64::from_le_bytes(raw);
    }
    record
}

/// Exit record: the guest powers off, resets or has crashed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SystemEvent {
    /// 1 shutdown, 2 reset, 3 crash.
    pub kind: u32,
    /// How many of `data` count.
    pub ndata: u32,
    /// Details.
    pub data: [u64; 16],
}

/// Exit record: a debug event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Debug {
    /// 1 (#DB) or 3 (#BP).
    pub exception: u32,
    /// Unused.
    pub pad: u32,
    /// Where it happened, linear.
    pub pc: u64,
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use kvm_bindings as kb;

    #[test]
    fn offsets_match_the_bindings() {
        use super::offset as o;
        assert_eq!(SIZE, size_of::<kb::kvm_run>());
        let fields = [
            (
                o::REQUEST_INTERRUPT_WINDOW,
                offset_of!(kb::kvm_run, request_interrupt_window),
            ),
            (o::IMMEDIATE_EXIT, offset_of!(kb::kvm_run, immediate_exit)),
            (o::EXIT_REASON, offset_of!(kb::kvm_run, exit_reason)),
            (
                o::READY_FOR_INTERRUPT_INJECTION,
                offset_of!(kb::kvm_run, ready_for_interrupt_injection),
            ),
            (o::IF_FLAG, offset_of!(kb::kvm_run, if_flag)),
            (o::FLAGS, offset_of!(kb::kvm_run, flags)),
            (o::CR8, offset_of!(kb::kvm_run, cr8)),
            (o::APIC_BASE, offset_of!(kb::kvm_run, apic_base)),
            (o::EXIT, offset_of!(kb::kvm_run, __bindgen_anon_1)),
            (o::VALID_REGS, offset_of!(kb::kvm_run, kvm_valid_regs)),
            (o::DIRTY_REGS, offset_of!(kb::kvm_run, kvm_dirty_regs)),
        ];
        for (ours, theirs) in fields {
            assert_eq!(ours, theirs);
        }
        assert_eq!(size_of::<Header>(), o::EXIT - o::EXIT_REASON);
    }

    #[test]
    fn records_match_the_bindings() {
        assert_eq!(
            size_of::<Io>(),
            size_of::<kb::kvm_run__bindgen_ty_1__bindgen_ty_4>()
        );
        assert_eq!(
            size_of::<Mmio>(),
            size_of::<kb::kvm_run__bindgen_ty_1__bindgen_ty_6>()
        );
        assert_eq!(
            offset_of!(Mmio, is_write),
            offset_of!(kb::kvm_run__bindgen_ty_1__bindgen_ty_6, is_write)
        );
        assert_eq!(
            size_of::<FailEntry>(),
            size_of::<kb::kvm_run__bindgen_ty_1__bindgen_ty_2>()
        );
        assert_eq!(
            size_of::<InternalError>(),
            size_of::<kb::kvm_run__bindgen_ty_1__bindgen_ty_13>()
        );
        assert_eq!(
            size_of::<SystemEvent>(),
            size_of::<kb::kvm_run__bindgen_ty_1__bindgen_ty_19>()
        );
        assert_eq!(size_of::<Debug>(), size_of::<kb::kvm_debug_exit_arch>());
        assert_eq!(
            offset_of!(Io, data_offset),
            offset_of!(kb::kvm_run__bindgen_ty_1__bindgen_ty_4, data_offset)
        );
    }

    #[test]
    fn emulation_failures_carry_the_bytes() {
        let record = emulation_failure(&[0x0f, 0x0b, 0x90]);
        assert_eq!(record.ndata, 3);
        assert_eq!(record.data[1].to_le_bytes()[..4], [3, 0x0f, 0x0b, 0x90]);
        assert_eq!(emulation_failure(&[0xff; 20]).data[1].to_le_bytes()[0], 15);
    }
}
