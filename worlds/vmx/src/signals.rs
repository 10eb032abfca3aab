//! Signals of the operator: SIGTERM, SIGINT and SIGHUP ask for the power
//! button by way of an eventfd that the event loop reads.

use std::io;
use std::os::raw::{c_int, c_void};
use std::sync::OnceLock;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use vmm_sys_util::signal::register_signal_handler;

static EVENT: OnceLock<EventFd> = OnceLock::new();

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    if let Some(event) = EVENT.get() {
        // A full counter has woken the event loop already.
        let _ = event.write(1);
    }
}

/// Starts to take signals; the event counts them.
///
/// # Errors
/// No eventfd can be had, or a signal cannot be handled.
pub fn install() -> io::Result<&'static EventFd> {
    let event = EventFd::new(EFD_NONBLOCK)?;
    let event = EVENT.get_or_init(|| event);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        register_signal_handler(signal, on_signal)?;
    }
    Ok(event)
}
