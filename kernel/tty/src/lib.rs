//! Terminals.
//!
//! [`Discipline`] is the line discipline as a pure machine: bytes in, bytes
//! echoed, signals. [`Output`] is output processing and what waits to go out.
//! [`Tty`] joins both with a driver behind [`TtyDriver`], blocking, poll and job
//! control, and is the file that programs open. The rules are those of
//! termios(3) and ioctl_tty(2).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod discipline;
mod ioctl;
mod job_control;
mod output;
mod terminal;

pub use discipline::{Discipline, Reaction};
pub use job_control::JobControl;
pub use output::Output;
pub use terminal::{Tty, TtyDevice, TtyDriver};

use abi::tty::{
    B38400, CREAD, CS8, ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, HUPCL, ICANON, ICRNL, IEXTEN, ISIG,
    IXON, NCCS, ONLCR, OPOST, Termios,
};

/// SIGHUP.
pub const SIGHUP: u32 = 1;
/// SIGINT.
pub const SIGINT: u32 = 2;
/// SIGQUIT.
pub const SIGQUIT: u32 = 3;
/// SIGCONT.
pub const SIGCONT: u32 = 18;
/// SIGTSTP.
pub const SIGTSTP: u32 = 20;
/// SIGTTIN.
pub const SIGTTIN: u32 = 21;
/// SIGTTOU.
pub const SIGTTOU: u32 = 22;
/// SIGWINCH.
pub const SIGWINCH: u32 = 28;

/// The settings of a terminal that nobody has set.
#[must_use]
pub const fn default_termios() -> Termios {
    let mut cc = [0; NCCS];
    cc[abi::tty::VINTR as usize] = 3;
    cc[abi::tty::VQUIT as usize] = 28;
    cc[abi::tty::VERASE as usize] = 127;
    cc[abi::tty::VKILL as usize] = 21;
    cc[abi::tty::VEOF as usize] = 4;
    cc[abi::tty::VMIN as usize] = 1;
    cc[abi::tty::VSTART as usize] = 17;
    cc[abi::tty::VSTOP as usize] = 19;
    cc[abi::tty::VSUSP as usize] = 26;
    cc[abi::tty::VREPRINT as usize] = 18;
    cc[abi::tty::VDISCARD as usize] = 15;
    cc[abi::tty::VWERASE as usize] = 23;
    cc[abi::tty::VLNEXT as usize] = 22;
    Termios {
        iflag: ICRNL | IXON,
        oflag: OPOST | ONLCR,
        cflag: B38400 | CS8 | CREAD | HUPCL,
        lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        line: 0,
        cc,
    }
}
