//! FPU state as bytes: an area is memory, and nothing computes in it.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use crate::machine::lock;
use crate::mem::OutOfMemory;

/// Bytes of an area in the standard XSAVE format with x87, SSE and AVX.
pub const AREA_LEN: usize = 832;

/// The FPU state of a thread or vCPU.
pub struct FpuArea(Mutex<Vec<u8>>);

impl FpuArea {
    /// The state that FNINIT leaves.
    pub fn new() -> Result<Self, OutOfMemory> {
        crate::inject::allocation()?;
        let mut bytes = vec![0; AREA_LEN];
        bytes[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        Ok(Self(Mutex::new(bytes)))
    }

    /// Copies the state out; at most `AREA_LEN` bytes.
    pub fn read(&self, bytes: &mut [u8]) {
        let area = lock(&self.0);
        let len = bytes.len().min(area.len());
        bytes[..len].copy_from_slice(&area[..len]);
    }

    /// Overwrites the state's beginning.
    pub fn write(&self, bytes: &[u8]) {
        let mut area = lock(&self.0);
        let len = bytes.len().min(area.len());
        area[..len].copy_from_slice(&bytes[..len]);
    }
}

thread_local! {
    static LIVE: RefCell<Option<Arc<FpuArea>>> = const { RefCell::new(None) };
}

/// Makes `area` the live one of the current task.
pub fn activate(area: &Arc<FpuArea>) {
    LIVE.set(Some(area.clone()));
}

/// The live area of the current task.
#[must_use]
pub fn active() -> Option<Arc<FpuArea>> {
    LIVE.with_borrow(Clone::clone)
}
