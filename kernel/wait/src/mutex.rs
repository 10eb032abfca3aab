//! [`Mutex`]: a lock whose waiters sleep; it may be held across blocking and
//! across copies from and to user memory.

use crate::WaitQueue;
use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};
use sync::SpinLock;

/// A sleeping lock around a value.
///
/// The value lives in a box that the holder takes out, so that the lock needs no
/// unsafe code; locking moves one pointer.
pub struct Mutex<T> {
    value: SpinLock<Option<Box<T>>>,
    waiters: WaitQueue,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub fn new(value: T) -> Self {
        Self {
            value: SpinLock::new(Some(Box::new(value))),
            waiters: WaitQueue::new(),
        }
    }

    /// Waits for the lock and takes it. Not interrupted by signals.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.waiters.wait_uninterrupted(|| self.try_lock()),
        }
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let value = self.value.lock().take()?;
        Some(MutexGuard {
            mutex: self,
            value: Some(value),
        })
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Proof of holding a [`Mutex`]; dropping it unlocks.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    value: Option<Box<T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.value
            .as_deref()
            .expect("invariant: a guard has its value until it is dropped")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_deref_mut()
            .expect("invariant: a guard has its value until it is dropped")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let mut place = self.mutex.value.lock();
        // What lay there is nothing, as this guard has the box; to say so spares
        // every unlock the code that would free one.
        core::mem::forget(core::mem::replace(&mut *place, self.value.take()));
        drop(place);
        self.mutex.waiters.wake();
    }
}
