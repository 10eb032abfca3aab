//! A wire that several sources drive: [`SharedLine`].
//!
//! A PCI INTx line, or a GSI driven by irqfds and by `KVM_IRQ_LINE` at once,
//! is asserted as long as one source asserts it. The controllers behind it see
//! one level; this keeps one bit a source.

/// Up to 64 sources, wired OR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedLine {
    asserted: u64,
}

impl SharedLine {
    /// Sets the level of `source` (its low six bits count) and returns that of
    /// the wire.
    #[inline]
    pub fn set(&mut self, source: u8, level: bool) -> bool {
        let bit = 1 << (source & 63);
        if level {
            self.asserted |= bit;
        } else {
            self.asserted &= !bit;
        }
        self.asserted != 0
    }

    /// The level of the wire.
    #[inline]
    pub fn level(&self) -> bool {
        self.asserted != 0
    }
}

#[cfg(test)]
mod tests {
    use super::SharedLine;

    #[test]
    fn stays_up_until_the_last_source_lets_go() {
        let mut line = SharedLine::default();
        assert!(line.set(0, true));
        assert!(line.set(63, true));
        assert!(line.set(0, false));
        assert!(line.level());
        assert!(!line.set(63, false));
    }
}
