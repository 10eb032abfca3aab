//! Where things are inside the function's BAR, and which one an address hits.

/// The BAR that holds everything.
pub const BAR: usize = 0;
/// Bytes of the BAR.
pub const BAR_LEN: u32 = 0x8000;
/// Common configuration.
pub const COMMON: u64 = 0x0000;
/// Bytes of the common configuration.
pub const COMMON_LEN: u64 = 0x3C;
/// Interrupt status.
pub const ISR: u64 = 0x1000;
/// The device's own configuration.
pub const DEVICE: u64 = 0x2000;
/// Bytes of room for it.
pub const DEVICE_LEN: u64 = 0x1000;
/// Doorbells, one a queue.
pub const DOORBELLS: u64 = 0x3000;
/// Bytes of a doorbell.
pub const DOORBELL_LEN: u64 = 4;
/// Bytes of room for doorbells.
pub const DOORBELLS_LEN: u64 = 0x1000;
/// The MSI-X table.
pub const MSIX_TABLE: u64 = 0x4000;
/// The MSI-X pending bits.
pub const MSIX_PENDING: u64 = 0x5000;
/// End of the pending bits' page.
pub const MSIX_END: u64 = 0x6000;

/// What an offset into the BAR hits, with the offset inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Common configuration.
    Common(u64),
    /// Interrupt status.
    Isr,
    /// Device configuration.
    Device(u64),
    /// The doorbell of a queue.
    Doorbell(usize),
    /// The MSI-X table.
    MsixTable(u64),
    /// The MSI-X pending bits.
    MsixPending(u64),
    /// Nothing.
    Hole,
}

/// Looks up an offset into the BAR.
pub fn region(offset: u64) -> Region {
    match offset {
        COMMON..ISR => Region::Common(offset),
        ISR => Region::Isr,
        DEVICE..DOORBELLS => Region::Device(offset - DEVICE),
        DOORBELLS..MSIX_TABLE => Region::Doorbell(((offset - DOORBELLS) / DOORBELL_LEN) as usize),
        MSIX_TABLE..MSIX_PENDING => Region::MsixTable(offset - MSIX_TABLE),
        MSIX_PENDING..MSIX_END => Region::MsixPending(offset - MSIX_PENDING),
        _ => Region::Hole,
    }
}
