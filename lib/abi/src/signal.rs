//! Signals: numbers, sets, and the layouts that handlers see
//! (signal(7), sigaction(2), and the x86-64 psABI for the frame).

/// Signal numbers.
#[allow(missing_docs, reason = "the names of signal(7)")]
pub mod number {
    pub const SIGHUP: u32 = 1;
    pub const SIGINT: u32 = 2;
    pub const SIGQUIT: u32 = 3;
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGABRT: u32 = 6;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGKILL: u32 = 9;
    pub const SIGUSR1: u32 = 10;
    pub const SIGSEGV: u32 = 11;
    pub const SIGUSR2: u32 = 12;
    pub const SIGPIPE: u32 = 13;
    pub const SIGALRM: u32 = 14;
    pub const SIGTERM: u32 = 15;
    pub const SIGSTKFLT: u32 = 16;
    pub const SIGCHLD: u32 = 17;
    pub const SIGCONT: u32 = 18;
    pub const SIGSTOP: u32 = 19;
    pub const SIGTSTP: u32 = 20;
    pub const SIGTTIN: u32 = 21;
    pub const SIGTTOU: u32 = 22;
    pub const SIGURG: u32 = 23;
    pub const SIGXCPU: u32 = 24;
    pub const SIGXFSZ: u32 = 25;
    pub const SIGVTALRM: u32 = 26;
    pub const SIGPROF: u32 = 27;
    pub const SIGWINCH: u32 = 28;
    pub const SIGIO: u32 = 29;
    pub const SIGPWR: u32 = 30;
    pub const SIGSYS: u32 = 31;
    /// The first of the real-time signals, which queue.
    pub const SIGRTMIN: u32 = 32;
    /// The last signal.
    pub const LAST: u32 = 64;
}

/// A set of signals: bit n-1 stands for signal n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// What no mask can block.
    pub const UNBLOCKABLE: Self = Self(1 << (number::SIGKILL - 1) | 1 << (number::SIGSTOP - 1));

    /// The set of one signal.
    #[must_use]
    pub const fn of(signal: u32) -> Self {
        Self(1 << (signal - 1))
    }

    /// Whether `signal` is in it.
    #[must_use]
    pub const fn contains(self, signal: u32) -> bool {
        self.0 & 1 << (signal - 1) != 0
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// sigaction(2): the handler is left.
pub const SIG_DFL: u64 = 0;
/// sigaction(2): the signal is ignored.
pub const SIG_IGN: u64 = 1;
/// Children that stop raise no SIGCHLD.
pub const SA_NOCLDSTOP: u64 = 1;
/// Children that end leave no zombie.
pub const SA_NOCLDWAIT: u64 = 2;
/// The handler takes three arguments.
pub const SA_SIGINFO: u64 = 4;
/// The frame's return address is `restorer`.
pub const SA_RESTORER: u64 = 0x0400_0000;
/// The handler runs on the alternate stack.
pub const SA_ONSTACK: u64 = 0x0800_0000;
/// Interrupted calls are repeated.
pub const SA_RESTART: u64 = 0x1000_0000;
/// The signal is not blocked in its handler.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// The handler is used once.
pub const SA_RESETHAND: u64 = 0x8000_0000;

/// What to do at a signal, as `rt_sigaction` passes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SigAction {
    /// Address of the handler, `SIG_DFL` or `SIG_IGN`.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SignalSet,
}

impl SigAction {
    /// Its 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (at, word) in [self.handler, self.flags, self.restorer, self.mask.0]
            .iter()
            .enumerate()
        {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        Self {
            handler: word(0),
            flags: word(8),
            restorer: word(16),
            mask: SignalSet(word(24)),
        }
    }
}

/// Why a signal was sent: `si_code`.
#[allow(missing_docs, reason = "the names of sigaction(2)")]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRERR: i32 = 2;
    pub const ILL_ILLOPN: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_FLTINV: i32 = 7;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// What a handler is told of its signal, before it is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigInfo {
    /// The signal.
    pub signal: u32,
    /// `si_errno`.
    pub errno: i32,
    /// Why: see [`code`].
    pub code: i32,
    /// The 112 bytes that depend on the code, as far as they are used.
    pub fields: [u64; 3],
}

/// Bytes of `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

impl SigInfo {
    /// From the kernel itself.
    #[must_use]
    pub const fn kernel(signal: u32) -> Self {
        Self {
            signal,
            errno: 0,
            code: code::SI_KERNEL,
            fields: [0; 3],
        }
    }

    /// From process `pid` of user `uid`.
    #[must_use]
    pub const fn from_process(signal: u32, code: i32, pid: u32, uid: u32) -> Self {
        Self {
            signal,
            errno: 0,
            code,
            fields: [pid as u64 | (uid as u64) << 32, 0, 0],
        }
    }

    /// Of a fault at `address`.
    #[must_use]
    pub const fn fault(signal: u32, code: i32, address: u64) -> Self {
        Self {
            signal,
            errno: 0,
            code,
            fields: [address, 0, 0],
        }
    }

    /// Of child `pid`, which changed its state.
    #[must_use]
    pub const fn child(code: i32, pid: u32, uid: u32, status: i32) -> Self {
        Self {
            signal: number::SIGCHLD,
            errno: 0,
            code,
            fields: [pid as u64 | (uid as u64) << 32, status as u32 as u64, 0],
        }
    }

    /// Laid out as `siginfo_t`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGINFO_SIZE] {
        let mut bytes = [0; SIGINFO_SIZE];
        bytes[0..4].copy_from_slice(&self.signal.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        for (at, field) in self.fields.iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Of the bytes that `rt_sigqueueinfo` passes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SIGINFO_SIZE]) -> Self {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Self {
            signal: word(0),
            errno: word(4) as i32,
            code: word(8) as i32,
            fields: [long(16), long(24), long(32)],
        }
    }
}

/// sigaltstack(2): no alternate stack.
pub const SS_DISABLE: u32 = 2;
/// sigaltstack(2): running on it now.
pub const SS_ONSTACK: u32 = 1;
/// sigaltstack(2): disarmed while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;

/// `stack_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// `SS_*`.
    pub flags: u32,
    /// Its length in bytes.
    pub size: u64,
}

impl Default for AltStack {
    fn default() -> Self {
        Self {
            base: 0,
            flags: SS_DISABLE,
            size: 0,
        }
    }
}

impl AltStack {
    /// Laid out as `stack_t`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[0..8].copy_from_slice(&self.base.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// Of a `stack_t`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let long = |at: usize| u64::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        Self {
            base: long(0),
            flags: long(8) as u32,
            size: long(16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_those_of_libc() {
        assert_eq!(SIGINFO_SIZE, size_of::<libc::siginfo_t>());
        assert_eq!(size_of::<libc::stack_t>(), 24);
        assert_eq!(number::SIGSYS as i32, libc::SIGSYS);
        assert_eq!(number::SIGCHLD as i32, libc::SIGCHLD);
        assert_eq!(SA_RESTART, libc::SA_RESTART as u64);
        assert_eq!(SA_RESETHAND, libc::SA_RESETHAND as u32 as u64);
    }

    #[test]
    fn layouts_survive_a_round_trip() {
        let action = SigAction {
            handler: 1,
            flags: 2,
            restorer: 3,
            mask: SignalSet(4),
        };
        assert_eq!(SigAction::from_bytes(&action.to_bytes()), action);
        let info = SigInfo::child(code::CLD_EXITED, 7, 8, 9);
        assert_eq!(SigInfo::from_bytes(&info.to_bytes()), info);
        let stack = AltStack {
            base: 1,
            flags: 2,
            size: 3,
        };
        assert_eq!(AltStack::from_bytes(&stack.to_bytes()), stack);
    }
}
