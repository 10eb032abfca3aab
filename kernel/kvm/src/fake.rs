//! Stand-ins for tests: flat guest memory and a scripted processor.

use crate::translate::{GuestMemory, Missing};
use std::cell::RefCell;
use std::vec;
use std::vec::Vec;
use zerocopy::{Immutable, IntoBytes};

/// Guest memory from address 0 on.
pub struct Ram(RefCell<Vec<u8>>);

impl Ram {
    /// `size` bytes of zero.
    pub fn new(size: usize) -> Self {
        Ram(RefCell::new(vec![0; size]))
    }

    /// Stores a value.
    pub fn put(&self, gpa: u64, value: impl IntoBytes + Immutable) {
        self.write(gpa, value.as_bytes())
            .expect("inside the fake memory");
    }
}

impl GuestMemory for Ram {
    fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), Missing> {
        let memory = self.0.borrow();
        let from = memory
            .get(gpa as usize..gpa as usize + bytes.len())
            .ok_or(Missing { gpa })?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Missing> {
        let mut memory = self.0.borrow_mut();
        let to = memory
            .get_mut(gpa as usize..gpa as usize + bytes.len())
            .ok_or(Missing { gpa })?;
        to.copy_from_slice(bytes);
        Ok(())
    }
}
