//! FPU state as bytes: an area is memory, and nothing computes in it.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use crate::machine::lock;
use crate::mem::OutOfMemory;

/// Bytes of a state in the standard XSAVE format with x87, SSE and AVX.
const SIZE: usize = 832;
const COMPONENTS: u64 = 7;
/// Legacy area and XSAVE header.
const MINIMUM: usize = 576;
const MXCSR: usize = 24;
const HEADER: usize = 512;

/// The components in use, as XCR0 has them.
#[must_use]
pub fn components() -> u64 {
    COMPONENTS
}

/// Bytes of a state in the standard format.
#[must_use]
pub fn size() -> usize {
    SIZE
}

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadState;

/// A saved state.
#[derive(Debug)]
pub struct FpuArea(Mutex<Vec<u8>>);

impl FpuArea {
    /// A fresh state: FCW 037Fh, MXCSR 1F80h, all else initial.
    pub fn new() -> Result<Arc<Self>, OutOfMemory> {
        crate::inject::allocation()?;
        let mut bytes = vec![0; SIZE];
        bytes[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        bytes[HEADER] = 3;
        Ok(Arc::new(Self(Mutex::new(bytes))))
    }

    /// A copy of the state.
    pub fn duplicate(&self) -> Result<Arc<Self>, OutOfMemory> {
        crate::inject::allocation()?;
        Ok(Arc::new(Self(Mutex::new(lock(&self.0).clone()))))
    }

    /// Copies the state, in XSAVE's standard format.
    pub fn read(&self, to: &mut [u8]) {
        let area = lock(&self.0);
        let len = to.len().min(area.len());
        to[..len].copy_from_slice(&area[..len]);
    }

    /// Replaces the state. What XRSTOR would refuse is refused here.
    pub fn write(&self, from: &[u8]) -> Result<(), BadState> {
        let len = from.len().min(SIZE);
        if len < MINIMUM {
            return Err(BadState);
        }
        let word = |at: usize| u64::from_le_bytes(from[at..at + 8].try_into().unwrap_or([0xff; 8]));
        let header_rest = (8..64).step_by(8).all(|at| word(HEADER + at) == 0);
        if word(MXCSR) & 0xffff_0000 != 0 || word(HEADER) & !COMPONENTS != 0 || !header_rest {
            return Err(BadState);
        }
        lock(&self.0)[..len].copy_from_slice(&from[..len]);
        Ok(())
    }
}

thread_local! {
    static LIVE: RefCell<Option<Arc<FpuArea>>> = const { RefCell::new(None) };
}

/// Makes `area` the current task's live state; the one it had is returned.
pub fn activate(area: Option<Arc<FpuArea>>) -> Option<Arc<FpuArea>> {
    LIVE.replace(area)
}
