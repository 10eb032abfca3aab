//! The terminal's ioctls (ioctl_tty(2)).

use crate::SIGWINCH;
use crate::terminal::Tty;
use abi::Errno;
use abi::event::Events;
use abi::fs::FIONREAD;
use abi::tty::{
    ICANON, TCFLSH, TCGETS, TCIFLUSH, TCIOFLUSH, TCOFLUSH, TCOOFF, TCOON, TCSBRK, TCSETS, TCSETSF,
    TCSETSW, TCXONC, TIOCEXCL, TIOCGPGRP, TIOCGSID, TIOCGWINSZ, TIOCNOTTY, TIOCNXCL, TIOCOUTQ,
    TIOCSCTTY, TIOCSPGRP, TIOCSTI, TIOCSWINSZ, Termios, Winsize,
};
use alloc::sync::Arc;
use vfs::{Caller, File, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

fn get<T: FromBytes + IntoBytes + FromZeros>(caller: &dyn Caller, address: u64) -> Result<T> {
    let mut value = T::new_zeroed();
    caller.read_user(address, value.as_mut_bytes())?;
    Ok(value)
}

fn put<T: IntoBytes + Immutable>(caller: &dyn Caller, address: u64, value: &T) -> Result<u64> {
    caller.write_user(address, value.as_bytes())?;
    Ok(0)
}

impl Tty {
    pub(crate) fn control(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64> {
        match command {
            TCGETS => {
                let termios = *self.state.lock().discipline.termios();
                put(caller, argument, &termios)
            }
            TCSETS | TCSETSW | TCSETSF => self.set_termios(command, get(caller, argument)?),
            TIOCGWINSZ => {
                let window = self.state.lock().window;
                put(caller, argument, &window)
            }
            TIOCSWINSZ => self.set_window(get(caller, argument)?),
            TIOCGPGRP => put(caller, argument, &(self.controlled_by(caller)?.1 as i32)),
            TIOCGSID => put(caller, argument, &(self.controlled_by(caller)?.0 as i32)),
            TIOCSPGRP => self.set_foreground(caller, get(caller, argument)?),
            TIOCSCTTY => self.take_control(caller, argument),
            TIOCNOTTY => self.give_up(caller),
            TCFLSH => self.flush_queues(argument),
            TCXONC => self.stop_or_start(argument),
            TCSBRK => {
                // Zero would send a break, which no driver here can.
                self.check_change()?;
                if argument != 0 {
                    self.wait_drained()?;
                }
                Ok(0)
            }
            FIONREAD => {
                let count = {
                    let state = self.state.lock();
                    let canonical = state.discipline.termios().lflag & ICANON != 0;
                    let discipline = &state.discipline;
                    if canonical {
                        discipline.available()
                    } else {
                        discipline.queued()
                    }
                };
                put(caller, argument, &(count as i32))
            }
            TIOCOUTQ => {
                let count = self.state.lock().output.len();
                put(caller, argument, &(count as i32))
            }
            TIOCSTI => self.type_in(caller, get(caller, argument)?),
            TIOCEXCL | TIOCNXCL => Ok(0),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn set_termios(&self, command: u32, termios: Termios) -> Result<u64> {
        self.check_change()?;
        if command != TCSETS {
            self.wait_drained()?;
        }
        {
            let mut state = self.state.lock();
            if command == TCSETSF {
                state.discipline.clear();
            }
            state.discipline.set_termios(termios);
            self.drain(&mut state);
        }
        // Other settings may make readable what was not.
        self.head
            .notify(Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM);
        Ok(0)
    }

    fn set_window(&self, window: Winsize) -> Result<u64> {
        let foreground = {
            let mut state = self.state.lock();
            let changed = core::mem::replace(&mut state.window, window) != window;
            if changed { state.foreground } else { 0 }
        };
        if foreground != 0 {
            self.jobs.signal_group(foreground, SIGWINCH);
        }
        Ok(0)
    }

    /// Session and foreground group, if this terminal controls the caller's.
    fn controlled_by(&self, caller: &dyn Caller) -> Result<(u32, u32)> {
        let (session, foreground) = self.session();
        if session == 0 || session != caller.ids().session {
            return Err(Errno::ENOTTY);
        }
        Ok((session, foreground))
    }

    fn set_foreground(&self, caller: &dyn Caller, group: i32) -> Result<u64> {
        let (session, _) = self.controlled_by(caller)?;
        self.check_change()?;
        let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        match self.jobs.session_of_group(group) {
            None => Err(Errno::ESRCH),
            Some(theirs) if theirs != session => Err(Errno::EPERM),
            Some(_) => {
                self.state.lock().foreground = group;
                Ok(0)
            }
        }
    }

    /// `TIOCSCTTY`; an argument of 1 lets the superuser take it from others.
    fn take_control(&self, caller: &dyn Caller, argument: u64) -> Result<u64> {
        let ids = caller.ids();
        let (session, _) = self.session();
        if session == ids.session && ids.session != 0 {
            return Ok(0);
        }
        if ids.pid != ids.session || caller.controlling_terminal().is_some() {
            return Err(Errno::EPERM);
        }
        if session != 0 {
            if argument != 1 || !caller.credentials().is_superuser() {
                return Err(Errno::EPERM);
            }
            self.leave_session(session);
        }
        let me: Arc<dyn File> = self.me.upgrade().ok_or(Errno::EIO)?;
        caller.set_controlling_terminal(Some(me))?;
        self.control_session(ids.session, ids.group);
        Ok(0)
    }

    fn give_up(&self, caller: &dyn Caller) -> Result<u64> {
        let (session, _) = self.controlled_by(caller)?;
        if caller.ids().pid == session {
            self.leave_session(session);
        }
        caller.set_controlling_terminal(None)?;
        Ok(0)
    }

    fn flush_queues(&self, which: u64) -> Result<u64> {
        self.check_change()?;
        let which = u32::try_from(which).map_err(|_| Errno::EINVAL)?;
        let mut state = self.state.lock();
        match which {
            TCIFLUSH => state.discipline.clear(),
            TCOFLUSH => state.output.clear(),
            TCIOFLUSH => {
                state.discipline.clear();
                state.output.clear();
            }
            _ => return Err(Errno::EINVAL),
        }
        drop(state);
        self.head.notify(Events::OUT | Events::WRNORM);
        Ok(0)
    }

    fn stop_or_start(&self, action: u64) -> Result<u64> {
        self.check_change()?;
        {
            let mut state = self.state.lock();
            match u32::try_from(action) {
                Ok(TCOOFF) => state.discipline.set_stopped(true),
                Ok(TCOON) => state.discipline.set_stopped(false),
                // Asking the other side to stop needs a line that can.
                Ok(2 | 3) => {}
                _ => return Err(Errno::EINVAL),
            }
            self.drain(&mut state);
        }
        self.head.notify(Events::OUT | Events::WRNORM);
        Ok(0)
    }

    fn type_in(&self, caller: &dyn Caller, byte: u8) -> Result<u64> {
        let own = self.controlled_by(caller).is_ok();
        if !own && !caller.credentials().is_superuser() {
            return Err(Errno::EPERM);
        }
        self.receive(&[byte]);
        Ok(0)
    }
}
