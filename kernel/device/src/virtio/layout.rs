//! Offsets in virtio's PCI windows (virtio 1.2, sections 4.1.4 and 2.1).

/// Window of the common configuration.
pub(super) const WINDOW_COMMON: u8 = 1;
/// Window for notifications.
pub(super) const WINDOW_NOTIFY: u8 = 2;
/// Window of the device's own configuration.
pub(super) const WINDOW_DEVICE: u8 = 4;

pub(super) const DEVICE_FEATURE_SELECT: usize = 0x00;
pub(super) const DEVICE_FEATURE: usize = 0x04;
pub(super) const DRIVER_FEATURE_SELECT: usize = 0x08;
pub(super) const DRIVER_FEATURE: usize = 0x0c;
pub(super) const CONFIG_VECTOR: usize = 0x10;
pub(super) const QUEUE_COUNT: usize = 0x12;
pub(super) const DEVICE_STATUS: usize = 0x14;
pub(super) const CONFIG_GENERATION: usize = 0x15;
pub(super) const QUEUE_SELECT: usize = 0x16;
pub(super) const QUEUE_SIZE: usize = 0x18;
pub(super) const QUEUE_VECTOR: usize = 0x1a;
pub(super) const QUEUE_ENABLE: usize = 0x1c;
pub(super) const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
pub(super) const QUEUE_DESCRIPTORS: usize = 0x20;
pub(super) const COMMON_LENGTH: usize = 0x38;

/// What a vector register reads when the device did not take the vector.
pub(super) const NO_VECTOR: u16 = 0xffff;

pub(super) const STATUS_ACKNOWLEDGE: u8 = 1;
pub(super) const STATUS_DRIVER: u8 = 2;
pub(super) const STATUS_DRIVER_OK: u8 = 4;
pub(super) const STATUS_FEATURES_OK: u8 = 8;
pub(super) const STATUS_NEEDS_RESET: u8 = 64;
pub(super) const STATUS_FAILED: u8 = 128;
