//! What is remembered of each frame, and where: the owner's choice.

/// What a frame is to the allocator. The first frame of every block carries
/// the block's mark; all other frames carry [`Mark::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// Not the first frame of a block. Encoded as 0.
    pub const NONE: Self = Self(0);

    const FREE: u8 = 0x40;
    const ALLOCATED: u8 = 0x80;
    const ORDER: u8 = 0x1f;

    pub(crate) const fn free(order: u8) -> Self {
        Self(Self::FREE | order)
    }

    pub(crate) const fn allocated(order: u8) -> Self {
        Self(Self::ALLOCATED | order)
    }

    /// The order of the free block that begins here.
    #[must_use]
    pub const fn free_order(self) -> Option<u8> {
        if self.0 & Self::FREE != 0 {
            Some(self.0 & Self::ORDER)
        } else {
            None
        }
    }

    /// The order of the allocated block that begins here.
    #[must_use]
    pub const fn allocated_order(self) -> Option<u8> {
        if self.0 & Self::ALLOCATED != 0 {
            Some(self.0 & Self::ORDER)
        } else {
            None
        }
    }

    /// The mark as a byte, for owners that pack it.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The mark that [`Mark::to_bits`] gave as `bits`.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// Per-frame state, indexed by frame number. All marks begin as
/// [`Mark::NONE`]; the other two may begin as anything. `next` and `prev` are
/// only used for frames that carry a free mark.
///
/// The allocator asks only for frames below [`Links::len`].
pub trait Links {
    /// The number of frames described.
    fn len(&self) -> u32;
    /// Whether no frame is described.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The block after this one in its list.
    fn next(&self, frame: u32) -> u32;
    /// Sets what [`Links::next`] says.
    fn set_next(&mut self, frame: u32, next: u32);
    /// The block before this one in its list.
    fn prev(&self, frame: u32) -> u32;
    /// Sets what [`Links::prev`] says.
    fn set_prev(&mut self, frame: u32, prev: u32);
    /// What the frame is.
    fn mark(&self, frame: u32) -> Mark;
    /// Sets what [`Links::mark`] says.
    fn set_mark(&mut self, frame: u32, mark: Mark);
}
