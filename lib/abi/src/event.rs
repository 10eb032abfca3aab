//! Readiness: poll(2), epoll(7), eventfd(2), timerfd_create(2).
//!
//! The main type is [`Events`], which poll and epoll share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags::bitflags! {
    /// What a file is ready for, and how an epoll watch behaves.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Events: u32 {
        /// Data can be read.
        const IN = 0x1;
        /// An exceptional condition.
        const PRI = 0x2;
        /// Data can be written.
        const OUT = 0x4;
        /// An error; reported without being asked for.
        const ERR = 0x8;
        /// The peer hung up; reported without being asked for.
        const HUP = 0x10;
        /// The descriptor is not open (poll only).
        const NVAL = 0x20;
        /// Same as `IN` here.
        const RDNORM = 0x40;
        /// Priority-band data can be read.
        const RDBAND = 0x80;
        /// Same as `OUT` here.
        const WRNORM = 0x100;
        /// Priority-band data can be written.
        const WRBAND = 0x200;
        /// The peer shut down its writing side.
        const RDHUP = 0x2000;
        /// epoll: wake one of several epoll sets only.
        const EXCLUSIVE = 1 << 28;
        /// epoll: keep the system awake; accepted, no effect.
        const WAKEUP = 1 << 29;
        /// epoll: disarm after one report.
        const ONESHOT = 1 << 30;
        /// epoll: report changes, not states.
        const ET = 1 << 31;
    }
}

/// One descriptor of poll(2).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PollFd {
    /// The descriptor; negative ones are skipped.
    pub fd: i32,
    /// Events asked for.
    pub events: u16,
    /// Events found.
    pub revents: u16,
}

/// One event of epoll_ctl(2) and epoll_wait(2); packed on x86-64.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct EpollEvent {
    /// [`Events`] bits.
    pub events: u32,
    /// The program's own word.
    pub data: u64,
}

/// epoll_ctl: add a watch.
pub const EPOLL_CTL_ADD: i32 = 1;
/// epoll_ctl: remove a watch.
pub const EPOLL_CTL_DEL: i32 = 2;
/// epoll_ctl: change a watch.
pub const EPOLL_CTL_MOD: i32 = 3;
/// epoll_create1: close on exec.
pub const EPOLL_CLOEXEC: u32 = 0o2000000;

/// eventfd2: each read takes one.
pub const EFD_SEMAPHORE: u32 = 1;
/// eventfd2: do not block.
pub const EFD_NONBLOCK: u32 = 0o4000;
/// eventfd2: close on exec.
pub const EFD_CLOEXEC: u32 = 0o2000000;

/// timerfd_create: do not block.
pub const TFD_NONBLOCK: u32 = 0o4000;
/// timerfd_create: close on exec.
pub const TFD_CLOEXEC: u32 = 0o2000000;
/// timerfd_settime: the value is a point in time.
pub const TFD_TIMER_ABSTIME: u32 = 1;
/// timerfd_settime: fail reads when the clock is set.
pub const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// The wall clock.
pub const CLOCK_REALTIME: u32 = 0;
/// Time since boot, never set.
pub const CLOCK_MONOTONIC: u32 = 1;
/// As monotonic here: the host never sleeps.
pub const CLOCK_BOOTTIME: u32 = 7;

/// A time, or a span of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: i64,
}

impl Timespec {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            sec: (ns / 1_000_000_000) as i64,
            nsec: (ns % 1_000_000_000) as i64,
        }
    }

    /// In nanoseconds, saturating; `None` where a field is out of range.
    #[must_use]
    pub const fn to_ns(self) -> Option<u64> {
        if self.sec < 0 || self.nsec < 0 || self.nsec >= 1_000_000_000 {
            return None;
        }
        Some(
            (self.sec as u64)
                .saturating_mul(1_000_000_000)
                .saturating_add(self.nsec as u64),
        )
    }
}

/// What timerfd_settime(2) takes and timerfd_gettime(2) gives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Itimerspec {
    /// Period; zero for a one-shot timer.
    pub interval: Timespec,
    /// First expiry; zero disarms.
    pub value: Timespec,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn layouts_are_those_of_libc() {
        assert_eq!(size_of::<PollFd>(), size_of::<libc::pollfd>());
        assert_eq!(
            offset_of!(PollFd, revents),
            offset_of!(libc::pollfd, revents)
        );
        assert_eq!(size_of::<EpollEvent>(), size_of::<libc::epoll_event>());
        assert_eq!(
            offset_of!(EpollEvent, data),
            offset_of!(libc::epoll_event, u64)
        );
        assert_eq!(size_of::<Timespec>(), size_of::<libc::timespec>());
        assert_eq!(size_of::<Itimerspec>(), size_of::<libc::itimerspec>());
        assert_eq!(
            offset_of!(Itimerspec, value),
            offset_of!(libc::itimerspec, it_value)
        );
    }

    #[test]
    fn numbers_are_those_of_libc() {
        assert_eq!(Events::IN.bits(), libc::POLLIN as u32);
        assert_eq!(Events::RDHUP.bits(), libc::POLLRDHUP as u32);
        assert_eq!(Events::WRBAND.bits(), libc::POLLWRBAND as u32);
        assert_eq!(Events::ET.bits(), libc::EPOLLET as u32);
        assert_eq!(Events::ONESHOT.bits(), libc::EPOLLONESHOT as u32);
        assert_eq!(Events::EXCLUSIVE.bits(), libc::EPOLLEXCLUSIVE as u32);
        assert_eq!(EFD_NONBLOCK, libc::EFD_NONBLOCK as u32);
        assert_eq!(EFD_CLOEXEC, libc::EFD_CLOEXEC as u32);
        assert_eq!(EPOLL_CTL_MOD, libc::EPOLL_CTL_MOD);
        assert_eq!(TFD_TIMER_ABSTIME, libc::TFD_TIMER_ABSTIME as u32);
        assert_eq!(CLOCK_BOOTTIME, libc::CLOCK_BOOTTIME as u32);
    }

    #[test]
    fn a_timespec_out_of_range_is_no_time() {
        assert_eq!(Timespec { sec: 1, nsec: 5 }.to_ns(), Some(1_000_000_005));
        assert_eq!(
            Timespec {
                sec: 0,
                nsec: 1_000_000_000
            }
            .to_ns(),
            None
        );
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_ns(), None);
    }
}
