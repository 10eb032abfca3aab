//! How a machine ended.
//!
//! Main type: [`Verdict`]. A kernel under test writes one byte to the isa-debug-exit device at port 0xf4;
//! QEMU then exits with twice that value plus one.

use std::fmt;

/// What the exit status of QEMU, and the event before it, say about the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest wrote 0x10: what it was to do worked.
    Success,
    /// The guest wrote 0x11: process 1 or a self-test failed.
    Failure,
    /// The guest wrote 0x12: its kernel panicked.
    Panic,
    /// The guest switched the power off.
    PowerOff,
    /// The guest was reset: on purpose, or by a triple fault.
    Reset,
    /// QEMU ended by itself or was killed; its exit status, if it has one.
    Broken(Option<i32>),
}

impl Verdict {
    /// Judges an exit status of QEMU. `reason` is that of the last SHUTDOWN event, if one was seen.
    pub fn judge(status: Option<i32>, reason: Option<&str>) -> Verdict {
        match (status, reason) {
            (Some(33), _) => Verdict::Success,
            (Some(35), _) => Verdict::Failure,
            (Some(37), _) => Verdict::Panic,
            (Some(0), Some("guest-shutdown")) => Verdict::PowerOff,
            (Some(0), Some("guest-reset" | "subsystem-reset")) => Verdict::Reset,
            (status, _) => Verdict::Broken(status),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Success => f.write_str("success"),
            Verdict::Failure => f.write_str("failure"),
            Verdict::Panic => f.write_str("kernel panic"),
            Verdict::PowerOff => f.write_str("power off"),
            Verdict::Reset => f.write_str("reset (on purpose, or a triple fault)"),
            Verdict::Broken(Some(status)) => write!(f, "QEMU ended with exit status {status}"),
            Verdict::Broken(None) => f.write_str("QEMU was killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_exit_values_are_told_apart() {
        let status = |value: i32| Some(value << 1 | 1);
        assert_eq!(Verdict::judge(status(0x10), None), Verdict::Success);
        assert_eq!(Verdict::judge(status(0x11), None), Verdict::Failure);
        assert_eq!(
            Verdict::judge(status(0x12), Some("guest-reset")),
            Verdict::Panic
        );
        assert_eq!(Verdict::judge(status(0), None), Verdict::Broken(Some(1)));
    }

    #[test]
    fn a_triple_fault_is_no_power_off() {
        assert_eq!(
            Verdict::judge(Some(0), Some("guest-shutdown")),
            Verdict::PowerOff
        );
        assert_eq!(Verdict::judge(Some(0), Some("guest-reset")), Verdict::Reset);
        assert_eq!(Verdict::judge(Some(0), None), Verdict::Broken(Some(0)));
        assert_eq!(Verdict::judge(None, None), Verdict::Broken(None));
    }
}
