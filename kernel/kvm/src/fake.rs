//! Stand-ins for tests: flat guest memory and a scripted processor.

use crate::platform::{EventFile, Ring};
use crate::translate::{GuestMemory, Missing};
use std::boxed::Box;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
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

/// An eventfd.
pub struct FakeEvent {
    count: AtomicU64,
    identity: u64,
    observers: Mutex<Vec<Weak<dyn Ring>>>,
}

impl FakeEvent {
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(FakeEvent {
            count: AtomicU64::new(0),
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            observers: Mutex::new(Vec::new()),
        })
    }
}

impl EventFile for FakeEvent {
    fn signal(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let observers: Vec<_> = self
            .observers
            .lock()
            .unwrap()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for observer in observers {
            observer.ring();
        }
    }

    fn consume(&self) -> bool {
        self.count.swap(0, Ordering::Relaxed) != 0
    }

    fn subscribe(&self, observer: Weak<dyn Ring>) -> Box<dyn Send + Sync> {
        self.observers.lock().unwrap().push(observer.clone());
        Box::new(observer)
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}
