//! [`Actions`]: what a program wants done at each signal.

use abi::signal::{SIG_DFL, SIG_IGN, SigAction, number};
use alloc::sync::Arc;
use sync::SpinLock;

/// What happens at a signal whose action is the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The process ends.
    End,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// A stopped process goes on.
    Continue,
}

/// The default action of `signal` (signal(7)).
pub const fn default_of(signal: u32) -> Default {
    match signal {
        number::SIGCHLD | number::SIGURG | number::SIGWINCH => Default::Ignore,
        number::SIGSTOP | number::SIGTSTP | number::SIGTTIN | number::SIGTTOU => Default::Stop,
        number::SIGCONT => Default::Continue,
        _ => Default::End,
    }
}

/// The actions of a process, shared with CLONE_SIGHAND.
pub struct Actions(SpinLock<[SigAction; number::LAST as usize]>);

impl Actions {
    /// All default.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(SpinLock::new(
            [SigAction::default(); number::LAST as usize],
        )))
    }

    /// A copy, for a child.
    pub fn duplicate(&self) -> Arc<Self> {
        Arc::new(Self(SpinLock::new(*self.0.lock())))
    }

    /// A copy for a new program: handlers are gone, ignored signals stay so.
    pub fn for_exec(&self) -> Arc<Self> {
        let copy = self.duplicate();
        for action in copy.0.lock().iter_mut() {
            let handler = if action.handler == SIG_IGN {
                SIG_IGN
            } else {
                SIG_DFL
            };
            *action = SigAction {
                handler,
                ..SigAction::default()
            };
        }
        copy
    }

    /// The action at `signal`.
    pub fn get(&self, signal: u32) -> SigAction {
        self.0.lock()[signal as usize - 1]
    }

    /// Sets the action at `signal`; returns the old one.
    pub fn set(&self, signal: u32, action: SigAction) -> SigAction {
        core::mem::replace(&mut self.0.lock()[signal as usize - 1], action)
    }

    /// Makes the action at `signal` the default one.
    pub fn reset(&self, signal: u32) {
        self.set(signal, SigAction::default());
    }

    /// Whether `signal` would do nothing.
    pub fn ignores(&self, signal: u32) -> bool {
        match self.get(signal).handler {
            SIG_IGN => true,
            SIG_DFL => default_of(signal) == Default::Ignore,
            _ => false,
        }
    }
}
