//! [`FutexKey`]: what makes two futex addresses the same futex (futex(2)).

use abi::Errno;

use crate::area::{AreaFlags, Backing};
use crate::{Access, PAGE, Space};

/// The identity of a futex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FutexKey {
    /// An address of one space.
    Private {
        /// The space's id.
        space: u64,
        /// The address.
        address: u64,
    },
    /// A place in a shared object.
    Shared {
        /// The object's id.
        object: u64,
        /// Byte offset.
        offset: u64,
    },
}

impl Space {
    /// The key of the word at `va` among the threads of this space
    /// (FUTEX_PRIVATE_FLAG). Nothing is looked up.
    #[inline]
    #[must_use]
    pub fn private_futex_key(&self, va: u64) -> FutexKey {
        FutexKey::Private {
            space: self.id(),
            address: va,
        }
    }

    /// The key of the word at `va` among all who share its memory.
    ///
    /// # Errors
    /// EFAULT: the address cannot be read.
    pub fn futex_key(&self, va: u64) -> Result<FutexKey, Errno> {
        let mut state = self.lock();
        let index = state.areas.find(va).ok_or(Errno::EFAULT)?;
        let area = state.areas.at(index);
        if !area.allows(Access::Read) {
            return Err(Errno::EFAULT);
        }
        Ok(match &area.backing {
            Backing::Object { object, first } if area.has(AreaFlags::SHARED) => FutexKey::Shared {
                object: object.id(),
                offset: area.page_index(*first, va) * PAGE + va % PAGE,
            },
            _ => FutexKey::Private {
                space: self.id(),
                address: va,
            },
        })
    }
}
