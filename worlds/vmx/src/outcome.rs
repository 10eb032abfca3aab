//! How a run of the machine ends: [`Outcome`], its sentence and exit status.
//!
//! The exit statuses are an interface; `README.md` lists them.

use std::fmt;

/// Exit status when nothing was started: command line, configuration, files.
pub const EXIT_REFUSED: u8 = 2;

/// Why the machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest switched the machine off.
    PowerOff,
    /// The guest reset the machine.
    Reset,
    /// The guest crashed: a fault while delivering a fault, thrice.
    TripleFault {
        /// The vCPU it happened on.
        vcpu: u8,
    },
    /// The kernel cannot run the guest any further.
    Stuck {
        /// The vCPU it happened on.
        vcpu: u8,
        /// What the kernel said.
        reason: String,
    },
    /// The operator forced it off.
    Killed,
    /// The monitor or the host failed.
    HostError(String),
}

impl Outcome {
    /// The exit status of the monitor after this outcome.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::PowerOff => 0,
            Self::HostError(_) => 1,
            Self::Reset => 3,
            Self::TripleFault { .. } => 4,
            Self::Stuck { .. } => 5,
            Self::Killed => 6,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => write!(f, "the guest powered off"),
            Self::Reset => write!(f, "the guest reset the machine"),
            Self::TripleFault { vcpu } => {
                write!(f, "the guest crashed: triple fault on vCPU {vcpu}")
            }
            Self::Stuck { vcpu, reason } => {
                write!(f, "vCPU {vcpu} cannot go on: {reason}")
            }
            Self::Killed => write!(f, "forced off by the operator"),
            Self::HostError(message) => write!(f, "{message}"),
        }
    }
}
