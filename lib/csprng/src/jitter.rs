//! What the times of events are worth as entropy.

/// Judges a sequence of times: how far the next one could have been foretold.
#[derive(Clone, Debug, Default)]
pub struct Jitter {
    time: u64,
    first: u64,
    second: u64,
    /// Times seen, up to the three that the judgement needs.
    seen: u8,
}

impl Jitter {
    /// No times yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            time: 0,
            first: 0,
            second: 0,
            seen: 0,
        }
    }

    /// The credit for one more time: a bit if its distance to the one before,
    /// that distance's change and the change of the change are all at least
    /// two, else nothing. So events that come evenly, or ever later by the
    /// same amount, are worth nothing, as on a machine whose clock counts
    /// instructions.
    pub const fn credit(&mut self, time: u64) -> u32 {
        let first = time.abs_diff(self.time);
        let second = first.abs_diff(self.first);
        let third = second.abs_diff(self.second);
        self.time = time;
        self.first = first;
        self.second = second;
        if self.seen < 3 {
            self.seen += 1;
            return 0;
        }
        (first >= 2 && second >= 2 && third >= 2) as u32
    }
}
